"""C++ for one clock cycle of a design: the back of the compiled simulator.

The result is a class ``Design`` with one member per input (``i_NAME``) and output (``o_NAME``), and
``cycle()``: settle everything from the inputs, leave the outputs as they are before the clock edge, then
take the edge. Registers exist twice; a cycle reads one copy and writes the other, so that the order of
register updates cannot matter.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from xnorcore.errors import EngineError

from .lanes import Loop
from .netlist import LIMB
from .operands import Line, holder, limbs
from .operators import Combinational
from .schedule import Schedule, Step

CHUNK = 200
"""Evaluation steps per C++ function: compilers take more than linear time on longer ones."""

KEPT = "kept_without_power"
"""Attribute of memories that a loss of power leaves as they are."""

_PRELUDE = Path(__file__).parents[1] / "prelude.h"


@dataclass(frozen=True)
class _Function:
    """Statements, or the one statement that is a loop over lanes."""

    lines: list[Line]
    loop: bool = False


class Emitter(Combinational):
    """C++ text of a scheduled design.

    Parameters
    ----------
    schedule : Schedule
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(schedule)
        self._functions: list[_Function] = []
        self.members: list[str] = []

    def sources(self, parts: int) -> dict[str, str]:
        """Return file name to text: headers, `parts` files that compile on their own, and ``lanes.cc``.

        ``lanes.cc`` holds the loops, if there are any; it is worth a vectorising compiler.
        """
        for count, item in enumerate(self.schedule.order, 1):
            if isinstance(item, Loop):
                self._lanes(item)
            elif isinstance(item, Step):
                self.combinational(item)
            else:
                self.edge(item)
            if count % CHUNK == 0:
                self.close()
        for name, nets in self.nets.outputs.items():
            for limb in range(limbs(len(nets))):
                self.set(f"o_{name}[{limb}]" if len(nets) > LIMB else f"o_{name}", self.take(nets, limb))
        self.extra()
        for port in self.schedule.writes:
            self.write(self.cells[port])
        self.close()
        shared = self._shared()
        bodies = [self._body(i, function, shared) for i, function in enumerate(self._functions)]
        plain = [text for text, f in zip(bodies, self._functions, strict=True) if not f.loop]
        loops = [text for text, f in zip(bodies, self._functions, strict=True) if f.loop]
        plain.append(self._power_on())
        files = {"prelude.h": _PRELUDE.read_text(), "design.h": self._header(shared)}
        texts = {f"part{part}.cc": plain[part::parts] for part in range(parts)}
        if loops:
            texts["lanes.cc"] = loops
        return files | {name: "\n".join(['#include "design.h"', *text]) for name, text in texts.items()}

    def extra(self) -> None:
        """Add lines, and `members` of the class, that see the values of a cycle; here none."""

    def close(self) -> None:
        """End a function: what follows goes into the next one."""
        if self.lines:
            self._functions.append(_Function(self.lines))
            self.lines = []

    def _lanes(self, loop: Loop) -> None:
        """Add a function of its own: gather what enters each lane, then run lane 0's steps for all."""
        self.close()
        self.loop, self.slots = loop, {}
        for item in loop.order:
            if isinstance(item, Step):
                self.combinational(item)
            else:
                self.edge(item)
        slots, body, self.loop, self.lines = self.slots, self.lines, None, []
        count = len(loop.lanes)
        for nets, name in slots.items():
            kind = holder(len(nets))
            if name.endswith("[l]"):
                values = ", ".join(f"({kind})({self.take(loop.lane(i, nets))})" for i in range(count))
                self.do(f"const {kind} {name[:-3]}[{count}] = {{{values}}};")
            else:
                self.do(f"const {kind} {name} = {self.take(nets)};")
        self.do(f"for (int l = 0; l < {count}; ++l) {{")
        for line in body:
            self.do(f"  {holder(line.width)} {line.name} = {line.text};" if line.name else f"  {line.text}")
        self.do("}")
        self._functions.append(_Function(self.lines, True))
        self.lines = []

    def _shared(self) -> set[str]:
        """Variables that a later function reads: members of the class instead of locals."""
        home = {line.name: i for i, f in enumerate(self._functions) for line in f.lines if line.name}
        result: set[str] = set()
        for i, function in enumerate(self._functions):
            for line in function.lines:
                for name in re.findall(r"\bv\d+_\d+\b", line.text):
                    if home.get(name, i) != i:
                        result.add(name)
        return result

    def _body(self, index: int, function: _Function, shared: set[str]) -> str:
        lines = [f"void Design::f{index}(const S &__restrict s, S &__restrict n) {{"]
        for line in function.lines:
            if not line.name:
                lines.append(f"  {line.text}")
            else:
                lines.append(f"  {'' if line.name in shared else 'u64 '}{line.name} = {line.text};")
        return "\n".join([*lines, "}", ""])

    def _header(self, shared: set[str]) -> str:
        fields, members = [], list(self.members)
        for index, lanes in self.schedule.states:
            width = self.nets.width(index)
            size = f"[{lanes}]" if lanes > 1 else ""
            for low in range(0, width, LIMB):
                fields.append(f"  {holder(width - low)} f{index}_{low}{size};")
        for name, (_, width) in self.nets.inputs.items():
            if width > LIMB:
                raise EngineError(f"input {name} has {width} bits; the compiled engine takes at most {LIMB}")
            members.append(f"  u64 i_{name};")
        for name, nets in self.nets.outputs.items():
            size = f"[{limbs(len(nets))}]" if len(nets) > LIMB else ""
            members.append(f"  u64 o_{name}{size};")
        for name in sorted(shared):
            members.append(f"  u64 {name};")
        for memory in self.schedule.memories:
            cell = self.cells[memory]
            size = f"[{limbs(cell.width)}]" if cell.width > LIMB else ""
            members.append(f"  {holder(cell.width)} m{memory}[{max(cell.depth, 1)}]{size};")
        if any(KEPT in self.cells[memory].attributes for memory in self.schedule.memories):
            members.append("  int powered;")  # 0 in a new design
        for i in range(len(self._functions)):
            members.append(f"  void f{i}(const S &, S &);")
        calls = " ".join(f"f{i}(s, n);" for i in range(len(self._functions)))
        return "\n".join([
            '#include "prelude.h"', "struct S {", *fields, "};", "struct Design {",
            "  S copies[2];", "  int now;", "  int failed;", *members,
            "  static const char *const checks[];",
            "  const char *failure() const { return failed ? checks[failed - 1] : nullptr; }",
            "  void power_on();", "  void power_off() {}",
            "  void cycle() {", "    const S &s = copies[now];", "    S &n = copies[now ^ 1];",
            f"    {calls}", "    now ^= 1;", "  }", "};", "",
        ])  # fmt: skip

    def _power_on(self) -> str:
        lines = ["  memset(copies, 0, sizeof copies);", "  now = 0; failed = 0;"]
        for index, lanes in self.schedule.states:
            init, width = getattr(self.cells[index], "init", 0), self.nets.width(index)
            for low in range(0, width, LIMB):
                part = (init >> low) & ((1 << min(LIMB, width - low)) - 1)
                for lane in range(lanes if part else 0):
                    place = f"[{lane}]" if lanes > 1 else ""
                    lines.append(f"  copies[0].f{index}_{low}{place} = 0x{part:x}ull;")
        kept = [index for index in self.schedule.memories if KEPT in self.cells[index].attributes]
        for memory in self.schedule.memories:
            if memory not in kept:
                lines += self._contents(memory)
        if kept:
            lines += ["  if (powered) return;", "  powered = 1;"]
            for memory in kept:
                lines += self._contents(memory)
        texts = ", ".join([*(json.dumps(text) for text in self.checks), "nullptr"])
        return (
            "void Design::power_on() {\n" + "\n".join(lines) + "\n}\n"
            f"const char *const Design::checks[] = {{{texts}}};\n"
        )

    def _contents(self, memory: int) -> list[str]:
        cell = self.cells[memory]
        lines = [f"  memset(m{memory}, 0, sizeof m{memory});"]
        used = max((i + 1 for i, v in enumerate(cell.init) if v), default=0)
        if used:
            words = []
            for value in cell.init[:used]:
                value &= (1 << cell.width) - 1
                words += [f"0x{value >> (LIMB * i) & (1 << LIMB) - 1:x}" for i in range(limbs(cell.width))]
            text = ",".join(f"{word}ull" for word in words)
            lines.append(f"  static const {holder(cell.width)} init{memory}[] = {{{text}}};")
            lines.append(f"  memcpy(m{memory}, init{memory}, sizeof init{memory});")
        return lines
