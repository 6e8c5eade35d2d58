"""The boards that are installed: each one's device as it is really built, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata

from .errors import UsageError
from .isa.device import DeviceConfig, options
from .nearest import did_you_mean

__all__ = [
    "BAUD",
    "BOARDS",
    "CLOCK_HZ",
    "BoardDevice",
    "board_config",
    "board_devices",
    "find_device",
    "user_device",
]

CLOCK_HZ, BAUD = 12_000_000, 3_000_000
"""Of a simulated device that is no board's, if nothing else is said."""

BOARDS = "xnorcore.boards"
"""Entry-point group of boards: each entry is called and returns a dict of name to `BoardDevice`."""


@dataclass(frozen=True)
class BoardDevice:
    """What ``xnorcore build BOARD`` makes, as far as a driver or a simulation of it is concerned.

    Attributes
    ----------
    config : DeviceConfig
    clock_hz : int
        As the board's PLL really makes it.
    baud : int
        Of its UART.
    clocks_per_bit : mapping of int to int
        Clock cycles that its UART really takes for a bit, by the baud rate that was asked for: that of the
        UART, and the best one of the USB bridge.
    """

    config: DeviceConfig
    clock_hz: int
    baud: int
    clocks_per_bit: Mapping[int, int]


def board_devices() -> dict[str, BoardDevice]:
    """Return the device of every board that is installed."""
    found: dict[str, BoardDevice] = {}
    for entry in sorted(metadata.entry_points(group=BOARDS), key=lambda entry: entry.name):
        found |= entry.load()()
    return found


def find_device(name: str) -> BoardDevice:
    """Return the device of a board.

    Raises
    ------
    UsageError
        If there is no such board; the nearest name is named.
    """
    boards = board_devices()
    if name not in boards:
        known = ", ".join(boards) or "none is installed"
        raise UsageError(f"no board {name!r} has a device; known: {known}{did_you_mean(name, boards)}")
    return boards[name]


def board_config(name: str | None, given: Mapping[str, int]) -> DeviceConfig:
    """Return a board's configuration, or the default one, with what was `given` in place of its own.

    Parameters
    ----------
    name : str or None
        None: no board.
    given : mapping of str to int
        As `DeviceConfig.parse` takes them.

    Raises
    ------
    UsageError
        If there is no such board.
    GeometryError
        If an option is unknown, or a value illegal, alone or together with the board's.
    """
    own = options(find_device(name).config) if name is not None else {}
    return DeviceConfig.parse(**{**own, **given})


def user_device(name: str | None, config: DeviceConfig) -> BoardDevice:
    """Return what clock and wire a configuration has: a board's, or those of a simulated device.

    Parameters
    ----------
    name : str or None
        None: no board.
    config : DeviceConfig
        The board's own, or with a part of it changed.

    Raises
    ------
    UsageError
        If there is no such board.
    """
    if name is not None:
        return replace(find_device(name), config=config)
    return BoardDevice(config, CLOCK_HZ, BAUD, {BAUD: CLOCK_HZ // BAUD})
