"""Images as they come, to INFER requests that the core takes as fast as it can."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Command
from xnorcore.link.pieces import END

from ...interfaces import byte_stream
from .inquiry import FactsLayout

__all__ = ["ImageFeeder", "in_flight"]

_BATCHES = 64
"""Most in one request: what its status says comes no later than that."""


def in_flight(config: DeviceConfig) -> range:
    """Return how many images may have gone into the core and not been answered.

    There are two regions for images and two for results, each with a batch, and four registers on the way,
    each with an image of one byte or the result of one.
    """
    return range(4 * config.geometry.rows + 5)


class ImageFeeder(wiring.Component):
    """Makes one request of images that follow each other, and ends it when none follows.

    The last byte of an image waits until it is known whether that ends the request. It does if the next
    image is not there, and either the batch is full, or nothing else is in the core: an image never waits
    for others while the array has nothing to do, and shares its batch with those that come while it does.

    An image of the wrong length is cut, or filled up with zeros; it is the last of its request, and nothing
    follows until it has been answered, so that `spoiled` is enough to tell which it was.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    images : In(byte_stream)
        An image per packet.
    o : Out(byte_stream)
        Requests.
    facts : In(FactsLayout)
        Of the armed program; stays as it is from `start` to `rest`.
    start : In(1)
        Begin a request; while at `rest`, and a byte of an image is there.
    hurry : In(1)
        End the request after this image.
    rest : Out(1)
        Ready for `start`.
    open : Out(1)
        The request's last byte has not been taken.
    flying : Out
        Images that are not answered.
    spoiled : Out(1)
        The last one of these had the wrong length.
    answered : In(1)
        One of them is answered.
    """

    images: stream.Interface
    o: stream.Interface
    facts: data.View
    start: Signal
    hurry: Signal
    rest: Signal
    open: Signal
    flying: Signal
    spoiled: Signal
    answered: Signal

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "images": In(byte_stream()),
                "o": Out(byte_stream()),
                "facts": In(FactsLayout(config)),
                "start": In(1),
                "hurry": In(1),
                "rest": Out(1),
                "open": Out(1),
                "flying": Out(in_flight(config)),
                "spoiled": Out(1),
                "answered": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        images, o, facts = self.images, self.o, self.facts
        head = Cat(Const(Command.INFER, 8), Const(0, 16), Const(END, 8), facts.key)
        place = Signal(range(len(head) // 8))
        number = Signal(len(facts.image_bytes), init=1)  # byte of the image, counted from one
        final, bad, held, closing = Signal(), Signal(), Signal(8), Signal()
        sent = Signal()  # an image
        alone, full, enough = self._batches(m, sent, closing)
        m.d.comb += final.eq(number == facts.image_bytes)

        with m.FSM():
            with m.State("REST"):
                m.d.comb += self.rest.eq(1)
                with m.If(self.start):
                    m.d.sync += self.open.eq(1)
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += [o.valid.eq(1), o.payload.data.eq(head.word_select(place, 8))]
                with m.If(o.ready):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place.all()):
                        m.next = "IMAGE"
            with m.State("IMAGE"):
                m.d.comb += [
                    o.valid.eq(images.valid & ~final),
                    o.payload.data.eq(images.payload.data),
                    images.ready.eq(o.ready | final),
                ]
                with m.If(images.valid & images.ready):
                    m.d.sync += [number.eq(number + 1), held.eq(images.payload.data)]
                    with m.If(final):
                        m.next = "DECIDE"
                        with m.If(~images.payload.last):
                            m.next = "SKIP"
                    with m.Elif(images.payload.last):
                        m.next = "FILL"
            with m.State("SKIP"):
                m.d.sync += bad.eq(1)
                m.d.comb += images.ready.eq(1)
                with m.If(images.valid & images.payload.last):
                    m.next = "DECIDE"
            with m.State("FILL"):
                m.d.sync += [bad.eq(1), held.eq(0)]
                m.d.comb += o.valid.eq(~final)
                with m.If(final):
                    m.next = "DECIDE"
                with m.Elif(o.ready):
                    m.d.sync += number.eq(number + 1)
            with m.State("DECIDE"):
                with m.If(images.valid & ~bad & ~self.hurry & ~enough):
                    m.d.sync += closing.eq(0)
                    m.next = "SEND"
                with m.Elif(full | alone | bad | self.hurry):
                    m.d.sync += closing.eq(1)
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [o.valid.eq(1), o.payload.data.eq(held), o.payload.last.eq(closing)]
                with m.If(o.ready):
                    m.d.comb += sent.eq(1)
                    m.d.sync += [number.eq(1), bad.eq(0), self.spoiled.eq(bad), self.open.eq(~closing)]
                    m.next = "IMAGE"
                    with m.If(closing):
                        m.next = "SETTLE"
            with m.State("SETTLE"):
                with m.If(~self.spoiled | (self.flying == 0)):
                    m.d.sync += self.spoiled.eq(0)
                    m.next = "REST"
        return m

    def _batches(self, m: Module, sent: Signal, closing: Signal) -> tuple[Value, Value, Value]:
        """Count images; return whether the one at hand is the only one, fills its batch, and the request."""
        rows = self.config.geometry.rows
        filled = Signal(range(rows))  # rows of the batch, without the one at hand
        batches = Signal(range(_BATCHES))  # a request ends at the last of so many at the latest
        full = self.facts.spread | (filled == rows - 1)
        with m.If(sent):
            m.d.sync += filled.eq(filled + 1)
            with m.If(full | closing):
                m.d.sync += [filled.eq(0), batches.eq(batches + 1)]
        m.d.sync += self.flying.eq(self.flying + sent - self.answered)
        return self.flying == filled, full, full & batches.all()
