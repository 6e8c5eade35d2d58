"""A board's design as RTLIL with constraints, and whether it fits before anything is synthesized."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program

from ..board import Board
from ..measure.memories import Memory, find_memories, single_blocks, total_blocks
from ..measure.needs import LEAST_DEPTH
from ..measure.size import check_size
from ..top import BoardTop

__all__ = ["Design", "elaborate", "fit_memories"]


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
    board.beside(config)
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
    while depth // 2 >= LEAST_DEPTH:
        memories = [replace(m, depth=depth) if m.name.startswith("weights") else m for m in design.memories]
        if total_blocks(memories, family) <= design.board.part.bram:
            break
        depth //= 2
    return replace(design.config, weight_depth=depth)


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()
