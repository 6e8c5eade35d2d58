"""Adds up the words of a stream as they go by, and tells of check words that they do not fit."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.pages import POLYNOMIAL

__all__ = ["StreamSum"]


class StreamSum(wiring.Component):
    """Hold the sum of `xnorcore.isa.sums`, which a check word makes 0: the next words begin with that.

    A sum that is not 0 then stays so, as what is behind it is right.

    Members
    -------
    clear : In(1)
        The next word is the first one.
    taken : In(1), word : In(32)
        It is this one,
    check : In(1)
        and a check word.
    wrong : Out(1)
        A check word was taken in the cycle before, and what comes before it, or itself, is not what it was.
    """

    def __init__(self) -> None:
        super().__init__(
            {**dict.fromkeys(("clear", "taken", "check"), In(1)), "word": In(32), "wrong": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        total, ends = Signal(32, name="total"), Signal(name="ends")
        # Each bit is one look-up table of three or four inputs: the sum is never set to anything.
        with m.If(self.taken):
            m.d.sync += total.eq((total << 1) ^ Mux(total[-1], POLYNOMIAL, 0) ^ self.word)
        m.d.sync += ends.eq(self.taken & self.check)
        with m.If(self.clear):
            m.d.sync += [total.eq(0), ends.eq(0)]
        m.d.comb += self.wrong.eq(ends & total.any())
        return m
