"""Whether a configuration can fit a board, before anything is elaborated."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from xnorcore.errors import BuildError, GeometryError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import QUEUE_WORDS, StoreKind, check_clock

from ..families.family import Part
from .estimate import estimate_area, may_fit
from .inventory import config_blocks, config_single_blocks
from .needs import LEAST_DEPTH

__all__ = ["Sized", "check_size", "refusal"]


class Sized(Protocol):
    """What is asked of a board."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def part(self) -> Part:
        """Its FPGA."""
        ...

    @property
    def true_hz(self) -> int:
        """Its clock, as the PLL makes it."""
        ...

    def beside(self, config: DeviceConfig) -> Any:
        """Return the chips that a configuration needs, or refuse it."""
        ...


def check_size(board: Sized, config: DeviceConfig, bram: int | None = None) -> None:
    """Compare an estimate of a configuration with what a board's part has.

    Parameters
    ----------
    board : Sized
    config : DeviceConfig
    bram : int, optional
        Memory blocks that it takes; without it, what it takes at the least: `fit_memories` makes its weight
        buffers as small as they have to be.

    Raises
    ------
    BuildError
        If the design is too large, with the estimate, or the board lacks a chip for it.
    """
    part, family = board.part, board.part.family
    board.beside(config)
    check_clock(config.store_kind, board.true_hz)
    cells = estimate_area(family.name, config)
    whole = config_blocks(config, family) if bram is None else bram
    least = whole
    if bram is None and whole > part.bram:
        least = config_blocks(replace(config, weight_depth=LEAST_DEPTH), family)
    g = config.geometry
    large = config_single_blocks(config, family)
    if large > part.spram:
        taken = []
        if config.act_ports == 1:
            taken.append(f"{g.rows} x {config.act_depth} words of {g.width} bits (act_depth, act_ports=1)")
        if config.store_words and config.store_kind == StoreKind.RAM:
            taken.append(f"{config.store_words} words of a store on the chip (store_words)")
        if config.store_kind in QUEUE_WORDS:
            words = QUEUE_WORDS[StoreKind(config.store_kind)]
            taken.append(f"{words} words of a queue behind the flash (store_kind={config.store_kind})")
        raise BuildError(
            f"{board.name}: {' and '.join(taken)} take {large} blocks of SPRAM, and {part.name} has "
            f"{part.spram}; choose fewer rows, a smaller width, or another --set act_depth=N, act_ports=2 or "
            "store_words=N"
        )
    if may_fit(family.name, config, part.lut4) and least <= part.bram:
        return
    fix = "choose a smaller --geometry"
    blocks = f"{'at least ' if least < whole else ''}{least} memory blocks"
    if least > part.bram:
        fix += ", or less memory with --set weight_depth=N or act_depth=N"
    raise BuildError(
        f"{board.name}: {config.geometry} is too large for {part.name}: estimated {cells:,} logic cells of "
        f"{part.lut4:,} and {blocks} of {part.bram}; {fix}"
    )


def refusal(board: Sized, config: DeviceConfig) -> str | None:
    """Return what `check_size` says of a configuration and its memory blocks; None if it may fit."""
    try:
        check_size(board, config, config_blocks(config, board.part.family))
    except (BuildError, GeometryError) as error:
        return str(error)
    return None
