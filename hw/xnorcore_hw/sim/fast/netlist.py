"""An Amaranth design as a netlist without detours: the front of the compiled simulator.

Amaranth lowers a design to a fine netlist in which every bit is a net. Here a net is followed to the
cell that really makes its value: through assignments that are decided before simulation, shifts by a
constant, and cells of one module that compute the same thing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from xnorcore.errors import EngineError

from .. import adapter

LIMB = 64
"""Bits of the machine word that holds a value, or a part of a wide one."""

Bits = tuple[int, ...]
"""Nets of an operand, lowest bit first. A net is ``cell << 16 | bit``, or the constant 0 or 1."""


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


class Nets:
    """The cells of a netlist, and what each net really is.

    Parameters
    ----------
    netlist : Amaranth's Netlist

    Attributes
    ----------
    cells : list
        All cells, by index.
    modules : list of sequence of int
        Cells of each module that has no submodules.
    parents : list of int
        Parent of each of these modules.
    inputs : dict of str to (int, int)
        First bit and width of each top-level input, clock and reset excluded.
    outputs : dict of str to tuple of int
        Nets of each top-level output.
    """

    def __init__(self, netlist: adapter.Netlist) -> None:
        self.cells: list[Any] = list(netlist.cells)
        leaves = [module for module in netlist.modules if not module.submodules and module.parent is not None]
        self.modules: list[Sequence[int]] = [module.cells for module in leaves]
        self.parents: list[int] = [module.parent for module in leaves]
        top = netlist.top
        self.inputs = {k: v for k, v in top.ports_i.items() if k not in ("clk", "rst")}
        self.outputs = {name: tuple(value) for name, value in top.ports_o.items()}
        self._clock = top.ports_i["clk"][0] if "clk" in top.ports_i else None
        self._reset = top.ports_i["rst"][0] if "rst" in top.ports_i else None
        self._alias: dict[int, Bits | None] = {}
        self._const: dict[int, int | None] = {}
        self._same: dict[int, int] = {}
        self._merge()

    def net(self, net: int) -> int:
        """Follow a net through cells that only pass a value on; reset is a constant 0."""
        while net > 1:
            index, bit = net >> 16, net & 0xFFFF
            if index == 0:
                return 0 if bit == self._reset else net
            value = self._constant(index, bit)
            if value is not None:
                return value
            alias = self._aliased(index)
            if alias is None:
                same = self._same.get(index)
                if same is None:
                    return net
                net = same << 16 | bit
            else:
                net = alias[bit]
        return net

    def resolve(self, nets: Sequence[int]) -> Bits:
        """Follow every net of an operand."""
        return tuple(self.net(net) for net in nets)

    def _constant(self, index: int, bit: int) -> int | None:
        """Return the value of a decision bit that is known before simulation, else None."""
        cell = self.cells[index]
        if not isinstance(cell, adapter.Matches | adapter.PriorityMatch):
            return None
        key = index << 16 | bit
        if key not in self._const:
            self._const[key] = self._decide(cell, bit)
        return self._const[key]

    def _decide(self, cell: Any, bit: int) -> int | None:
        if isinstance(cell, adapter.Matches):
            value = self.resolve(cell.value)
            if any(n > 1 for n in value):
                return None
            text = "".join(str(n) for n in reversed(value))
            return int(any(all(p in ("-", t) for p, t in zip(p_, text, strict=True)) for p_ in cell.patterns))
        enable, wanted = self.net(cell.en), self.net(cell.inputs[bit])
        earlier = self.resolve(cell.inputs[:bit])
        if enable == 0 or wanted == 0 or 1 in earlier:
            return 0
        return 1 if enable == wanted == 1 and not any(earlier) else None

    def _aliased(self, index: int) -> Bits | None:
        if index not in self._alias:
            cell, result = self.cells[index], None
            if isinstance(cell, adapter.AssignmentList):
                result = self._assigned(cell)
            elif isinstance(cell, adapter.Operator) and cell.operator in ("<<", "u>>", "s>>", "b"):
                result = self._shifted(cell)
            elif isinstance(cell, adapter.Matches) and len(cell.patterns) == 1:
                # The condition of an If, which Amaranth writes as a pattern with one digit.
                pattern = cell.patterns[0]
                if pattern.count("-") == len(pattern) - 1 and "1" in pattern:
                    result = (int(cell.value[len(pattern) - 1 - pattern.index("1")]),)
            self._alias[index] = result
        return self._alias[index]

    def _assigned(self, cell: Any) -> Bits | None:
        nets: list[int] = list(cell.default)
        for assign in cell.assignments:
            condition = self.net(int(assign.cond))
            if condition > 1:
                return None
            if condition:
                nets[assign.start : assign.start + len(assign.value)] = assign.value
        return tuple(nets)

    def _shifted(self, cell: Any) -> Bits | None:
        value = tuple(int(net) for net in cell.inputs[0])
        if cell.operator == "b":
            return value if len(value) == 1 else None
        amounts = self.resolve(cell.inputs[1])
        if not value or any(net > 1 for net in amounts):
            return None
        size = len(value)
        amount = min(sum(net << i for i, net in enumerate(amounts)), size)
        if cell.operator == "<<":
            return (0,) * amount + value[: size - amount]
        return value[amount:] + (value[-1] if cell.operator == "s>>" else 0,) * amount

    def _merge(self) -> None:
        """Find cells of one module that compute the same; a module must not borrow from its neighbours."""
        known: dict[Any, int] = {}
        for index, cell in enumerate(self.cells):
            if isinstance(cell, adapter.Operator):
                what: Any = (cell.operator, *(self.resolve(value) for value in cell.inputs))
            elif isinstance(cell, adapter.Matches):
                what = (cell.patterns, self.resolve(cell.value))
            elif isinstance(cell, adapter.PriorityMatch):
                what = (self.net(cell.en), self.resolve(cell.inputs))
            else:
                continue
            first = known.setdefault((cell.module_idx, type(cell), what), index)
            if first != index:
                self._same[index] = first

    def runs(self, nets: Sequence[int]) -> list[Run]:
        """Group an operand's bits by where they come from."""
        resolved = self.resolve(nets)
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
        if isinstance(cell, adapter.FlipFlop):
            return len(cell.data)
        if isinstance(cell, adapter.AssignmentList):
            return len(cell.default)
        if isinstance(cell, adapter.PriorityMatch):
            return len(cell.inputs)
        return 1 if isinstance(cell, adapter.Matches) else cell.width

    def is_state(self, index: int) -> bool:
        """Whether a cell's output changes only at the clock edge."""
        return isinstance(self.cells[index], adapter.FlipFlop | adapter.SyncReadPort)

    def sink_reads(self, index: int) -> Iterator[Bits]:
        """Yield the operands that a cell needs at the clock edge."""
        cell = self.cells[index]
        if isinstance(cell, adapter.FlipFlop):
            yield tuple(cell.data)
        elif isinstance(cell, adapter.SyncReadPort):
            yield (cell.en, *cell.addr)
            for port in cell.transparent_for:
                yield from self.sink_reads(port)
        elif isinstance(cell, adapter.SyncWritePort):
            yield tuple(cell.addr)
            yield tuple(cell.data)
            yield tuple(cell.en)
        elif isinstance(cell, adapter.SyncProperty):
            yield (cell.test, cell.en)

    def check_clock(self, index: int) -> None:
        """Refuse a cell that does not run on the design's one clock.

        Raises
        ------
        EngineError
        """
        cell = self.cells[index]
        clock = self.net(cell.clk)
        bad = clock >> 16 or (clock & 0xFFFF) != self._clock or cell.clk_edge != "pos"
        if bad or (isinstance(cell, adapter.FlipFlop) and self.net(cell.arst) != 0):
            raise EngineError(
                f"the compiled engine runs designs with one clock, rising edge and synchronous reset; "
                f"the cell at {cell.src_loc} has another; use engine=amaranth"
            )
