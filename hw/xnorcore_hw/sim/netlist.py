"""An Amaranth design as one flat list of evaluation steps: the front half of the compiled simulator.

Amaranth lowers a design to a fine netlist in which every bit is a net. This module takes that netlist
for a design with one clock, drops what no output depends on, and orders the rest so that each step
reads only values computed before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import _ir, _nir
from amaranth.lib import wiring

from xnorcore.errors import EngineError

LIMB = 64
"""Bits of the machine word that holds a value, or a part of a wide one."""

Nets = tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """Neighbouring bits of an operand that come from one place.

    Attributes
    ----------
    position : int
        Lowest bit in the operand.
    length : int
        Bits.
    cell : int
        Cell that drives them; -1 for a constant.
    bit : int
        Lowest bit of the cell's output, or the constant.
    repeated : bool
        Whether every bit of the run is the same output bit (sign extension).
    """

    position: int
    length: int
    cell: int
    bit: int
    repeated: bool = False


@dataclass(frozen=True)
class Step:
    """Evaluation of bits ``low`` to ``low + width - 1`` of a cell's output.

    `unit` is the number of bits held by one variable: `LIMB`, or 1 for decision bits.
    """

    cell: int
    low: int
    width: int
    unit: int = LIMB

    def names(self, prefix: str = "v") -> list[tuple[int, int, str]]:
        """Return ``(lowest bit, bits, variable)`` for each variable of the step."""
        end = self.low + self.width
        return [
            (bit, min(self.unit, end - bit), f"{prefix}{self.cell}_{bit}")
            for bit in range(self.low, end, self.unit)
        ]


def lower(component: wiring.Component) -> _nir.Netlist:
    """Elaborate a component into a netlist with its ports, ``clk`` and ``rst`` as top-level ports.

    The checks for combinational loops that Amaranth makes here cost more time than the whole rest
    of the build; `Schedule` finds those loops anyway.
    """
    ports: dict[str, tuple[Any, _ir.PortDirection]] = {}
    for path, member, value in component.signature.flatten(component):
        flow = _ir.PortDirection.Input if member.flow == wiring.In else _ir.PortDirection.Output
        signal = value.as_value() if hasattr(value, "as_value") else value
        ports["__".join(str(name) for name in path)] = (signal, flow)
    design = _ir.Fragment.get(component, None).prepare(ports=ports, hierarchy=("top",))
    netlist = _nir.Netlist()
    _ir._emit_netlist(netlist, design)
    netlist.resolve_all_nets()
    return netlist


class Schedule:
    """The live cells of a netlist in evaluation order.

    Parameters
    ----------
    netlist : amaranth.hdl._nir.Netlist

    Attributes
    ----------
    order : list of Step or int
        Combinational steps, and the cells (flip-flops, read ports, checks) whose inputs are then known.
    outputs : dict of str to tuple of int
        Nets of each top-level output.
    inputs : dict of str to (int, int)
        First bit and width of each top-level input, clock and reset excluded.
    writes : list of int
        Live memory write ports, in order of priority (the last one wins).
    memories : list of int
        Live memories.
    states : list of int
        Live flip-flops and synchronous read ports.

    Raises
    ------
    EngineError
        If the design has more than one clock, a combinational loop, or a cell that has no simulation model.
    """

    def __init__(self, netlist: _nir.Netlist) -> None:
        self.cells: list[Any] = list(netlist.cells)
        self._alias: dict[int, Nets | None] = {}
        self._const: dict[int, int | None] = {}
        top = netlist.top
        self.inputs = {k: v for k, v in top.ports_i.items() if k not in ("clk", "rst")}
        self._clock = top.ports_i["clk"][0] if "clk" in top.ports_i else None
        self._reset = top.ports_i["rst"][0] if "rst" in top.ports_i else None
        self.outputs = {name: tuple(value) for name, value in top.ports_o.items()}
        self._split: set[int] = set()
        self._write_ports: dict[int, list[int]] = {}
        for index, cell in enumerate(self.cells):
            if isinstance(cell, _nir.SyncWritePort):
                self._write_ports.setdefault(cell.memory, []).append(index)
        self._steps: dict[int, list[Step]] = {}
        while not self._try():
            self._steps = {}

    def net(self, net: int) -> int:
        """Follow a net through cells that only pass a value on; reset is a constant 0."""
        while net > 1:
            index, bit = net >> 16, net & 0xFFFF
            if index == 0:
                return 0 if bit == self._reset else net
            value = self.constant(index, bit)
            if value is not None:
                return value
            alias = self._aliased(index)
            if alias is None:
                return net
            net = alias[bit]
        return net

    def constant(self, index: int, bit: int) -> int | None:
        """Return the value of a decision bit that is known before simulation, else None."""
        cell = self.cells[index]
        if not isinstance(cell, _nir.Matches | _nir.PriorityMatch):
            return None
        key = index << 16 | bit
        if key not in self._const:
            self._const[key] = self._decide(cell, bit)
        return self._const[key]

    def _decide(self, cell: Any, bit: int) -> int | None:
        if isinstance(cell, _nir.Matches):
            value = [self.net(n) for n in cell.value]
            if any(n > 1 for n in value):
                return None
            text = "".join(str(n) for n in reversed(value))
            return int(any(all(p in ("-", t) for p, t in zip(p_, text, strict=True)) for p_ in cell.patterns))
        enable, wanted = self.net(cell.en), self.net(cell.inputs[bit])
        earlier = [self.net(n) for n in cell.inputs[:bit]]
        if enable == 0 or wanted == 0 or 1 in earlier:
            return 0
        return 1 if enable == wanted == 1 and not any(earlier) else None

    def _aliased(self, index: int) -> Nets | None:
        if index in self._alias:
            return self._alias[index]
        cell, result = self.cells[index], None
        if isinstance(cell, _nir.AssignmentList):
            nets: list[int] = list(cell.default)
            for assign in cell.assignments:
                condition = self.net(int(assign.cond))
                if condition > 1:
                    break
                if condition:
                    nets[assign.start : assign.start + len(assign.value)] = assign.value
            else:
                result = tuple(nets)
        self._alias[index] = result
        return result

    def runs(self, nets: Sequence[int]) -> list[Run]:
        """Group an operand's bits by where they come from."""
        resolved = [self.net(net) for net in nets]
        result: list[Run] = []
        at, size = 0, len(resolved)
        while at < size:
            net, end = resolved[at], at + 1
            if net <= 1:
                value = net
                while end < size and 0 <= resolved[end] <= 1:
                    value |= resolved[end] << (end - at)
                    end += 1
                result.append(Run(at, end - at, -1, value))
            elif end < size and resolved[end] == net:
                while end < size and resolved[end] == net:
                    end += 1
                result.append(Run(at, end - at, net >> 16, net & 0xFFFF, True))
            else:
                while end < size and resolved[end] == net + (end - at):
                    end += 1
                result.append(Run(at, end - at, net >> 16, net & 0xFFFF))
            at = end
        return result

    def width(self, index: int) -> int:
        """Output bits of a cell."""
        cell = self.cells[index]
        if isinstance(cell, _nir.FlipFlop):
            return len(cell.data)
        if isinstance(cell, _nir.AssignmentList):
            return len(cell.default)
        if isinstance(cell, _nir.PriorityMatch):
            return len(cell.inputs)
        return 1 if isinstance(cell, _nir.Matches) else cell.width

    def is_state(self, index: int) -> bool:
        """Whether a cell's output changes only at the clock edge."""
        return isinstance(self.cells[index], _nir.FlipFlop | _nir.SyncReadPort)

    def steps(self, index: int) -> list[Step]:
        """Return the steps that together evaluate one cell, lowest bits first."""
        if index not in self._steps:
            cell, width = self.cells[index], self.width(index)
            unit = 1 if isinstance(cell, _nir.PriorityMatch) else LIMB
            if index in self._split:
                size = 1
            elif self._bitwise(index) or isinstance(cell, _nir.FlipFlop):
                size = LIMB
            else:
                size = max(width, 1)
            self._steps[index] = [
                Step(index, low, min(size, width - low), unit) for low in range(0, width, size)
            ]
        return self._steps[index]

    def step_at(self, index: int, bit: int) -> Step:
        """Return the step that evaluates one bit."""
        steps = self.steps(index)
        return steps[bisect_right(steps, bit, key=lambda step: step.low) - 1]

    def _bitwise(self, index: int) -> bool:
        cell = self.cells[index]
        if isinstance(cell, _nir.Operator):
            return cell.operator in ("~", "&", "|", "^", "m")
        return isinstance(cell, _nir.AssignmentList)

    def reads(self, step: Step) -> Iterator[Nets]:
        """Yield the operands, as tuples of nets, that a combinational step needs."""
        cell = self.cells[step.cell]
        low, high = step.low, step.low + step.width
        if isinstance(cell, _nir.Operator):
            for position, value in enumerate(cell.inputs):
                whole = not self._bitwise(step.cell) or (cell.operator == "m" and position == 0)
                yield tuple(value) if whole else tuple(value)[low:high]
        elif isinstance(cell, _nir.AssignmentList):
            yield tuple(cell.default)[low:high]
            for assign in cell.assignments:
                first = max(low, assign.start)
                last = min(high, assign.start + len(assign.value))
                if first < last:
                    yield (assign.cond,)
                    yield tuple(assign.value)[first - assign.start : last - assign.start]
        elif isinstance(cell, _nir.PriorityMatch):
            yield (cell.en, *cell.inputs[:high])
        elif isinstance(cell, _nir.Matches):
            yield tuple(cell.value)
        elif isinstance(cell, _nir.Part):
            yield tuple(cell.value)
            yield tuple(cell.offset)
        elif isinstance(cell, _nir.AsyncReadPort):
            yield tuple(cell.addr)
        elif not isinstance(cell, _nir.Initial | _nir.AnyValue):
            raise EngineError(
                f"the compiled engine has no model of a {type(cell).__name__} cell "
                f"({cell.src_loc}); use engine=amaranth"
            )

    def sink_reads(self, index: int) -> Iterator[Nets]:
        """Yield the operands that a cell needs at the clock edge."""
        cell = self.cells[index]
        if isinstance(cell, _nir.FlipFlop):
            yield tuple(cell.data)
        elif isinstance(cell, _nir.SyncReadPort):
            yield (cell.en, *cell.addr)
            for port in cell.transparent_for:
                yield from self.sink_reads(port)
        elif isinstance(cell, _nir.SyncWritePort):
            yield tuple(cell.addr)
            yield tuple(cell.data)
            yield tuple(cell.en)
        elif isinstance(cell, _nir.SyncProperty):
            yield (cell.test, cell.en)

    def _check_clock(self, index: int) -> None:
        cell = self.cells[index]
        clock = self.net(cell.clk)
        bad = clock >> 16 or (clock & 0xFFFF) != self._clock or cell.clk_edge != "pos"
        if bad or (isinstance(cell, _nir.FlipFlop) and self.net(cell.arst) != 0):
            raise EngineError(
                f"the compiled engine runs designs with one clock, rising edge and synchronous reset; "
                f"the cell at {cell.src_loc} has another; use engine=amaranth"
            )

    def _try(self) -> bool:
        """Order everything live; False if a cell had to be split into bits to open a false loop."""
        self.order: list[Step | int] = []
        self.states: list[int] = []
        self.memories: list[int] = []
        self._done: dict[Step, bool] = {}
        self._seen: set[int] = set()
        pending = [i for i, cell in enumerate(self.cells) if isinstance(cell, _nir.SyncProperty)]
        self._pending = pending
        for nets in self.outputs.values():
            if not self._visit(nets):
                return False
        at = 0
        while at < len(pending):
            index = pending[at]
            at += 1
            self._check_clock(index)
            if self.is_state(index):
                self.states.append(index)
            cell = self.cells[index]
            if isinstance(cell, _nir.SyncReadPort):
                self._use_memory(cell.memory)
            for nets in self.sink_reads(index):
                if not self._visit(nets):
                    return False
            if not isinstance(cell, _nir.SyncWritePort):
                self.order.append(index)
        self.writes = [i for m in self.memories for i in self._write_ports.get(m, [])]
        return True

    def _use_memory(self, memory: int) -> None:
        if memory not in self._seen:
            self._seen.add(memory)
            self.memories.append(memory)
            self._pending.extend(self._write_ports.get(memory, []))

    def _sources(self, operands: Iterator[Nets]) -> Iterator[Step]:
        for nets in operands:
            for run in self.runs(nets):
                if run.cell <= 0:
                    continue
                if self.is_state(run.cell):
                    if run.cell not in self._seen:
                        self._seen.add(run.cell)
                        self._pending.append(run.cell)
                    continue
                last = run.bit + (0 if run.repeated else run.length - 1)
                bit = run.bit
                while bit <= last:
                    step = self.step_at(run.cell, bit)
                    yield step
                    bit = step.low + step.width

    def _visit(self, nets: Nets) -> bool:
        stack: list[tuple[Step | None, Iterator[Step]]] = [(None, self._sources(iter((nets,))))]
        while stack:
            step, sources = stack[-1]
            for source in sources:
                if source not in self._done:
                    self._done[source] = False
                    cell = self.cells[source.cell]
                    if isinstance(cell, _nir.AsyncReadPort):
                        self._use_memory(cell.memory)
                    stack.append((source, self._sources(self.reads(source))))
                    break
                if not self._done[source]:
                    steps = [s for s, _ in stack if s is not None]
                    self._open(steps[steps.index(source) :])
                    return False
            else:
                stack.pop()
                if step is not None:
                    self._done[step] = True
                    self.order.append(step)
        return True

    def _open(self, loop: list[Step]) -> None:
        coarse = {
            step.cell
            for step in loop
            if step.width > 1
            and (self._bitwise(step.cell) or isinstance(self.cells[step.cell], _nir.PriorityMatch))
        }
        if not coarse:
            where = ", ".join(str(self.cells[step.cell].src_loc) for step in loop[:4])
            raise EngineError(
                f"the design has a combinational loop through {where}; break it with a register"
            )
        self._split |= coarse
