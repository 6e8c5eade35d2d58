"""Starts with the network that a store in flash keeps: its requests come before those of the link."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.kept import kept_key, script_bits
from xnorcore.isa.pages import PAGE_WORDS

from ..interfaces import byte_stream

__all__ = ["Boot"]


class Boot(wiring.Component):
    """Read the requests of `xnorcore.isa.kept` at power-up, once, and give them to the command processor.

    The link waits meanwhile, and the answers go nowhere. A damaged page ends it; ARM is the last request, so
    that a network is armed as a whole or not at all. After a RESET it does nothing any more.

    Parameters
    ----------
    config : DeviceConfig
        With a store in flash.

    Members
    -------
    i, o : In, Out(byte_stream)
        Requests of the link, and those that are executed.
    on : Out(1)
        It is at work: answers are not the link's.
    answered : In(1)
        The last byte of an answer is there.
    valid : Out(1), addr : Out, data : In(32), ready : In(1)
        As of `StoreAccess`.
    damaged : In(1)
        The word that is asked for is of a damaged page.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self._key = kept_key(config)
        super().__init__(
            {
                "i": In(byte_stream()),
                "o": Out(byte_stream()),
                "on": Out(1),
                "answered": In(1),
                "valid": Out(1),
                "addr": Out(script_bits(config), init=1),
                "data": In(32),
                "ready": In(1),
                "damaged": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        o, addr, data = self.o, self.addr, self.data
        over, broken = Signal(name="over", reset_less=True), Signal(name="broken")
        # The word is a request's first one; so many follow.
        head, left, lane = Signal(name="head", init=1), Signal(8, name="left"), Signal(2, name="lane")
        last, sends, off = Signal(name="last"), Signal(), Signal()
        m.d.comb += last.eq(lane.all() & ((left == 0) | broken))
        m.d.sync += broken.eq(broken | self.damaged)
        with m.FSM(init="KEY"):
            with m.State("KEY"):
                m.d.comb += self.valid.eq(~over)
                with m.If(over):
                    m.next = "OFF"
                with m.Elif(self.ready):
                    m.d.sync += over.eq(1)
                    m.next = "OFF"
                    with m.If(data == self._key):
                        m.next = "NEXT"
            with m.State("NEXT"):
                m.d.sync += addr.eq(addr + 1)
                # Last words of pages are checksums.
                with m.If(addr[:6] != PAGE_WORDS - 2):
                    m.next = "READ"
            with m.State("READ"):
                m.d.comb += self.valid.eq(1)
                m.d.sync += lane.eq(head)
                with m.If(self.ready):
                    m.d.sync += left.eq(Mux(head, data[:8], left - 1))
                    m.next = "SEND"
                    with m.If(head & broken):
                        m.next = "OFF"
            with m.State("SEND"):
                m.d.comb += [self.valid.eq(1), sends.eq(1)]
                with m.If(o.ready):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(last):
                        m.next = "WAIT"
                    with m.Elif(lane.all()):
                        m.d.sync += head.eq(0)
                        m.next = "NEXT"
            with m.State("WAIT"):
                with m.If(self.answered):
                    m.d.sync += head.eq(1)
                    m.next = "NEXT"
                    with m.If(head | broken):
                        m.next = "OFF"
            with m.State("OFF"):
                m.d.comb += off.eq(1)
        m.d.comb += [
            self.on.eq(~off),
            o.valid.eq(Mux(off, self.i.valid, sends)),
            o.p.data.eq(Mux(off, self.i.p.data, data.word_select(lane, 8))),
            o.p.last.eq(Mux(off, self.i.p.last, last)),
            self.i.ready.eq(o.ready & off),
        ]
        return m
