"""Starts with the network that a flash keeps: its requests come before those of the link."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.kept import kept_key

from ..interfaces import byte_stream
from ..parts.counting import down_or_load

__all__ = ["Boot", "connect_boot"]


class Boot(wiring.Component):
    """Read the requests of `xnorcore.isa.kept` at power-up, once, and give them to the command processor.

    The link waits meanwhile, and the answers go nowhere. A damaged page ends it; ARM is the last request, so
    that a network is armed as a whole or not at all. After a RESET it does nothing any more.

    Parameters
    ----------
    config : DeviceConfig
        With a flash, as a store or beside one.

    Members
    -------
    i, o : In, Out(byte_stream)
        Requests of the link, and those that are executed.
    on : Out(1)
        It is at work: answers are not the link's.
    answered : In(1)
        The last byte of an answer is there.
    word : In(stream of 32)
        Words of the flash from the key on, one behind the other, without checksums.
    lane : Out(2), octet : In(8)
        The byte of it that is wanted.
    damaged : In(1)
        The word that comes next is of a damaged page.
    ends : Out(1)
        No more words are wanted.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self._key = kept_key(config)
        super().__init__(
            {
                "i": In(byte_stream()),
                "o": Out(byte_stream()),
                "on": Out(1),
                "answered": In(1),
                "word": In(stream.Signature(32)),
                "lane": Out(2),
                "octet": In(8),
                "damaged": In(1),
                "ends": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        o, word = self.o, self.word
        over, broken = Signal(name="over", reset_less=True), Signal(name="broken")
        # The word is a request's first one; so many follow.
        head, left, lane = Signal(name="head", init=1), Signal(8, name="left"), self.lane
        last, sends, off = Signal(name="last"), Signal(), Signal()
        m.d.comb += last.eq(lane.all() & ((left == 0) | broken))
        m.d.sync += broken.eq(broken | self.damaged)
        with m.FSM(init="KEY"):
            with m.State("KEY"):
                m.d.comb += word.ready.eq(1)
                with m.If(over):
                    m.next = "END"
                with m.Elif(word.valid):
                    m.d.sync += over.eq(1)
                    m.next = "END"
                    with m.If(word.p == self._key):
                        m.next = "READ"
            with m.State("READ"):
                m.d.sync += lane.eq(head)
                with m.If(word.valid):
                    m.d.sync += left.eq(down_or_load(~head, left, word.p[:8]))
                    m.next = "SEND"
                    with m.If(head & broken):
                        m.next = "END"
            with m.State("SEND"):
                m.d.comb += [sends.eq(1), word.ready.eq(o.ready & lane.all())]
                with m.If(o.ready):
                    m.d.sync += lane.eq(lane + 1)
                    with m.If(last):
                        m.next = "WAIT"
                    with m.Elif(lane.all()):
                        m.d.sync += head.eq(0)
                        m.next = "READ"
            with m.State("WAIT"):
                with m.If(self.answered):
                    m.d.sync += head.eq(1)
                    m.next = "READ"
                    with m.If(head | broken):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += self.ends.eq(1)
                m.next = "OFF"
            with m.State("OFF"):
                m.d.comb += off.eq(1)
        m.d.comb += [
            self.on.eq(~off),
            o.valid.eq(Mux(off, self.i.valid, sends)),
            o.p.data.eq(Mux(off, self.i.p.data, self.octet)),
            o.p.last.eq(Mux(off, self.i.p.last, last)),
            self.i.ready.eq(o.ready & off),
        ]
        return m


def connect_boot(m: Module, boot: Boot, i: Any, requests: Any, responder: Any, responses: Any) -> None:
    """Let requests that a flash keeps come first; nobody hears what is answered until a cycle later.

    Parameters
    ----------
    m : Module
    boot : Boot
    i : byte_stream
        The link's requests.
    requests, responses : StreamRegister
        In front of the command processor; behind the `responder`.
    """
    m.submodules.boot = boot
    answers, mute = responder.o, Signal(name="mute", init=1)
    connect(m, i, boot.i)
    connect(m, boot.o, requests.i)
    m.d.sync += mute.eq(boot.on)
    m.d.comb += [
        responses.i.valid.eq(answers.valid & ~mute),
        responses.i.p.eq(answers.p),
        answers.ready.eq(responses.i.ready | mute),
        boot.answered.eq(answers.valid & answers.p.last),
    ]
