"""Responses to INFER, to a packet of scores for each image."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import HEADER_BYTES, Status

from ...interfaces import byte_stream
from .feeder import in_flight
from .inquiry import FactsLayout

__all__ = ["ScoreReader", "score_stream"]


def score_stream() -> stream.Signature:
    """Return the signature of a stream of result bytes.

    `last` marks the last byte of an image's. With it, `error`: the bytes before mean nothing, and this one
    is the status (`xnorcore.isa.protocol.Status`) that says why.
    """
    return stream.Signature(data.StructLayout({"data": 8, "last": 1, "error": 1}))


class ScoreReader(wiring.Component):
    """Takes responses apart, and answers every image once, in order.

    The last byte of an image waits for the status if it comes next: if nothing else is in the core. Where a
    status is not OK, all that has not been answered by then is an error.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    i : In(byte_stream)
        Responses to the requests that `begun` counts, in order.
    scores : Out(score_stream)
    facts : In(FactsLayout)
        Of the program that these requests were for.
    begun : In(1)
        A request begins.
    open : In(1)
        The request that was begun last goes on.
    flying : In
        Images in the core.
    spoiled : In(1)
        The last one of these had the wrong length.
    answered : Out(1)
        An image's last byte is taken.
    idle : Out(1)
        All requests and all images are answered.
    failure : Out(8)
        Status of the first response that was not OK; 0, none. BAD_PROGRAM, if results are
        missing, or too many.
    forgive : In(1)
        Set it to 0; while `idle`.
    """

    i: stream.Interface
    scores: stream.Interface
    facts: data.View
    begun: Signal
    open: Signal
    flying: Signal
    spoiled: Signal
    answered: Signal
    idle: Signal
    failure: Signal
    forgive: Signal

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "i": In(byte_stream()),
                "scores": Out(score_stream()),
                "facts": In(FactsLayout(config)),
                "begun": In(1),
                "open": In(1),
                "flying": In(in_flight(config)),
                "spoiled": In(1),
                "answered": Out(1),
                "idle": Out(1),
                "failure": Out(8),
                "forgive": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, scores = self.i, self.scores
        came, last = i.payload.data, i.payload.last
        pending = Signal(3)  # responses; the core holds no more than four requests
        ended, count = Signal(), Signal(range(HEADER_BYTES))
        held, wrong, between = Signal(8), Signal(), Signal(init=1)
        step, again, blame = Signal(), Signal(), Signal(8)
        final = self._place(m, step, again)
        m.d.sync += pending.eq(pending + self.begun - ended)
        m.d.comb += self.idle.eq((pending == 0) & (self.flying == 0))

        def answer(value: object, error: object) -> None:
            m.d.comb += again.eq(1)
            m.d.sync += [held.eq(value), wrong.eq(error)]
            m.next = "ANSWER"

        with m.If(self.forgive | (self.failure == Status.OK)):
            m.d.sync += self.failure.eq(blame)
        with m.FSM():
            with m.State("HEAD"):
                m.d.comb += i.ready.eq(pending != 0)
                with m.If(pending == 0):
                    # Nothing more will come for these.
                    with m.If(self.flying != 0):
                        m.d.comb += blame.eq(Status.BAD_PROGRAM)
                        with m.If(self.failure != Status.OK):
                            answer(self.failure, 1)
                with m.Elif(i.valid):
                    m.d.sync += [count.eq(count + 1), between.eq(0)]
                    with m.If(count == HEADER_BYTES - 1):
                        m.d.sync += count.eq(0)
                        m.next = "RESULT"
            with m.State("RESULT"):
                spoil = self.spoiled & (self.flying == 1)
                with m.If(i.valid & last):
                    m.d.comb += [i.ready.eq(1), ended.eq(1), blame.eq(came)]
                    m.d.sync += between.eq(1)
                    m.next = "HEAD"
                with m.Elif(self.failure != Status.OK):
                    m.d.comb += i.ready.eq(1)
                with m.Elif(self.flying != 0):
                    m.d.comb += [
                        scores.valid.eq(i.valid & ~final & ~spoil),
                        scores.payload.data.eq(came),
                        i.ready.eq(scores.ready | final | spoil),
                    ]
                    with m.If(i.valid & i.ready):
                        m.d.comb += step.eq(1)
                        with m.If(final & spoil):
                            answer(Status.BAD_LENGTH, 1)
                        with m.Elif(final):
                            answer(came, 0)
                            m.next = "TAIL"
                with m.Elif(i.valid & ~self.open):
                    m.d.comb += blame.eq(Status.BAD_PROGRAM)
            with m.State("TAIL"):
                m.next = "ANSWER"
                with m.If((self.flying == 1) & (pending == 1) & ~self.open):
                    m.next = "STATUS"
            with m.State("STATUS"), m.If(i.valid):
                m.d.comb += [i.ready.eq(1), ended.eq(last), blame.eq(Mux(last, came, Status.BAD_PROGRAM))]
                m.d.sync += between.eq(last)
                with m.If(blame != Status.OK):
                    answer(blame, 1)
                m.next = "STATUS"
                with m.If(last):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [scores.valid.eq(1), scores.payload.eq(Cat(held, Const(1, 1), wrong))]
                with m.If(scores.ready):
                    m.d.comb += self.answered.eq(1)
                    m.next = "RESULT"
                    with m.If(between):
                        m.next = "HEAD"
        return m

    def _place(self, m: Module, step: Signal, again: Signal) -> Value:
        """Count bytes of an image's results; return whether the one at hand is the last."""
        facts = self.facts
        byte, word = Signal.like(facts.out_bytes), Signal.like(facts.out_words)
        next_byte, next_word = Signal.like(byte), Signal.like(word)
        ends = Signal()
        m.d.comb += [next_byte.eq(byte + 1), next_word.eq(word + 1), ends.eq(next_byte == facts.out_bytes)]
        with m.If(again):
            m.d.sync += [byte.eq(0), word.eq(0)]
        with m.Elif(step & ends):
            m.d.sync += [byte.eq(0), word.eq(next_word)]
        with m.Elif(step):
            m.d.sync += byte.eq(next_byte)
        return ends & (next_word == facts.out_words)
