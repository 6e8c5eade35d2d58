"""C++ for one clock cycle of a design: the back half of the compiled simulator.

The result is a class ``Design`` with one member per input (``i_NAME``) and output (``o_NAME``), and
``cycle()``: settle everything from the inputs, leave the outputs as they are before the clock edge, then
take the edge. Registers exist twice; a cycle reads one copy and writes the other, so that the order of
register updates cannot matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from amaranth.hdl import _nir

from xnorcore.errors import EngineError

from .netlist import LIMB, Schedule, Step

CHUNK = 200
"""Evaluation steps per C++ function: compilers take more than linear time on longer ones."""

PRELUDE = r"""
#pragma once
#include <stdint.h>
#include <string.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef unsigned __int128 u128; typedef __int128 i128;
// Bits position.. of a value of n limbs, followed for ever by fill.
static inline u64 window(const u64 *t, u64 n, u64 position, u64 fill) {
  u64 q = position / 64, r = position % 64;
  if (q >= n) return fill;
  u64 high = q + 1 < n ? t[q + 1] : fill;
  return r ? t[q] >> r | high << (64 - r) : t[q];
}
// Limb k of a value of n limbs shifted left.
static inline u64 shifted(const u64 *t, u64 n, u64 k, u64 amount) {
  u64 q = amount / 64, r = amount % 64;
  if (q > k) return 0;
  u64 high = t[k - q], low = k > q ? t[k - q - 1] : 0;
  return r ? high << r | low >> (64 - r) : high;
}
static inline u64 sign(u64 v, int n) { return (u64)((int64_t)(v << (64 - n)) >> (64 - n)); }
static inline u64 parity(u64 v) { return __builtin_parityll(v); }
static inline u64 udiv(u64 a, u64 b) { return b ? a / b : 0; }
static inline u64 umod(u64 a, u64 b) { return b ? a % b : 0; }
static inline u64 sdiv(u64 x, u64 y) {
  i128 a = (int64_t)x, b = (int64_t)y;
  if (!b) return 0;
  i128 q = a / b;
  return (u64)(a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q);
}
static inline u64 smod(u64 x, u64 y) { return y ? x - sdiv(x, y) * y : 0; }
"""


def _mask(width: int) -> str:
    return f"0x{(1 << width) - 1:x}ull"


def _holder(width: int) -> str:
    return "u8" if width <= 8 else "u16" if width <= 16 else "u32" if width <= 32 else "u64"


def _place(src_loc: Any) -> str:
    return f"{PurePath(src_loc[0]).name}:{src_loc[1]}" if src_loc else "an unknown place"


def _limbs(width: int) -> int:
    return max(1, -(-width // LIMB))


class Emitter:
    """C++ text of a scheduled design.

    Parameters
    ----------
    schedule : Schedule

    Attributes
    ----------
    checks : list of str
        Source places of the design's assertions; ``Design::failed`` is 1 + the index of the last that failed.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._s = schedule
        self._cells = schedule.cells
        self.checks: list[str] = []
        self._lines: list[tuple[str | None, str]] = []
        self._chunks: list[list[tuple[str | None, str]]] = []

    def sources(self, parts: int) -> dict[str, str]:
        """Return file name to text: ``design.h`` and `parts` files that compile on their own."""
        for count, item in enumerate(self._s.order, 1):
            if isinstance(item, Step):
                self._comb(item)
            else:
                self._edge(item)
            if count % CHUNK == 0:
                self._close()
        for name, nets in self._s.outputs.items():
            for limb in range(_limbs(len(nets))):
                self._set(f"o_{name}[{limb}]" if len(nets) > LIMB else f"o_{name}", self._take(nets, limb))
        for port in self._s.writes:
            self._write(self._cells[port])
        self._close()
        shared = self._shared()
        files = {"design.h": self._header(shared)}
        bodies = [self._function(i, lines, shared) for i, lines in enumerate(self._chunks)]
        bodies.append(self._power_on())
        for part in range(parts):
            text = "\n".join(bodies[part::parts])
            files[f"part{part}.cc"] = f'#include "design.h"\n{text}'
        return files

    # Statements

    def _close(self) -> None:
        if self._lines:
            self._chunks.append(self._lines)
            self._lines = []

    def _define(self, name: str, text: str) -> None:
        self._lines.append((name, text))

    def _set(self, target: str, text: str) -> None:
        self._lines.append((None, f"{target} = {text};"))

    def _shared(self) -> set[str]:
        """Variables that a later function reads: members of the class instead of locals."""
        home = {name: i for i, lines in enumerate(self._chunks) for name, _ in lines if name}
        result: set[str] = set()
        for i, lines in enumerate(self._chunks):
            for _, text in lines:
                for name in re.findall(r"\bv\d+_\d+\b", text):
                    if home.get(name, i) != i:
                        result.add(name)
        return result

    def _function(self, index: int, lines: Sequence[tuple[str | None, str]], shared: set[str]) -> str:
        body = []
        for name, text in lines:
            if name is None:
                body.append(f"  {text}")
            else:
                body.append(f"  {name} = {text};" if name in shared else f"  u64 {name} = {text};")
        inside = "\n".join(body)
        return f"void Design::f{index}(const S &__restrict s, S &__restrict n) {{\n{inside}\n}}\n"

    # Operands

    def _take(self, nets: Sequence[int], limb: int = 0) -> str:
        """Return an expression for one limb of an operand."""
        parts, constant = [], 0
        for run in self._s.runs(nets[limb * LIMB : (limb + 1) * LIMB]):
            if run.cell < 0:
                constant |= run.bit << run.position
            elif run.repeated:
                bit = self._bits(run.cell, run.bit, 1)[0][2]
                parts.append(self._up(f"(-{bit} & {_mask(run.length)})", run.position))
            else:
                for offset, _, text in self._bits(run.cell, run.bit, run.length):
                    parts.append(self._up(text, run.position + offset))
        if constant or not parts:
            parts.append(f"0x{constant:x}ull")
        return parts[0] if len(parts) == 1 else f"({' | '.join(parts)})"

    @staticmethod
    def _up(text: str, by: int) -> str:
        return f"({text} << {by})" if by else text

    def _bits(self, cell: int, bit: int, length: int) -> list[tuple[int, int, str]]:
        result, at, end = [], bit, bit + length
        while at < end:
            low, width, name = self._home(cell, at)
            count = min(end, low + width) - at
            text = f"({name} >> {at - low})" if at > low else name
            if at + count < low + width:
                text = f"({text} & {_mask(count)})"
            result.append((at - bit, count, text))
            at += count
        return result

    def _home(self, cell: int, bit: int) -> tuple[int, int, str]:
        if cell == 0:
            for name, (start, width) in self._s.inputs.items():
                if start <= bit < start + width:
                    return start, width, f"i_{name}"
        if self._s.is_state(cell):
            low = bit - bit % LIMB
            return low, min(LIMB, self._s.width(cell) - low), f"(u64)s.f{cell}_{low}"
        step = self._s.step_at(cell, bit)
        low = step.low + (bit - step.low) // step.unit * step.unit
        return low, min(step.unit, step.low + step.width - low), f"v{cell}_{low}"

    def _bit(self, net: int) -> str:
        return self._take((net,))

    # Combinational steps

    def _comb(self, step: Step) -> None:
        cell = self._cells[step.cell]
        if isinstance(cell, _nir.Operator):
            self._operator(step, cell)
        elif isinstance(cell, _nir.AssignmentList):
            self._assignments(step, cell)
        elif isinstance(cell, _nir.PriorityMatch):
            self._priority(step, cell)
        elif isinstance(cell, _nir.Matches):
            self._define(step.names()[0][2], self._matches(cell))
        elif isinstance(cell, _nir.Part):
            amount = f"({self._amount(cell.offset)}) * {cell.stride}ull"
            self._window(step, tuple(cell.value), amount, cell.value_signed)
        elif isinstance(cell, _nir.AsyncReadPort):
            self._read(step, cell)
        else:
            for _, _, name in step.names():
                self._define(name, "0")

    def _matches(self, cell: Any) -> str:
        value, terms = tuple(cell.value), []
        for pattern in cell.patterns:
            digits, tests = pattern[::-1], []
            for limb in range(_limbs(len(digits))):
                part = digits[limb * LIMB : (limb + 1) * LIMB]
                care = sum(1 << i for i, d in enumerate(part) if d != "-")
                want = sum(1 << i for i, d in enumerate(part) if d == "1")
                if care:
                    tests.append(f"(({self._take(value, limb)} & 0x{care:x}ull) == 0x{want:x}ull)")
            terms.append(f"({' & '.join(tests) or '1'})")
        return f"(u64)({' | '.join(terms) or '0'})"

    def _priority(self, step: Step, cell: Any) -> None:
        if step.width == 1:
            earlier = "".join(f" & (1 ^ {self._bit(net)})" for net in cell.inputs[: step.low])
            wanted = self._bit(cell.inputs[step.low])
            self._define(step.names()[0][2], f"{self._bit(cell.en)} & {wanted}{earlier}")
            return
        left = f"r{step.cell}"
        self._lines.append((None, f"u64 {left} = {self._bit(cell.en)};"))
        for bit, _, name in step.names():
            wanted = self._bit(cell.inputs[bit])
            self._define(name, f"{left} & {wanted}")
            self._lines.append((None, f"{left} &= 1 ^ {wanted};"))

    def _assignments(self, step: Step, cell: Any) -> None:
        ((_, _, name),) = step.names()
        low, high = step.low, step.low + step.width
        text = self._take(tuple(cell.default)[low:high])
        pending: list[tuple[str, str]] = []
        for assign in cell.assignments:
            first = max(low, assign.start)
            last = min(high, assign.start + len(assign.value))
            if first >= last or self._s.net(assign.cond) == 0:
                continue
            value = self._take(tuple(assign.value)[first - assign.start : last - assign.start])
            if (first, last) == (low, high):
                new = value
            else:
                kept = ((1 << step.width) - 1) & ~(((1 << (last - first)) - 1) << (first - low))
                new = f"({name} & 0x{kept:x}ull) | {self._up(value, first - low)}"
            pending.append((self._bit(assign.cond), new))
        self._define(name, text)
        for condition, new in pending:
            self._lines.append((None, f"{name} = {condition} ? {new} : {name};"))

    def _operator(self, step: Step, cell: Any) -> None:
        op, inputs = cell.operator, [tuple(value) for value in cell.inputs]
        low, high = step.low, step.low + step.width
        names = step.names()
        if op in ("~", "&", "|", "^", "m"):
            sliced = [x[low:high] if not (op == "m" and i == 0) else x for i, x in enumerate(inputs)]
            terms = [self._take(x) for x in sliced]
            if op == "~":
                text = f"~{terms[0]} & {_mask(step.width)}"
            elif op == "m":
                text = f"{terms[0]} ? {terms[1]} : {terms[2]}"
            else:
                text = f" {op} ".join(terms)
            self._define(names[0][2], text)
        elif op in ("<<", "u>>", "s>>"):
            if op == "<<":
                self._shift_left(step, inputs[0], self._amount(inputs[1]))
            else:
                self._window(step, inputs[0], self._amount(inputs[1]), op == "s>>")
        elif op in ("b", "r|", "r&", "r^") or op.lstrip("us") in ("==", "!=", "<", ">", "<=", ">="):
            self._define(names[0][2], self._test(op, inputs))
        elif op in ("+", "-"):
            self._sum(step, op, inputs)
        else:
            self._product(step, op, inputs)

    def _amount(self, nets: Sequence[int]) -> str:
        if len(nets) > 32:
            raise EngineError(f"the compiled engine shifts by at most 32 bits of amount, not {len(nets)}")
        return self._take(tuple(nets))

    def _test(self, op: str, inputs: list[tuple[int, ...]]) -> str:
        left = inputs[0]
        size = range(_limbs(len(left)))
        if len(inputs) == 1:
            limbs = [self._take(left, i) for i in size]
            if op == "r^":
                return f"parity({' ^ '.join(limbs)})"
            if op == "r&":
                full = [_mask(min(LIMB, len(left) - i * LIMB)) for i in size]
                return "(u64)(" + " & ".join(f"({x} == {m})" for x, m in zip(limbs, full, strict=True)) + ")"
            return f"(u64)(({' | '.join(limbs)}) != 0)"
        right = inputs[1]
        if not left:
            return str(int(op.lstrip("us") in ("==", "<=", ">=")))
        flip = f"0x{1 << ((len(left) - 1) % LIMB):x}ull"
        pairs = []
        for i in size:
            a, b = self._take(left, i), self._take(right, i)
            if op[0] == "s" and i == size[-1]:
                a, b = f"({a} ^ {flip})", f"({b} ^ {flip})"
            pairs.append((a, b))
        if op in ("==", "!="):
            join = " & " if op == "==" else " | "
            return "(u64)(" + join.join(f"({a} {op} {b})" for a, b in pairs) + ")"
        relation = op[1:]
        text = f"({pairs[0][0]} {relation} {pairs[0][1]})"
        for a, b in pairs[1:]:
            text = f"(({a} {relation[0]} {b}) | (({a} == {b}) & {text}))"
        return f"(u64){text}"

    def _sum(self, step: Step, op: str, inputs: list[tuple[int, ...]]) -> None:
        names = step.names()
        if len(names) == 1:
            terms = [self._take(x) for x in inputs]
            text = f"-{terms[0]}" if len(terms) == 1 else f"({terms[0]} {op} {terms[1]})"
            self._define(names[0][2], f"{text} & {_mask(step.width)}")
            return
        carry = f"t{step.cell}"
        self._lines.append((None, f"i128 {carry} = 0;"))
        for i, (_, width, name) in enumerate(names):
            terms = [f"(i128){self._take(x, i)}" for x in inputs]
            text = f"-{terms[0]}" if len(terms) == 1 else f"{terms[0]} {op} {terms[1]}"
            self._lines.append((None, f"{carry} += {text};"))
            self._define(name, f"(u64){carry} & {_mask(width)}")
            self._lines.append((None, f"{carry} >>= 64;"))

    def _product(self, step: Step, op: str, inputs: list[tuple[int, ...]]) -> None:
        width, names = step.width, step.names()
        if op == "*" and width <= 2 * LIMB:
            factors = []
            for x in inputs:
                high = f" | (u128){self._take(x, 1)} << 64" if len(x) > LIMB else ""
                factors.append(f"((u128){self._take(x)}{high})")
            self._lines.append((None, f"u128 t{step.cell} = {' * '.join(factors)};"))
            for i, (_, size, name) in enumerate(names):
                self._define(name, f"(u64)(t{step.cell} >> {i * LIMB}) & {_mask(size)}")
            return
        functions = {"u//": "udiv", "s//": "sdiv", "u%": "umod", "s%": "smod"}
        if op not in functions or width > LIMB:
            raise EngineError(
                f"the compiled engine has no model of operator {op!r} on {width} bits; use engine=amaranth"
            )
        terms = [self._take(x) for x in inputs]
        if op[0] == "s":
            terms = [f"sign({x}, {width})" for x in terms]
        self._define(names[0][2], f"{functions[op]}({', '.join(terms)}) & {_mask(width)}")

    def _array(self, step: Step, value: tuple[int, ...], signed: bool) -> tuple[str, int, str]:
        """Put an operand into an array; return its name, its limbs, and what lies above them."""
        limbs = [self._take(value, i) for i in range(_limbs(len(value)))]
        rest = len(value) % LIMB
        fill = "0"
        if signed and value:
            fill = f"(-{self._bit(value[-1])})"
            if rest:
                limbs[-1] = f"sign({limbs[-1]}, {rest})"
        name = f"a{step.cell}"
        self._lines.append((None, f"const u64 {name}[] = {{{', '.join(limbs)}}};"))
        return name, len(limbs), fill

    def _window(self, step: Step, value: tuple[int, ...], amount: str, signed: bool) -> None:
        name, limbs, fill = self._array(step, value, signed)
        self._lines.append((None, f"const u64 p{step.cell} = {amount};"))
        for i, (_, width, target) in enumerate(step.names()):
            position = f"p{step.cell} + {i * LIMB}"
            self._define(target, f"window({name}, {limbs}, {position}, {fill}) & {_mask(width)}")

    def _shift_left(self, step: Step, value: tuple[int, ...], amount: str) -> None:
        name, limbs, _ = self._array(step, value, False)
        self._lines.append((None, f"const u64 p{step.cell} = {amount};"))
        for i, (_, width, target) in enumerate(step.names()):
            self._define(target, f"shifted({name}, {limbs}, {i}, p{step.cell}) & {_mask(width)}")

    # Memories and the clock edge

    def _word(self, memory: int, address: str, limb: int) -> str:
        wide = self._cells[memory].width > LIMB
        return f"m{memory}[{address}][{limb}]" if wide else f"m{memory}[{address}]"

    def _inside(self, memory: int, address: str, bits: int) -> str:
        return "" if 1 << bits <= self._cells[memory].depth else f"{address} < {self._cells[memory].depth}"

    def _read(self, step: Step, cell: Any) -> None:
        address = f"p{step.cell}"
        self._lines.append((None, f"const u64 {address} = {self._take(tuple(cell.addr))};"))
        inside = self._inside(cell.memory, address, len(cell.addr))
        for i, (_, _, name) in enumerate(step.names()):
            word = f"(u64){self._word(cell.memory, address, i)}"
            self._define(name, f"{inside} ? {word} : 0" if inside else word)

    def _edge(self, index: int) -> None:
        cell = self._cells[index]
        if isinstance(cell, _nir.FlipFlop):
            for limb in range(_limbs(len(cell.data))):
                self._set(f"n.f{index}_{limb * LIMB}", self._take(tuple(cell.data), limb))
        elif isinstance(cell, _nir.SyncReadPort):
            self._sync_read(index, cell)
        elif cell.kind == "assert":
            self.checks.append(_place(cell.src_loc))
            test = f"{self._bit(cell.en)} & (1 ^ {self._bit(cell.test)})"
            self._lines.append((None, f"if ({test}) failed = {len(self.checks)};"))

    def _sync_read(self, index: int, cell: Any) -> None:
        address, width = f"p{index}", cell.width
        lines = [f"const u64 {address} = {self._take(tuple(cell.addr))};"]
        inside = self._inside(cell.memory, address, len(cell.addr))
        for limb in range(_limbs(width)):
            field = f"f{index}_{limb * LIMB}"
            word = f"(u64){self._word(cell.memory, address, limb)}"
            lines.append(f"u64 w = {inside} ? {word} : 0;" if inside else f"u64 w = {word};")
            for port in cell.transparent_for:
                write = self._cells[port]
                mask, data = self._take(tuple(write.en), limb), self._take(tuple(write.data), limb)
                test = f"{self._take(tuple(write.addr))} == {address}"
                lines.append(f"if ({test}) w = (w & ~{mask}) | ({data} & {mask});")
            lines.append(f"n.{field} = {self._bit(cell.en)} ? w : (u64)s.{field};")
            if limb + 1 < _limbs(width):
                lines[-1] += " }\n  {"
        text = " ".join(lines)
        # Each limb has its own scope for w; the address is outside them.
        head, rest = text.split(";", 1)
        self._lines.append((None, f"{head}; {{{rest} }}"))

    def _write(self, cell: Any) -> None:
        width = self._cells[cell.memory].width
        address = self._take(tuple(cell.addr))
        inside = self._inside(cell.memory, "p", len(cell.addr))
        body = []
        enables = []
        for limb in range(_limbs(width)):
            mask, data = self._take(tuple(cell.en), limb), self._take(tuple(cell.data), limb)
            word = self._word(cell.memory, "p", limb)
            body.append(f"{word} = ({word} & ~{mask}) | ({data} & {mask});")
            enables.append(mask)
        test = f"(({' | '.join(enables)}) != 0)" + (f" && {inside}" if inside else "")
        self._lines.append((None, f"{{ const u64 p = {address}; if ({test}) {{ {' '.join(body)} }} }}"))

    # The class

    def _header(self, shared: set[str]) -> str:
        fields, members = [], []
        for index in self._s.states:
            width = self._s.width(index)
            for low in range(0, width, LIMB):
                fields.append(f"  {_holder(width - low)} f{index}_{low};")
        for name, (_, width) in self._s.inputs.items():
            if width > LIMB:
                raise EngineError(f"input {name} has {width} bits; the compiled engine takes at most {LIMB}")
            members.append(f"  u64 i_{name};")
        for name, nets in self._s.outputs.items():
            size = f"[{_limbs(len(nets))}]" if len(nets) > LIMB else ""
            members.append(f"  u64 o_{name}{size};")
        for name in sorted(shared):
            members.append(f"  u64 {name};")
        for memory in self._s.memories:
            cell = self._cells[memory]
            size = f"[{_limbs(cell.width)}]" if cell.width > LIMB else ""
            members.append(f"  {_holder(cell.width)} m{memory}[{max(cell.depth, 1)}]{size};")
        for i in range(len(self._chunks)):
            members.append(f"  void f{i}(const S &, S &);")
        calls = " ".join(f"f{i}(s, n);" for i in range(len(self._chunks)))
        return "\n".join([
            PRELUDE, "struct S {", *fields, "};", "struct Design {", "  S copies[2];", "  int now;",
            "  int failed;", *members, "  void power_on();",
            f"  void cycle() {{ const S &s = copies[now]; S &n = copies[now ^ 1]; {calls} now ^= 1; }}", "};",
            "extern const char *const checks[];", "",
        ])  # fmt: skip

    def _power_on(self) -> str:
        lines = ["  memset(copies, 0, sizeof copies);", "  now = 0; failed = 0;"]
        for index in self._s.states:
            init = getattr(self._cells[index], "init", 0)
            for low in range(0, self._s.width(index), LIMB):
                part = (init >> low) & ((1 << min(LIMB, self._s.width(index) - low)) - 1)
                if part:
                    lines.append(f"  copies[0].f{index}_{low} = 0x{part:x}ull;")
        for memory in self._s.memories:
            cell = self._cells[memory]
            used = max((i + 1 for i, v in enumerate(cell.init) if v), default=0)
            lines.append(f"  memset(m{memory}, 0, sizeof m{memory});")
            if used:
                words = []
                for value in cell.init[:used]:
                    value &= (1 << cell.width) - 1
                    words += [
                        f"0x{value >> (LIMB * i) & (1 << LIMB) - 1:x}" for i in range(_limbs(cell.width))
                    ]
                text = ",".join(f"{word}ull" for word in words)
                lines.append(f"  static const {_holder(cell.width)} init{memory}[] = {{{text}}};")
                lines.append(f"  memcpy(m{memory}, init{memory}, sizeof init{memory});")
        texts = ", ".join([*(json.dumps(text) for text in self.checks), "nullptr"])
        return (
            "void Design::power_on() {\n" + "\n".join(lines) + "\n}\n"
            f"const char *const checks[] = {{{texts}}};\n"
        )
