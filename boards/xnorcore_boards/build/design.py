"""A board's design as RTLIL with constraints, and whether it can fit before anything is synthesized."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from xnorcore.errors import BuildError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.isa.stores import StoreKind, check_clock

from ..board import Board
from ..families.family import Family
from ..measure.estimate import estimate_area, may_fit
from ..measure.inventory import config_blocks, config_single_blocks
from ..measure.memories import Memory, find_memories, single_blocks, total_blocks
from ..top import BoardTop

__all__ = ["Design", "check_size", "elaborate", "fit_memories", "least_blocks", "refusal"]

_LEAST_WEIGHTS = 64


@dataclass(frozen=True)
class Design:
    """An elaborated design.

    Attributes
    ----------
    board : Board
    config : DeviceConfig
    rtlil, constraints : str
    modules : tuple of str
        Paths of all modules, the top module first in each.
    memories : tuple of Memory
    divisor : int
        Clock cycles per UART bit.
    bake : Program or None
        Network that is in the memories from the start.
    """

    board: Board
    config: DeviceConfig
    rtlil: str
    constraints: str
    modules: tuple[str, ...]
    memories: tuple[Memory, ...]
    divisor: int = 0
    bake: Program | None = None

    @property
    def bram(self) -> int:
        """Memory blocks that it takes; exact."""
        return total_blocks(self.memories, self.board.part.family)

    @property
    def spram(self) -> int:
        """Blocks of one port that it takes beside them; exact."""
        return single_blocks(self.memories, self.board.part.family)

    def check(self) -> None:
        """Compare with what the part has.

        Raises
        ------
        BuildError
            If the design is too large, with the estimate.
        """
        check_size(self.board, self.config, self.bram)


def check_size(board: Board, config: DeviceConfig, bram: int | None = None) -> None:
    """Compare an estimate of a configuration with what a board's part has.

    Parameters
    ----------
    board : Board
    config : DeviceConfig
    bram : int, optional
        Memory blocks that it takes; without it, what its buffers take at the least.

    Raises
    ------
    BuildError
        If the design is too large, with the estimate, or the board has no chip for its store.
    """
    part, family = board.part, board.part.family
    board.chip(config)
    check_clock(config.store_kind, board.true_hz)
    cells = estimate_area(family.name, config)
    least = bram if bram is not None else least_blocks(config, family)
    g = config.geometry
    large = config_single_blocks(config, family)
    if large > part.spram:
        taken = []
        if config.act_ports == 1:
            taken.append(f"{g.rows} x {config.act_depth} words of {g.width} bits (act_depth, act_ports=1)")
        if config.store_words and config.store_kind == StoreKind.RAM:
            taken.append(f"{config.store_words} words of a store on the chip (store_words)")
        raise BuildError(
            f"{board.name}: {' and '.join(taken)} take {large} blocks of SPRAM, and {part.name} has "
            f"{part.spram}; choose fewer rows, a smaller width, or another --set act_depth=N, act_ports=2 or "
            "store_words=N"
        )
    if may_fit(family.name, config, part.lut4) and least <= part.bram:
        return
    fix = "choose a smaller --geometry"
    blocks = f"{'' if bram is not None else 'at least '}{least} memory blocks"
    if least > part.bram:
        fix += ", or less memory with --set weight_depth=N or act_depth=N"
    raise BuildError(
        f"{board.name}: {config.geometry} is too large for {part.name}: estimated {cells:,} logic cells of "
        f"{part.lut4:,} and {blocks} of {part.bram}; {fix}"
    )


def refusal(board: Board, config: DeviceConfig) -> str | None:
    """Return what `check_size` says of a configuration and its memory blocks; None if it may fit."""
    try:
        check_size(board, config, config_blocks(config, board.part.family))
    except BuildError as error:
        return str(error)
    return None


def least_blocks(config: DeviceConfig, family: Family, depth: int = _LEAST_WEIGHTS) -> int:
    """Return the memory blocks of what grows with the array, weight buffers as small as they may be.

    Parameters
    ----------
    config : DeviceConfig
    family : Family
    depth : int, optional
        Of a weight buffer instead.
    """
    g = config.geometry
    weights = Memory("weights", depth, g.width, 8)
    return total_blocks([*[weights] * g.columns, *[_activations(config)] * g.rows], family)


def _activations(config: DeviceConfig) -> Memory:
    g = config.geometry
    return Memory("memory", config.act_depth, g.width, g.lane, single=config.act_ports == 1)


def elaborate(
    board: Board, config: DeviceConfig, baud: int | None = None, bake: Program | None = None
) -> Design:
    """Elaborate a board's design.

    Parameters
    ----------
    board : Board
    config : DeviceConfig
    baud : int, optional
        Default: the board's.
    bake : Program, optional
        Network that is in the memories from the start.

    Raises
    ------
    BuildError
        If the clock or the baud rate cannot be made, or the board has no chip for its store.
    MissingDependencyError
        If the package with the board's pins is not installed.
    """
    # What can be refused is refused before the first Elaboratable, which complains if it is left unused.
    board.chip(config)
    platform, divisor = board.new_platform(), board.divisor(baud or board.baud)
    plan = platform.prepare(BoardTop(board, config, baud, bake), "top", emit_src=False)
    rtlil = _text(plan.files["top.il"])
    constraints = _text(plan.files[f"top.{board.part.family.constraints}"])
    modules = tuple(re.findall(r"^module \\(\S+)", rtlil, re.MULTILINE))
    memories = tuple(find_memories(rtlil, board.part.family))
    return Design(board, config, rtlil, constraints, modules, memories, divisor, bake)


def fit_memories(design: Design) -> DeviceConfig:
    """Return a configuration with weight buffers halved until block RAM suffices, if it ever does."""
    depth = design.config.weight_depth
    family = design.board.part.family
    while depth // 2 >= _LEAST_WEIGHTS:
        memories = [replace(m, depth=depth) if m.name.startswith("weights") else m for m in design.memories]
        if total_blocks(memories, family) <= design.board.part.bram:
            break
        depth //= 2
    return replace(design.config, weight_depth=depth)


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()
