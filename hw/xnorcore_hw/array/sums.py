"""The sum of what a row reads, which its columns add: signs are odd, and weights with a zero are not."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..parts.delay import delayed
from .carry.generic import carry_of
from .pe import ProcessingElement

__all__ = ["RowSums"]


class RowSums(wiring.Component):
    """One more element in every row of a column group, whose weights are all -1.

    Its sum goes to the columns in place of a start value, in a beat in which the other rows do nothing.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    x : In(rows * width)
        As the elements beside it have it.
    shared : In(1)
        The sums take the word. As early as an element's `valid`, as are
    adds : In(rows)
        one-hot, the row whose sum the columns add in this beat.
    double, clear : In(1)
        As at the elements.
    adding : Out(1)
    value : Out(acc_width)
        The columns have `value` in place of their start values.
    hold : Out(rows)
        As at a row's elements.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.config = config
        super().__init__(
            {
                "x": In(g.rows * g.width),
                "shared": In(1),
                "adds": In(g.rows),
                "double": In(1),
                "clear": In(1),
                "adding": Out(1),
                "value": Out(config.acc_width),
                "hold": Out(g.rows),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g, size = self.config.geometry, self.config.acc_width
        minus = (1 << g.width) - 1 if carry_of(platform).inverted else 0
        m.d.comb += self.adding.eq(self.adds.any())
        value: Value = Const(0, size)
        for row in range(g.rows):
            pe = ProcessingElement(g.width, size, sums=True)
            m.submodules[f"pe{row}"] = pe
            m.d.comb += [
                pe.x.eq(self.x.word_select(row, g.width)),
                pe.w.eq(minus),
                pe.valid.eq(self.shared),
                pe.double.eq(self.double),
                pe.clear.eq(self.clear),
            ]
            value = value | Mux(self.adds[row], pe.sum, 0)
            m.d.comb += self.hold[row].eq(delayed(m, self.adding & ~self.adds[row], 1, f"hold{row}"))
        m.d.comb += self.value.eq(value)
        return m
