"""A stream through two registers: neither side's logic reaches the other in one cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ElasticBuffer"]


class ElasticBuffer(wiring.Component):
    """Pass a stream on, one cycle later, at one transfer a cycle.

    Parameters
    ----------
    signature : stream.Signature

    Members
    -------
    i, o : In, Out(signature)
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, signature: stream.Signature) -> None:
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform: object) -> Module:
        """Build the buffer."""
        m = Module()
        size = len(self.i.p.as_value())
        # `second` waits when the output was not taken; then nothing more is accepted.
        first, second = (Signal(size, name=name, reset_less=True) for name in ("first", "second"))
        full, waits = Signal(), Signal()
        m.d.comb += [self.i.ready.eq(~waits), self.o.valid.eq(full), self.o.p.eq(first)]
        with m.If(~waits):
            m.d.sync += second.eq(self.i.p)
        with m.If(self.o.ready | ~full):
            m.d.sync += [first.eq(Mux(waits, second, self.i.p)), full.eq(waits | self.i.valid), waits.eq(0)]
        with m.Elif(self.i.valid):
            m.d.sync += waits.eq(1)
        return m
