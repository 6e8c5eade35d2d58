"""A stream through a register: neither side's logic reaches the other in one cycle."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["StreamRegister"]


class StreamRegister(wiring.Component):
    """Pass a stream on, one cycle later, at a transfer every other cycle.

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
        """Build the register."""
        m = Module()
        full = Signal()
        payload = Signal(self.i.p.shape(), reset_less=True)
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(full), self.o.p.eq(payload)]
        with m.If(~full):
            m.d.sync += [payload.eq(self.i.p), full.eq(self.i.valid)]
        with m.Elif(self.o.ready):
            m.d.sync += full.eq(0)
        return m
