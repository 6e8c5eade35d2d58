"""The stream shell: what puts the core into a system of one's own."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import HEADER_BYTES, Status

from ...core import Core
from ...interfaces import byte_stream
from ...parts.stream_register import StreamRegister
from .feeder import ImageFeeder
from .inquiry import Inquiry
from .scores import ScoreReader, score_stream

__all__ = ["StreamShell", "score_stream"]


class StreamShell(wiring.Component):
    """Images in, scores out. Manual: docs/soc.md.

    Every image gets one packet of scores, in order. Both sides may pause at any time. Requests, for whoever
    loads networks or looks at the device, go between images and before those that wait.

    Parameters
    ----------
    config : DeviceConfig
    clock_hz : int
        Reported by INFO; 0 if unknown.
    bake : Program or None
        As in `Core`. With it, neither requests nor responses are needed.

    Members
    -------
    images : In(byte_stream)
        A packet per image, packed as on the wire (`xnorcore.model.bits.pack_images`). They wait while no
        program is armed.
    scores : Out(score_stream)
        A packet per image: what INFER answers for it, or a status instead.
    requests, responses : In, Out(byte_stream)
        Bodies of docs/protocol.md without CRC: one response for each request. One without a whole tag is
        filled up with zeros.
    status : Out(8)
        Why images wait, a `xnorcore.isa.protocol.Status`, or 0. NOT_ARMED is known when one waits; what the
        core answers INFER with, other than OK, stays until the next request.
    """

    images: stream.Interface
    scores: stream.Interface
    requests: stream.Interface
    responses: stream.Interface
    status: Signal

    def __init__(self, config: DeviceConfig, clock_hz: int = 0, bake: Program | None = None) -> None:
        self.config, self.clock_hz, self.bake = config, clock_hz, bake
        super().__init__(
            {
                "images": In(byte_stream()),
                "scores": Out(score_stream()),
                "requests": In(byte_stream()),
                "responses": Out(byte_stream()),
                "status": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.core = core = Core(self.config, self.clock_hz, self.bake)
        m.submodules.inquiry = inquiry = Inquiry(self.config)
        m.submodules.feeder = feeder = ImageFeeder(self.config)
        m.submodules.reader = reader = ScoreReader(self.config)
        connect(m, flipped(self.images), feeder.images)
        connect(m, reader.scores, flipped(self.scores))
        known = Signal()  # no request has come since the inquiry
        m.d.comb += [
            feeder.facts.eq(inquiry.facts),
            feeder.hurry.eq(self.requests.valid | (reader.failure != Status.OK)),
            feeder.answered.eq(reader.answered),
            reader.facts.eq(inquiry.facts),
            reader.begun.eq(feeder.start),
            reader.open.eq(feeder.open),
            reader.flying.eq(feeder.flying),
            reader.spoiled.eq(feeder.spoiled),
            self.status.eq(
                Mux(reader.failure != Status.OK, reader.failure, Mux(known, inquiry.status, Status.OK))
            ),
        ]
        # With the core's own register, they hold type and tag, which come before the core takes the rest of
        # a request: a host need not listen before it has said all.
        m.submodules.first = first = StreamRegister(byte_stream())
        m.submodules.second = second = StreamRegister(byte_stream())
        connect(m, first.o, second.i)
        connect(m, second.o, flipped(self.responses))
        requests, responses = self.requests, first.i
        i, o = core.i, core.o
        place, headed = Signal(range(HEADER_BYTES)), Signal()  # byte of a request, up to the end of its tag
        m.d.comb += headed.eq(place == HEADER_BYTES - 1)
        with m.FSM():
            with m.State("IMAGES"):
                _pass(m, feeder.o, i)
                _pass(m, o, reader.i)
                with m.If(feeder.rest):
                    with m.If(requests.valid):
                        with m.If(reader.idle):
                            m.d.comb += reader.forgive.eq(1)
                            m.d.sync += [known.eq(0), place.eq(0)]
                            m.next = "REQUEST"
                    with m.Elif(self.images.valid & ~known):
                        with m.If(reader.idle):
                            m.d.comb += inquiry.start.eq(1)
                            m.next = "INQUIRY"
                    with m.Elif(self.images.valid & (self.status == Status.OK)):
                        m.d.comb += feeder.start.eq(1)
            with m.State("INQUIRY"):
                _pass(m, inquiry.o, i)
                _pass(m, o, inquiry.i)
                with m.If(inquiry.done):
                    m.d.sync += known.eq(1)
                    m.next = "IMAGES"
            with m.State("REQUEST"):
                _pass(m, requests, i)
                _pass(m, o, responses)
                m.d.comb += i.payload.last.eq(requests.payload.last & headed)
                with m.If(i.valid & i.ready):
                    m.d.sync += place.eq(place + ~headed)
                    with m.If(requests.payload.last):
                        m.next = "FILL"
                        with m.If(headed):
                            m.next = "RESPONSE"
            with m.State("FILL"):
                # Of a request without a whole tag the core would never see the end.
                m.d.comb += [i.valid.eq(1), i.payload.last.eq(headed)]
                with m.If(i.ready):
                    m.d.sync += place.eq(place + ~headed)
                    with m.If(headed):
                        m.next = "RESPONSE"
            with m.State("RESPONSE"):
                _pass(m, o, responses)
                with m.If(o.valid & o.ready & o.payload.last):
                    m.next = "IMAGES"
        return m


def _pass(m: Module, source: stream.Interface, target: stream.Interface) -> None:
    m.d.comb += [
        target.valid.eq(source.valid),
        target.payload.eq(source.payload),
        source.ready.eq(target.ready),
    ]
