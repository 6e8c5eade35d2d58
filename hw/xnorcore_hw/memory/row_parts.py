"""Where the bits of a result go that is written into the kernel rows that it is part of."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.layout import DESCRIPTOR
from xnorcore.isa.packed import PARTS, parts_of

__all__ = ["FieldLayout", "RowParts"]

FieldLayout = data.StructLayout({"packed": 1, "halves": 1, "quarters": 4, "clear": 1, "skip": 1, "last": 1})
"""What is written: as of `ResultLayout`; `skip`, nothing; and that it is a result's last part."""


class RowParts(wiring.Component):
    """Go through the parts of each result (`xnorcore.isa.packed`), and through the columns of a row.

    Members
    -------
    packed, row_pairs, x_last : In
        As in `LayerLayout`.
    begin : In(1)
        The first result of a layer comes next.
    writing : In(1)
        A part is written in this cycle.
    field : Out(FieldLayout)
        Of the present part; that of a result that is not `packed` is its last one.
    back : Out(2)
        By how many words the next part lies before this one, minus one.
    """

    def __init__(self) -> None:
        across = DESCRIPTOR.fields["x_last"].width
        flags = dict.fromkeys(("packed", "row_pairs", "begin", "writing"), In(1))
        super().__init__({**flags, "x_last": In(across), "field": Out(FieldLayout), "back": Out(2)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        part, x = Signal(range(PARTS)), Signal(len(self.x_last))
        first, second, last = Signal(name="first"), Signal(name="second"), Signal(name="last")
        ends = Signal(name="ends")
        m.d.comb += [last.eq(x == self.x_last), ends.eq(~self.packed | (part == PARTS - 1))]
        with m.If(self.begin):
            m.d.sync += [part.eq(0), x.eq(0), first.eq(1), second.eq(0)]
        with m.Elif(self.writing & self.packed):
            m.d.sync += part.eq(Mux(ends, 0, part + 1))
            with m.If(ends):
                m.d.sync += [x.eq(Mux(last, 0, x + 1)), first.eq(last), second.eq(first)]
        single, pairs = (self._fields(part, words) for words in (1, 2))
        m.d.comb += [
            self.field.packed.eq(self.packed),
            self.field.halves.eq(self.row_pairs),
            self.field.quarters.eq(Mux(self.row_pairs, pairs, single)),
            # The first part in its word.
            self.field.clear.eq(
                (part == 0) | (part == 1) & (self.row_pairs | first) | (part == 2) & self.row_pairs & second
            ),
            self.field.skip.eq(self.packed & (last & (part == 0) | first & (part == PARTS - 1))),
            self.field.last.eq(ends),
            self.back.eq(Mux(self.row_pairs & (part == 1), 2, 0)),
        ]
        return m

    def _fields(self, part: Signal, words: int) -> Signal | Const:
        """Return the quarters that a part fills, in kernel rows of so many words."""
        found = Const(0, 4)
        for number, one in enumerate(parts_of(words)):
            quarters = 1 << one.field if words == 1 else 3 << 2 * one.field
            found = found | Mux(part == number, quarters, 0)
        return found
