"""The boards that are installed: each one's device as it is really built, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata

from .errors import UsageError
from .isa.device import DeviceConfig, options
from .nearest import did_you_mean

__all__ = [
    "BAUD",
    "BOARDS",
    "CLOCK_HZ",
    "BoardDevice",
    "BoardSize",
    "board_config",
    "board_devices",
    "configured",
    "find_device",
    "user_device",
]

CLOCK_HZ, BAUD = 12_000_000, 3_000_000
"""Of a simulated device that is no board's, if nothing else is said."""

BOARDS = "xnorcore.boards"
"""Entry-point group of boards: each entry is called and returns a dict of name to `BoardDevice`."""


@dataclass(frozen=True)
class BoardSize:
    """What a board's design takes of its FPGA.

    Attributes
    ----------
    logic_cells : int
        By estimate, which is within 5 % of synthesis for boards that are built.
    logic_cells_built : int or None
        Those of the recorded build; None if this design was not built.
    logic_cells_available : int
    bram, bram_available : int
        Memory blocks; exact.
    fmax_mhz : float or None
        The clock that the recorded build reaches after routing.
    """

    logic_cells: int
    logic_cells_built: int | None
    logic_cells_available: int
    bram: int
    bram_available: int
    fmax_mhz: float | None


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
    refusal : str or None
        Why the FPGA does not hold it; None if it may.
    sizes : callable or None
        Returns its `size`, if it is the board's own configuration.
    judge : callable or None
        Returns why the board does not hold a configuration, as `refuses` does.
    """

    config: DeviceConfig
    clock_hz: int
    baud: int
    clocks_per_bit: Mapping[int, int]
    refusal: str | None = None
    sizes: Callable[[], BoardSize] | None = field(default=None, compare=False, repr=False)
    judge: Callable[[DeviceConfig], str | None] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def size(self) -> BoardSize | None:
        """What it takes of the FPGA; None of a configuration that is not the board's own."""
        return self.sizes() if self.sizes else None

    def refuses(self, config: DeviceConfig) -> str | None:
        """Return why a board does not hold a configuration: FPGA, by estimate, or chips; None if it may."""
        if config == self.config or self.judge is None:
            return self.refusal
        return self.judge(config)

    def having(self, config: DeviceConfig) -> BoardDevice:
        """Return the same board with another configuration."""
        return self if config == self.config else replace(self, config=config, refusal=None, sizes=None)


def board_devices(*, unfit: bool = False) -> dict[str, BoardDevice]:
    """Return the device of every board that is installed.

    Parameters
    ----------
    unfit : bool
        Also those that a board's FPGA does not hold.
    """
    found: dict[str, BoardDevice] = {}
    for entry in sorted(metadata.entry_points(group=BOARDS), key=lambda entry: entry.name):
        found |= entry.load()()
    return {name: device for name, device in found.items() if unfit or device.refusal is None}


def find_device(name: str, *, unfit: bool = False) -> BoardDevice:
    """Return the device of a board.

    Parameters
    ----------
    name : str
    unfit : bool
        As of `board_devices`.

    Raises
    ------
    UsageError
        If there is no such board, the nearest name is named; or if it holds no device: why.
    """
    boards = board_devices(unfit=True)
    if name in boards and boards[name].refusal and not unfit:
        raise UsageError(f"board {name} has no device: {boards[name].refusal}")
    if name not in boards:
        known = ", ".join(boards) or "none is installed"
        raise UsageError(f"unknown board {name!r}; known: {known}{did_you_mean(name, boards)}")
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
    return configured(find_device(name) if name is not None else None, given)


def configured(device: BoardDevice | None, given: Mapping[str, int]) -> DeviceConfig:
    """Return the configuration of a board's device, or the default one of None, as `board_config` does."""
    own = options(device.config) if device is not None else {}
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
        return find_device(name).having(config)
    return BoardDevice(config, CLOCK_HZ, BAUD, {BAUD: CLOCK_HZ // BAUD})
