"""Instances of one module that differ only in their inputs: the lanes of one loop.

A processing-element array is many times the same small module. Simulated as a loop over lanes it is a
hundredth of the code to compile, and the compiler turns that loop into vector instructions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import adapter
from .netlist import Bits, Nets

MIN_LANES = 4
"""Fewer instances are simulated one by one."""

_ALLOWED = (
    adapter.FlipFlop,
    adapter.Operator,
    adapter.AssignmentList,
    adapter.Matches,
    adapter.PriorityMatch,
    adapter.Part,
)


@dataclass
class Loop:
    """Module instances with the same cells in the same order; only registers leave them.

    Attributes
    ----------
    lanes : list of sequence of int
        Cells of each instance. Lane 0 stands for all: its cells are what the loop's body evaluates.
    outer : list of dict of int to int
        For each lane, its net for each net that enters lane 0.
    order : list
        Steps and flip-flops of lane 0 in evaluation order; filled in by `Schedule`.
    """

    lanes: list[Sequence[int]]
    outer: list[dict[int, int]]
    inside: frozenset[int]
    order: list[Any] = field(default_factory=list)

    @property
    def head(self) -> int:
        """The cell that stands for the loop in a schedule."""
        return self.lanes[0][0]

    def lane(self, number: int, nets: Bits) -> Bits:
        """Return a lane's nets for resolved nets that enter lane 0."""
        outer = self.outer[number]
        return tuple(outer.get(net, net) for net in nets)


def operands(cell: Any) -> list[Bits]:
    """Return everything that a cell of a loop reads."""
    if isinstance(cell, adapter.FlipFlop):
        return [tuple(cell.data)]
    if isinstance(cell, adapter.Operator):
        return [tuple(value) for value in cell.inputs]
    if isinstance(cell, adapter.AssignmentList):
        values = [(assign.cond, *assign.value) for assign in cell.assignments]
        return [tuple(cell.default), *values]
    if isinstance(cell, adapter.Matches):
        return [tuple(cell.value)]
    if isinstance(cell, adapter.PriorityMatch):
        return [(cell.en, *cell.inputs)]
    return [tuple(cell.value), tuple(cell.offset)]


def _what(cell: Any) -> tuple[Any, ...]:
    """Everything about a cell except its nets."""
    if isinstance(cell, adapter.FlipFlop):
        return "flipflop", len(cell.data), cell.init
    if isinstance(cell, adapter.Operator):
        return "operator", cell.operator, tuple(len(value) for value in cell.inputs)
    if isinstance(cell, adapter.AssignmentList):
        places = tuple((assign.start, len(assign.value)) for assign in cell.assignments)
        return "assignments", len(cell.default), places
    if isinstance(cell, adapter.Matches):
        return "matches", cell.patterns
    if isinstance(cell, adapter.PriorityMatch):
        return "priority", len(cell.inputs)
    return "part", len(cell.value), cell.value_signed, len(cell.offset), cell.width, cell.stride


class _Instance:
    """One module: its shape, and the nets that enter it in order of first use."""

    def __init__(self, nets: Nets, cells: Sequence[int]) -> None:
        self.cells = cells
        local = {index: position for position, index in enumerate(cells)}
        entries: dict[int, int] = {}
        shape: list[Any] = []
        for index in cells:
            cell = nets.cells[index]
            shape.append(_what(cell))
            for operand in operands(cell):
                for net in nets.resolve(operand):
                    home = local.get(net >> 16) if net > 1 else None
                    if net <= 1:
                        shape.append(net)
                    elif home is not None:
                        shape.append((home, net & 0xFFFF))
                    else:
                        shape.append(-1 - entries.setdefault(net, len(entries)))
        self.entries = list(entries)
        self.shape = tuple(shape)


def find_loops(nets: Nets) -> list[Loop]:
    """Return the loops of a design, in the order of their first cells."""
    groups: dict[Any, list[_Instance]] = {}
    for cells, parent in zip(nets.modules, nets.parents, strict=True):
        if cells and all(isinstance(nets.cells[index], _ALLOWED) for index in cells):
            instance = _Instance(nets, cells)
            groups.setdefault((parent, hash(instance.shape), instance.shape), []).append(instance)
    loops = []
    for instances in groups.values():
        if len(instances) >= MIN_LANES:
            first = instances[0].entries
            outer = [dict(zip(first, instance.entries, strict=True)) for instance in instances]
            lanes = [instance.cells for instance in instances]
            loops.append(Loop(lanes, outer, frozenset(instances[0].cells)))
    leaking = _leaks(nets, loops)
    return [loop for loop in loops if id(loop) not in leaking]


def _leaks(nets: Nets, loops: list[Loop]) -> set[int]:
    """Return the loops whose combinational values are read outside of their lane."""
    home: dict[int, tuple[Loop, int]] = {}
    for loop in loops:
        for number, cells in enumerate(loop.lanes):
            for index in cells:
                home[index] = loop, number
    leaking: set[int] = set()

    def read(
        values: Sequence[int],
    ) -> None:
        for net in nets.resolve(values):
            index = net >> 16
            if index in home and not nets.is_state(index):
                leaking.add(id(home[index][0]))

    for value in nets.outputs.values():
        read(value)
    for loop in loops:
        for outer in loop.outer:
            read(list(outer.values()))
    for index, cell in enumerate(nets.cells):
        if index not in home:
            read([net for net in cell.input_nets() if net > 1])
    return leaking
