"""C++ for memories, registers and checks: what happens at the clock edge."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from .. import adapter
from .netlist import LIMB
from .operands import Operands, limbs
from .schedule import Schedule, Step


def place(src_loc: Any) -> str:
    """Return ``FILE:LINE`` of a source location."""
    return f"{PurePath(src_loc[0]).name}:{src_loc[1]}" if src_loc else "an unknown place"


class Sequential(Operands):
    """Adds the lines of memory ports, registers and checks.

    Attributes
    ----------
    checks : list of str
        Source places and messages of the design's assertions; ``Design::failed`` is 1 + the index of the last
        that failed.
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self.checks: list[str] = []

    def _word(self, memory: int, address: str, limb: int) -> str:
        wide = self.cells[memory].width > LIMB
        return f"m{memory}[{address}][{limb}]" if wide else f"m{memory}[{address}]"

    def _inside(self, memory: int, address: str, bits: int) -> str:
        return "" if 1 << bits <= self.cells[memory].depth else f"{address} < {self.cells[memory].depth}"

    def read(self, step: Step, cell: Any) -> None:
        """Evaluate a read port without a clock."""
        address = f"p{step.cell}"
        self.do(f"const u64 {address} = {self.take(tuple(cell.addr))};")
        inside = self._inside(cell.memory, address, len(cell.addr))
        for i, (_, width, name) in enumerate(step.names()):
            word = f"(u64){self._word(cell.memory, address, i)}"
            self.define(name, f"{inside} ? {word} : 0" if inside else word, width)

    def edge(self, index: int) -> None:
        """Take the clock edge of a register or a synchronous read port, or run a check."""
        cell = self.cells[index]
        if isinstance(cell, adapter.FlipFlop):
            for limb in range(limbs(len(cell.data))):
                self.set(f"n.{self.state(index, limb * LIMB)}", self.take(tuple(cell.data), limb))
        elif isinstance(cell, adapter.SyncReadPort):
            self._sync_read(index, cell)
        elif cell.kind == "assert":
            said = [chunk for chunk in getattr(cell.format, "chunks", ()) if isinstance(chunk, str)]
            self.checks.append(": ".join([place(cell.src_loc), *filter(None, ["".join(said)])]))
            test = f"{self.bit(cell.en)} & (1 ^ {self.bit(cell.test)})"
            self.do(f"if ({test}) failed = {len(self.checks)};")

    def _sync_read(self, index: int, cell: Any) -> None:
        address, width = f"p{index}", cell.width
        lines = [f"const u64 {address} = {self.take(tuple(cell.addr))};"]
        inside = self._inside(cell.memory, address, len(cell.addr))
        for limb in range(limbs(width)):
            field = f"f{index}_{limb * LIMB}"
            word = f"(u64){self._word(cell.memory, address, limb)}"
            lines.append(f"u64 w = {inside} ? {word} : 0;" if inside else f"u64 w = {word};")
            for port in cell.transparent_for:
                write = self.cells[port]
                enable, data = self.take(tuple(write.en), limb), self.take(tuple(write.data), limb)
                test = f"{self.take(tuple(write.addr))} == {address}"
                lines.append(f"if ({test}) w = (w & ~{enable}) | ({data} & {enable});")
            kept = "" if self.nets.net(cell.en) == 1 else f"!{self.bit(cell.en)} ? (u64)s.{field} : "
            lines.append(f"n.{field} = {kept}w;")
            if limb + 1 < limbs(width):
                lines[-1] += " }\n  {"
        text = " ".join(lines)
        # Each limb has its own scope for w; the address is outside them.
        head, rest = text.split(";", 1)
        self.do(f"{head}; {{{rest} }}")

    def write(self, cell: Any) -> None:
        """Take the clock edge of a write port."""
        width = self.cells[cell.memory].width
        address = self.take(tuple(cell.addr))
        inside = self._inside(cell.memory, "p", len(cell.addr))
        body = []
        for limb in range(limbs(width)):
            enable, data = self.take(tuple(cell.en), limb), self.take(tuple(cell.data), limb)
            word = self._word(cell.memory, "p", limb)
            body.append(f"{word} = ({word} & ~{enable}) | ({data} & {enable});")
        # Most cycles write nothing: one test of the nets that enable lanes, not of the mask of bits.
        nets = sorted(set(self.nets.resolve(cell.en)))
        tests = [self.take(nets[i : i + LIMB]) for i in range(0, len(nets), LIMB)]
        text = f"if ({inside}) {{ {' '.join(body)} }}" if inside else " ".join(body)
        self.do(f"if (({' | '.join(tests)}) != 0) {{ const u64 p = {address}; {text} }}")
