"""The order of evaluation: the middle of the compiled simulator.

What no output depends on is dropped; the rest is ordered so that each step reads only values computed
before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from xnorcore.errors import EngineError

from .. import adapter
from .lanes import Loop, find_loops
from .netlist import LIMB, Bits, Nets


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


class Schedule:
    """The live cells of a netlist in evaluation order.

    Parameters
    ----------
    nets : Nets

    Attributes
    ----------
    nets : Nets
    order : list of Step, int or Loop
        Combinational steps; cells (flip-flops, read ports, checks) whose inputs are then known; loops.
    writes : list of int
        Live memory write ports, in order of priority (the last one wins).
    memories : list of int
        Live memories.
    states : list of (int, int)
        Live flip-flops and synchronous read ports, each with its number of lanes: 1 outside of loops.

    Raises
    ------
    EngineError
        If the design has more than one clock, a combinational loop, or a cell that has no simulation model.
    """

    def __init__(self, nets: Nets) -> None:
        self.nets = nets
        self._cells = nets.cells
        self._split: set[int] = set()
        self._write_ports: dict[int, list[int]] = {}
        for index, cell in enumerate(self._cells):
            if isinstance(cell, adapter.SyncWritePort):
                self._write_ports.setdefault(cell.memory, []).append(index)
            elif isinstance(cell, adapter.AsyncProperty):
                raise EngineError(
                    f"the compiled engine checks no assertion without a clock ({cell.src_loc}); "
                    "add it to m.d.sync"
                )
        self._loops: dict[int, Loop] = {}
        self._lane: dict[int, tuple[int, int, int]] = {}
        for loop in find_loops(nets):
            self._loops[loop.head] = loop
            for number, cells in enumerate(loop.lanes):
                for position, index in enumerate(cells):
                    self._lane[index] = loop.head, loop.lanes[0][position], number
        self._steps: dict[int, list[Step]] = {}
        while not self._try():
            self._steps = {}

    def lane(self, index: int) -> tuple[int, int] | None:
        """Return the cell of lane 0 that stands for a cell of a loop, and the lane; None outside of loops."""
        found = self._lane.get(index)
        return found[1:] if found else None

    def steps(self, index: int) -> list[Step]:
        """Return the steps that together evaluate one cell, lowest bits first."""
        if index not in self._steps:
            cell, width = self._cells[index], self.nets.width(index)
            unit = 1 if isinstance(cell, adapter.PriorityMatch) else LIMB
            if index in self._split:
                size = 1
            elif self._bitwise(index) or isinstance(cell, adapter.FlipFlop):
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
        cell = self._cells[index]
        if isinstance(cell, adapter.Operator):
            return cell.operator in ("~", "&", "|", "^", "m")
        return isinstance(cell, adapter.AssignmentList)

    def _reads(self, step: Step) -> Iterator[Bits]:
        """Yield the operands, as tuples of nets, that a combinational step needs."""
        cell = self._cells[step.cell]
        low, high = step.low, step.low + step.width
        if isinstance(cell, adapter.Operator):
            for position, value in enumerate(cell.inputs):
                whole = not self._bitwise(step.cell) or (cell.operator == "m" and position == 0)
                yield tuple(value) if whole else tuple(value)[low:high]
        elif isinstance(cell, adapter.AssignmentList):
            yield tuple(cell.default)[low:high]
            for assign in cell.assignments:
                first = max(low, assign.start)
                last = min(high, assign.start + len(assign.value))
                if first < last:
                    yield (assign.cond,)
                    yield tuple(assign.value)[first - assign.start : last - assign.start]
        elif isinstance(cell, adapter.PriorityMatch):
            yield (cell.en, *cell.inputs[:high])
        elif isinstance(cell, adapter.Matches):
            yield tuple(cell.value)
        elif isinstance(cell, adapter.Part):
            yield tuple(cell.value)
            yield tuple(cell.offset)
        elif isinstance(cell, adapter.AsyncReadPort):
            yield tuple(cell.addr)
        elif not isinstance(cell, adapter.Initial | adapter.AnyValue):
            raise EngineError(
                f"the compiled engine has no model of a {type(cell).__name__} cell "
                f"({cell.src_loc}); use engine=amaranth"
            )

    def _try(self) -> bool:
        """Order everything live; False if a cell had to be split into bits to open a false loop."""
        self.order: list[Step | int | Loop] = []
        self.states: list[tuple[int, int]] = []
        self.memories: list[int] = []
        self._done: dict[Step, bool] = {}
        self._seen: set[int] = set()
        self._pending = [i for i, cell in enumerate(self._cells) if isinstance(cell, adapter.SyncProperty)]
        for nets in self.nets.outputs.values():
            if not self._visit(nets):
                return False
        at = 0
        while at < len(self._pending):
            index = self._pending[at]
            at += 1
            if not (self._loop(self._loops[index]) if index in self._loops else self._sink(index)):
                return False
        self.writes = [i for m in self.memories for i in self._write_ports.get(m, [])]
        return True

    def _sink(self, index: int) -> bool:
        cell = self._cells[index]
        self.nets.check_clock(index)
        if self.nets.is_state(index):
            self.states.append((index, 1))
        if isinstance(cell, adapter.SyncReadPort):
            self._use_memory(cell.memory)
        for nets in self.nets.sink_reads(index):
            if not self._visit(nets):
                return False
        if not isinstance(cell, adapter.SyncWritePort):
            self.order.append(index)
        return True

    def _loop(self, loop: Loop) -> bool:
        for cells in loop.lanes:
            for index in cells:
                if self.nets.is_state(index):
                    self.nets.check_clock(index)
        for outer in loop.outer:
            if not self._visit(tuple(outer.values())):
                return False
        outside, self.order = self.order, []
        for index in loop.lanes[0]:
            if self.nets.is_state(index):
                self.states.append((index, len(loop.lanes)))
                for nets in self.nets.sink_reads(index):
                    if not self._visit(nets, loop):
                        return False
                self.order.append(index)
        loop.order, self.order = self.order, [*outside, loop]
        return True

    def _use_memory(self, memory: int) -> None:
        if memory not in self._seen:
            self._seen.add(memory)
            self.memories.append(memory)
            self._pending.extend(self._write_ports.get(memory, []))

    def _sources(self, operands: Iterator[Bits], loop: Loop | None) -> Iterator[Step]:
        for nets in operands:
            for run in self.nets.runs(nets):
                if run.cell <= 0 or (loop and run.cell not in loop.inside):
                    continue
                if self.nets.is_state(run.cell):
                    home = self._lane.get(run.cell)
                    state = home[0] if home else run.cell
                    if state not in self._seen:
                        self._seen.add(state)
                        self._pending.append(state)
                    continue
                last = run.bit + (0 if run.repeated else run.length - 1)
                bit = run.bit
                while bit <= last:
                    step = self.step_at(run.cell, bit)
                    yield step
                    bit = step.low + step.width

    def _visit(self, nets: Bits, loop: Loop | None = None) -> bool:
        stack: list[tuple[Step | None, Iterator[Step]]] = [(None, self._sources(iter((nets,)), loop))]
        while stack:
            step, sources = stack[-1]
            for source in sources:
                if source not in self._done:
                    self._done[source] = False
                    cell = self._cells[source.cell]
                    if isinstance(cell, adapter.AsyncReadPort):
                        self._use_memory(cell.memory)
                    stack.append((source, self._sources(self._reads(source), loop)))
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
            and (self._bitwise(step.cell) or isinstance(self._cells[step.cell], adapter.PriorityMatch))
        }
        if not coarse:
            where = ", ".join(str(self._cells[step.cell].src_loc) for step in loop[:4])
            raise EngineError(
                f"the design has a combinational loop through {where}; break it with a register"
            )
        self._split |= coarse
