"""C++ expressions for the operands of a step, and the lines of C++ that use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .lanes import Loop
from .netlist import LIMB, Bits
from .schedule import Schedule


def mask(width: int) -> str:
    """Return the constant with the lowest `width` bits set, 64 at most."""
    return f"0x{(1 << width) - 1:x}ull"


def holder(width: int) -> str:
    """Return the smallest C++ type that holds `width` bits, or one limb of them."""
    return "u8" if width <= 8 else "u16" if width <= 16 else "u32" if width <= 32 else "u64"


def limbs(width: int) -> int:
    """Return the number of limbs of a value."""
    return max(1, -(-width // LIMB))


@dataclass(frozen=True)
class Line:
    """A statement; with a `name`, the definition of a variable of `width` bits that `text` evaluates to."""

    text: str
    name: str = ""
    width: int = 0


class Operands:
    """Names and expressions; lines gather in `lines`.

    Inside of a loop's body, values that enter lane 0 are read from slots, and registers per lane.

    Parameters
    ----------
    schedule : Schedule
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.nets = schedule.nets
        self.cells = schedule.nets.cells
        self.lines: list[Line] = []
        self.loop: Loop | None = None
        self.slots: dict[Bits, str] = {}

    def define(self, name: str, text: str, width: int) -> None:
        """Add the definition of a variable that later steps may read."""
        self.lines.append(Line(text, name, width))

    def set(self, target: str, text: str) -> None:
        """Add an assignment."""
        self.lines.append(Line(f"{target} = {text};"))

    def do(self, text: str) -> None:
        """Add a statement."""
        self.lines.append(Line(text))

    def take(self, nets: Sequence[int], limb: int = 0) -> str:
        """Return an expression for one limb of an operand."""
        parts, constant = [], 0
        for run in self.nets.runs(nets[limb * LIMB : (limb + 1) * LIMB]):
            if run.cell < 0:
                constant |= run.bit << run.position
            elif run.repeated:
                bit = self._pieces(run.cell, run.bit, 1)[0][1]
                parts.append(up(f"(-{bit} & {mask(run.length)})", run.position))
            else:
                for offset, text in self._pieces(run.cell, run.bit, run.length):
                    parts.append(up(text, run.position + offset))
        if constant or not parts:
            parts.append(f"0x{constant:x}ull")
        return parts[0] if len(parts) == 1 else f"({' | '.join(parts)})"

    def bit(self, net: int) -> str:
        """Return an expression for one net."""
        return self.take((net,))

    def state(self, index: int, low: int) -> str:
        """Return the member that holds a register's bits from `low` on."""
        lane = self.schedule.lane(index)
        if lane is None:
            return f"f{index}_{low}"
        inside = self.loop is not None and index in self.loop.inside
        return f"f{lane[0]}_{low}[{'l' if inside else lane[1]}]"

    def _pieces(self, cell: int, bit: int, length: int) -> list[tuple[int, str]]:
        """Return (offset, expression) for each variable that holds some of a run's bits."""
        if self.loop is not None and cell not in self.loop.inside:
            return [(0, self._slot(tuple(cell << 16 | (bit + i) for i in range(length))))]
        result, at, end = [], bit, bit + length
        while at < end:
            low, width, name = self._home(cell, at)
            count = min(end, low + width) - at
            text = f"({name} >> {at - low})" if at > low else name
            if at + count < low + width:
                text = f"({text} & {mask(count)})"
            result.append((at - bit, text))
            at += count
        return result

    def _slot(self, nets: Bits) -> str:
        assert self.loop is not None
        if nets not in self.slots:
            same = all(self.loop.lane(lane, nets) == nets for lane in range(len(self.loop.lanes)))
            self.slots[nets] = f"x{len(self.slots)}" + ("" if same else "[l]")
        return f"(u64){self.slots[nets]}"

    def _home(self, cell: int, bit: int) -> tuple[int, int, str]:
        """Return lowest bit, bits and expression of the variable that holds one bit of a cell."""
        if cell == 0:
            for name, (start, width) in self.nets.inputs.items():
                if start <= bit < start + width:
                    return start, width, f"i_{name}"
        if self.nets.is_state(cell):
            low = bit - bit % LIMB
            return low, min(LIMB, self.nets.width(cell) - low), f"(u64)s.{self.state(cell, low)}"
        wide = "(u64)" if self.loop else ""  # a body's variables are as narrow as their values
        step = self.schedule.step_at(cell, bit)
        low = step.low + (bit - step.low) // step.unit * step.unit
        return low, min(step.unit, step.low + step.width - low), f"{wide}v{cell}_{low}"


def up(text: str, by: int) -> str:
    """Return an expression shifted left."""
    return f"({text} << {by})" if by else text
