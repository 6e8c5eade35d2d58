"""What a board target declares, and how targets are found; Amaranth is not needed to read them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from xnorcore.boards import BoardDevice, BoardSize
from xnorcore.errors import BuildError, MissingDependencyError, UsageError
from xnorcore.extras import install_extra
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import MIN_DIVISOR
from xnorcore.isa.stores import FLASHES, StoreKind
from xnorcore.nearest import did_you_mean

from .chip import StoreChip
from .families.family import Part
from .families.pll import PllPlan

__all__ = ["Board", "Led", "StoreChip", "all_boards", "configurations", "find_board", "usb_numbers"]

BAUD_TOLERANCE = 0.02
"""Largest accepted relative error of a baud rate: 8N1 stands twice that."""

Led = tuple[str, int] | tuple[str, int, str]
"""Name and number of a resource of the board's platform, and its colour if it has several."""


@dataclass(frozen=True)
class Board:
    """One board.

    Parameters
    ----------
    name : str
        As on the command line.
    title : str
        As its maker writes it.
    part : Part
    platform : callable
        Returns a new Amaranth platform with the board's pins; imports what it needs itself.
    config : DeviceConfig
        What is built unless the user asks for something else.
    clock_pin : str
        Resource of the clock that comes in.
    clock_in_hz, clock_hz : int
        Its frequency, and the one that the accelerator is built for; a PLL makes it if they differ.
    baud : int
        Of the UART, unless the user asks for another one; any USB bridge can do it.
    best_baud : int
        The fastest that the board's USB bridge can do.
    programmers : tuple of tuple of str
        Commands that program the board, the first installed one is used; ``{}`` stands for the bitstream.
    uart : str
        Resource of the UART.
    heartbeat, activity, error : Led or None
        Resources of the lights, if there are any.
    pack : tuple of str
        Further arguments of the bitstream packer.
    usb : tuple of str
        Vendor and product of its USB bridge, or of what programs it, four hexadecimal digits each; FT2232H,
        and what acts as it.
    chips : tuple of StoreChip
        What can be a store.
    adapter : str
        What its owner wires to the UART, if that has no USB bridge; empty if it has one.
    """

    name: str
    title: str
    part: Part
    platform: Callable[[], Any]
    config: DeviceConfig
    clock_pin: str
    clock_in_hz: int
    clock_hz: int
    baud: int
    best_baud: int
    programmers: tuple[tuple[str, ...], ...]
    uart: str = "uart"
    heartbeat: Led | None = None
    activity: Led | None = None
    error: Led | None = None
    pack: tuple[str, ...] = ()
    usb: tuple[str, str] = ("0403", "6010")
    chips: tuple[StoreChip, ...] = ()
    adapter: str = ""

    @cached_property
    def pll(self) -> PllPlan | None:
        """Settings of the PLL; None if the clock is used as it comes in.

        Raises
        ------
        BuildError
            If the PLL cannot make the clock.
        """
        if self.clock_hz == self.clock_in_hz:
            return None
        return self.part.family.plan(self.clock_in_hz, self.clock_hz)

    @property
    def true_hz(self) -> int:
        """The clock as it really is."""
        return self.pll.hz if self.pll else self.clock_in_hz

    @property
    def device(self) -> BoardDevice:
        """What it is to a driver, or to a simulation of it."""
        clocks = {baud: self.divisor(baud) for baud in (self.baud, self.best_baud)}
        return BoardDevice(self.config, self.true_hz, self.baud, clocks)

    def divisor(self, baud: int) -> int:
        """Return the clock cycles per bit of a baud rate.

        Raises
        ------
        BuildError
            If the clock is too slow for it, or no whole number of cycles comes within 2 %.
        """
        cycles = round(self.true_hz / baud)
        limit = self.true_hz // MIN_DIVISOR
        if cycles < MIN_DIVISOR:
            raise BuildError(
                f"{self.name}: {baud} baud needs {MIN_DIVISOR} clock cycles per bit, and at "
                f"{self.true_hz / 1e6:g} MHz there are {self.true_hz / baud:.1f}; at most {limit} baud"
            )
        error = self.true_hz / cycles / baud - 1
        nearest = self.true_hz / min(cycles, (1 << 16) - 1)
        if abs(error) > BAUD_TOLERANCE or cycles >= 1 << 16:
            raise BuildError(
                f"{self.name}: {baud} baud is {self.true_hz / baud:.2f} cycles of "
                f"{self.true_hz / 1e6:g} MHz; the nearest rate is {nearest:.0f} baud"
            )
        return cycles

    def beside(self, config: DeviceConfig) -> dict[str, StoreChip]:
        """Return the chips that a configuration needs, by the ports of its device.

        At ``chip`` is its store, if that is not on the FPGA; at ``flash`` what only keeps a network.

        Raises
        ------
        BuildError
            If the board has no such chip, or its region is smaller.
        """
        found: dict[str, StoreChip] = {}
        kind = StoreKind(config.store_kind)
        if kind != StoreKind.RAM:
            there = " or ".join(f"{chip.kind:d} ({chip.kind.title})" for chip in self.chips)
            fix = f"choose store_kind={there}" if there else "leave out store_kind"
            lacks = f"store_kind is {kind:d}, but its store cannot be {kind.title}; {fix}"
            found["chip"] = self._chip((kind.outside,), lacks, kind.title, store_words=config.store_words)
        if words := config.kept_words:
            lacks = f"kept_words is {words}, but it has no flash that its device can write"
            lacks += "; leave out kept_words"
            found["flash"] = self._chip(FLASHES, lacks, "flash", kept_words=words)
        return found

    def _chip(self, kinds: Collection[StoreKind], lacks: str, title: str, **words: int) -> StoreChip:
        chip = next((chip for chip in self.chips if chip.kind in kinds), None)
        if chip is None:
            raise BuildError(f"{self.name}: {lacks}")
        for name, count in words.items():
            if chip.words < count:
                raise BuildError(f"{self.name}: {name} is {count}, but its {title} has room for {chip.words}")
        return chip

    def new_platform(self) -> Any:
        """Return a new Amaranth platform, which adds and keeps words as the part's family does.

        Raises
        ------
        MissingDependencyError
            If the package with the board's pins is not installed.
        """
        from .flash_pads import flash_place  # here: it imports Amaranth

        try:
            platform = self.platform()
        except ImportError as error:
            raise MissingDependencyError(
                f"{self.name}: {error.name or 'amaranth-boards'} is not installed; "
                f"run: {install_extra('boards')}"
            ) from None
        platform.carry = self.part.family.carry()
        platform.single = self.part.family.single()
        platform.flash = next((flash_place(chip) for chip in self.chips if chip.kind in FLASHES), None)
        return platform


def all_boards() -> dict[str, Board]:
    """Return every board target by its name: the `BOARD`, or `BOARDS`, of each module of `targets`."""
    from . import targets

    found: dict[str, Board] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(targets.__path__)):
        loaded = importlib.import_module(f"{targets.__name__}.{module}")
        boards = getattr(loaded, "BOARDS", None) or (loaded.BOARD,)
        found |= {board.name: board for board in boards}
    return found


def find_board(name: str, *, sim: bool = True) -> Board:
    """Return one board target.

    Parameters
    ----------
    name : str
    sim : bool
        Whoever asks takes ``sim`` as well, the simulated device.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    boards = all_boards()
    if name not in boards:
        if name == "sim":
            raise UsageError(f"sim is the simulated device, which has no FPGA; boards: {', '.join(boards)}")
        known = [*boards, *(["sim"] if sim else [])]
        raise UsageError(f"unknown board {name!r}; known: {', '.join(known)}{did_you_mean(name, known)}")
    return boards[name]


def usb_numbers() -> list[tuple[str, str, str, int]]:
    """Return name, vendor, product and baud of the boards with a USB bridge; of ``xnorcore.usb``."""
    return [(name, *board.usb, board.baud) for name, board in all_boards().items() if not board.adapter]


def configurations() -> dict[str, BoardDevice]:
    """Return the device of every board, and what it takes, by name; entry point of ``xnorcore.boards``."""
    return {
        name: replace(
            board.device, refusal=_refusal(board), sizes=partial(_size, board), judge=partial(_judge, board)
        )
        for name, board in all_boards().items()
    }


def _refusal(board: Board) -> str | None:
    from .measure.estimate import estimate_area, may_fit

    part, config = board.part, board.config
    if may_fit(part.family.name, config, part.lut4):
        return None
    cells = estimate_area(part.family.name, config)
    return f"{config.geometry} takes about {cells:,} of the {part.lut4:,} logic cells of {part.name}"


def _judge(board: Board, config: DeviceConfig) -> str | None:
    from .measure.size import refusal

    return refusal(board, config)


def _size(board: Board) -> BoardSize:
    from .measure.estimate import estimate_area
    from .measure.inventory import config_blocks
    from .measure.recorded import measured

    part, config = board.part, board.config
    record = measured(board.name, config, board.true_hz)
    built, fmax = (record["logic_cells"], record["fmax_mhz"]) if record else (None, None)
    cells, taken = estimate_area(part.family.name, config), config_blocks(config, part.family)
    return BoardSize(cells, built, part.lut4, taken, part.bram, fmax)
