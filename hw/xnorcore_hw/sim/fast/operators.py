"""C++ for the combinational steps of a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xnorcore.errors import EngineError

from .. import adapter
from .netlist import LIMB
from .operands import limbs, mask, up
from .schedule import Step
from .sequential import Sequential


class Combinational(Sequential):
    """Adds the lines that evaluate a step."""

    def combinational(self, step: Step) -> None:
        """Evaluate a step."""
        cell = self.cells[step.cell]
        if isinstance(cell, adapter.Operator):
            self._operator(step, cell)
        elif isinstance(cell, adapter.AssignmentList):
            self._assignments(step, cell)
        elif isinstance(cell, adapter.PriorityMatch):
            self._priority(step, cell)
        elif isinstance(cell, adapter.Matches):
            self.define(step.names()[0][2], self._matches(cell), 1)
        elif isinstance(cell, adapter.Part):
            amount = f"({self._amount(cell.offset)}) * {cell.stride}ull"
            self._window(step, tuple(cell.value), amount, cell.value_signed)
        elif isinstance(cell, adapter.AsyncReadPort):
            self.read(step, cell)
        else:
            for _, width, name in step.names():
                self.define(name, "0", width)

    def _matches(self, cell: Any) -> str:
        value, terms = tuple(cell.value), []
        for pattern in cell.patterns:
            digits, tests = pattern[::-1], []
            for limb in range(limbs(len(digits))):
                part = digits[limb * LIMB : (limb + 1) * LIMB]
                care = sum(1 << i for i, d in enumerate(part) if d != "-")
                want = sum(1 << i for i, d in enumerate(part) if d == "1")
                if care:
                    tests.append(f"(({self.take(value, limb)} & 0x{care:x}ull) == 0x{want:x}ull)")
            terms.append(f"({' & '.join(tests) or '1'})")
        return f"(u64)({' | '.join(terms) or '0'})"

    def _priority(self, step: Step, cell: Any) -> None:
        if step.width == 1:
            earlier = "".join(f" & (1 ^ {self.bit(net)})" for net in cell.inputs[: step.low])
            wanted = self.bit(cell.inputs[step.low])
            self.define(step.names()[0][2], f"{self.bit(cell.en)} & {wanted}{earlier}", 1)
            return
        left = f"r{step.cell}"
        self.do(f"{'u8' if self.loop else 'u64'} {left} = {self.bit(cell.en)};")
        for bit, _, name in step.names():
            wanted = self.bit(cell.inputs[bit])
            self.define(name, f"{left} & {wanted}", 1)
            self.do(f"{left} &= 1 ^ {wanted};")

    def _assignments(self, step: Step, cell: Any) -> None:
        ((_, _, name),) = step.names()
        low, high = step.low, step.low + step.width
        text = self.take(tuple(cell.default)[low:high])
        pending: list[tuple[str, str]] = []
        for assign in cell.assignments:
            first = max(low, assign.start)
            last = min(high, assign.start + len(assign.value))
            if first >= last or self.nets.net(assign.cond) == 0:
                continue
            value = self.take(tuple(assign.value)[first - assign.start : last - assign.start])
            if (first, last) == (low, high):
                new = value
            else:
                kept = ((1 << step.width) - 1) & ~(((1 << (last - first)) - 1) << (first - low))
                new = f"({name} & 0x{kept:x}ull) | {up(value, first - low)}"
            pending.append((self.bit(assign.cond), new))
        self.define(name, text, step.width)
        for condition, new in pending:
            if self.loop:  # no branch: it would keep the compiler from using vectors
                self.do(f"{name} ^= ({name} ^ ({new})) & -{condition};")
            else:
                self.do(f"{name} = {condition} ? {new} : {name};")

    def _operator(self, step: Step, cell: Any) -> None:
        op, inputs = cell.operator, [tuple(value) for value in cell.inputs]
        low, high = step.low, step.low + step.width
        names = step.names()
        if op in ("~", "&", "|", "^", "m"):
            sliced = [x[low:high] if not (op == "m" and i == 0) else x for i, x in enumerate(inputs)]
            terms = [self.take(x) for x in sliced]
            if op == "~":
                text = f"~{terms[0]} & {mask(step.width)}"
            elif op == "m":
                text = f"{terms[0]} ? {terms[1]} : {terms[2]}"
            else:
                text = f" {op} ".join(terms)
            self.define(names[0][2], text, step.width)
        elif op in ("<<", "u>>", "s>>"):
            if op == "<<":
                self._shift_left(step, inputs[0], self._amount(inputs[1]))
            else:
                self._window(step, inputs[0], self._amount(inputs[1]), op == "s>>")
        elif op in ("b", "r|", "r&", "r^") or op.lstrip("us") in ("==", "!=", "<", ">", "<=", ">="):
            self.define(names[0][2], self._test(op, inputs), 1)
        elif op in ("+", "-"):
            self._sum(step, op, inputs)
        else:
            self._product(step, op, inputs)

    def _amount(self, nets: Sequence[int]) -> str:
        if len(nets) > 32:
            raise EngineError(f"the compiled engine shifts by at most 32 bits of amount, not {len(nets)}")
        return self.take(tuple(nets))

    def _test(self, op: str, inputs: list[tuple[int, ...]]) -> str:
        left = inputs[0]
        size = range(limbs(len(left)))
        if len(inputs) == 1:
            values = [self.take(left, i) for i in size]
            if op == "r^":
                return f"parity({' ^ '.join(values)})"
            if op == "r&":
                full = [mask(min(LIMB, len(left) - i * LIMB)) for i in size]
                return "(u64)(" + " & ".join(f"({x} == {m})" for x, m in zip(values, full, strict=True)) + ")"
            return f"(u64)(({' | '.join(values)}) != 0)"
        right = inputs[1]
        if not left:
            return str(int(op.lstrip("us") in ("==", "<=", ">=")))
        flip = f"0x{1 << ((len(left) - 1) % LIMB):x}ull"
        pairs = []
        for i in size:
            a, b = self.take(left, i), self.take(right, i)
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
            terms = [self.take(x) for x in inputs]
            text = f"-{terms[0]}" if len(terms) == 1 else f"({terms[0]} {op} {terms[1]})"
            self.define(names[0][2], f"{text} & {mask(step.width)}", step.width)
            return
        carry = f"t{step.cell}"
        self.do(f"i128 {carry} = 0;")
        for i, (_, width, name) in enumerate(names):
            terms = [f"(i128){self.take(x, i)}" for x in inputs]
            text = f"-{terms[0]}" if len(terms) == 1 else f"{terms[0]} {op} {terms[1]}"
            self.do(f"{carry} += {text};")
            self.define(name, f"(u64){carry} & {mask(width)}", width)
            self.do(f"{carry} >>= 64;")

    def _product(self, step: Step, op: str, inputs: list[tuple[int, ...]]) -> None:
        width, names = step.width, step.names()
        if op == "*" and width <= 2 * LIMB:
            factors = []
            for x in inputs:
                high = f" | (u128){self.take(x, 1)} << 64" if len(x) > LIMB else ""
                factors.append(f"((u128){self.take(x)}{high})")
            self.do(f"u128 t{step.cell} = {' * '.join(factors)};")
            for i, (_, size, name) in enumerate(names):
                self.define(name, f"(u64)(t{step.cell} >> {i * LIMB}) & {mask(size)}", size)
            return
        functions = {"u//": "udiv", "s//": "sdiv", "u%": "umod", "s%": "smod"}
        if op not in functions or width > LIMB:
            raise EngineError(
                f"the compiled engine has no model of operator {op!r} on {width} bits; use engine=amaranth"
            )
        terms = [self.take(x) for x in inputs]
        if op[0] == "s":
            terms = [f"sign({x}, {width})" for x in terms]
        self.define(names[0][2], f"{functions[op]}({', '.join(terms)}) & {mask(width)}", width)

    def _array(self, step: Step, value: tuple[int, ...], signed: bool) -> tuple[str, int, str]:
        """Put an operand into an array; return its name, its limbs, and what lies above them."""
        values = [self.take(value, i) for i in range(limbs(len(value)))]
        rest = len(value) % LIMB
        fill = "0"
        if signed and value:
            fill = f"(-{self.bit(value[-1])})"
            if rest:
                values[-1] = f"sign({values[-1]}, {rest})"
        name = f"a{step.cell}"
        self.do(f"const u64 {name}[] = {{{', '.join(values)}}};")
        return name, len(values), fill

    def _window(self, step: Step, value: tuple[int, ...], amount: str, signed: bool) -> None:
        name, count, fill = self._array(step, value, signed)
        self.do(f"const u64 p{step.cell} = {amount};")
        for i, (_, width, target) in enumerate(step.names()):
            position = f"p{step.cell} + {i * LIMB}"
            self.define(target, f"window({name}, {count}, {position}, {fill}) & {mask(width)}", width)

    def _shift_left(self, step: Step, value: tuple[int, ...], amount: str) -> None:
        name, count, _ = self._array(step, value, False)
        self.do(f"const u64 p{step.cell} = {amount};")
        for i, (_, width, target) in enumerate(step.names()):
            self.define(target, f"shifted({name}, {count}, {i}, p{step.cell}) & {mask(width)}", width)
