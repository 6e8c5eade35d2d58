"""Whose turn it is: batches one after the other, or a program that runs by itself."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .causes import CauseLayout

__all__ = ["Turns"]


class Turns(wiring.Component):
    """Start programs, and let fetch and issue take turns until their last layer.

    Members
    -------
    batch, loaded : In(2)
        As at the `Sequencer`.
    run : In(1)
        A program runs by itself.
    unwritten : In(1)
        Of some layer, not all results are written.
    fetched : In(1)
        A descriptor's last word is taken in this cycle.
    issued : In(1)
        A layer's last beat is issued in this cycle.
    end : In(1)
        It is the program's last layer.
    beat : In(1)
        There is a beat.
    parity, start, start_parity, finish, idle : Out(1)
        As at the `Sequencer`.
    rest : Out(1)
        Nothing runs.
    fetch : Out(1)
        It is the fetch's turn.
    in_batch : Out(1)
        What runs is a batch.
    causes : Out(CauseLayout)
        Of cycles without a beat, but for those that fetch and issue account for.
    """

    CAUSES = ("fetch", "wait_output", "tail", "wait_input")

    def __init__(self) -> None:
        inputs = ("run", "unwritten", "fetched", "issued", "end", "beat")
        outputs = ("parity", "start", "start_parity", "finish", "idle", "rest", "fetch", "in_batch")
        super().__init__(
            {
                "batch": In(2),
                "loaded": In(2),
                **dict.fromkeys(inputs, In(1)),
                **dict.fromkeys(outputs, Out(1)),
                "causes": Out(CauseLayout(*self.CAUSES)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        causes = self.causes
        next_ready, waiting = Signal(), Signal()  # a batch, for a cycle at least
        m.d.sync += next_ready.eq(self.batch.bit_select(~self.parity, 1))
        m.d.comb += self.start_parity.eq(self.parity ^ self.finish)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.idle.eq(~self.unwritten & ~self.batch.any()), self.rest.eq(1)]
                with m.If(self.run):
                    m.d.sync += self.in_batch.eq(0)
                    m.next = "START"
                # Not after an Elif: no batch is there when something runs by itself, which is decided late.
                m.d.sync += waiting.eq(self.batch.bit_select(self.parity, 1))
                with m.If(waiting):
                    m.d.comb += [self.start.eq(1), causes.fetch.eq(1)]
                    m.d.sync += [waiting.eq(0), self.in_batch.eq(1)]
                    m.next = "FETCH"
                with m.Elif((self.loaded & ~self.batch).bit_select(self.parity, 1)):
                    m.d.comb += causes.wait_output.eq(1)
                with m.Elif(self.unwritten):
                    m.d.comb += causes.tail.eq(1)
                with m.Else():
                    m.d.comb += causes.wait_input.eq(1)
            with m.State("START"):
                m.d.comb += causes.fetch.eq(1)
                m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += self.fetch.eq(1)
                with m.If(self.fetched):
                    m.next = "ISSUE"
            with m.State("ISSUE"):
                m.d.comb += causes.fetch.eq(~self.beat)
                with m.If(self.issued):
                    with m.If(~self.end):
                        m.next = "FETCH"
                    with m.Elif(self.in_batch):
                        m.d.comb += self.finish.eq(1)
                        m.d.sync += self.parity.eq(~self.parity)
                        with m.If(next_ready):
                            m.d.comb += self.start.eq(1)
                            m.next = "FETCH"
                        with m.Else():
                            m.next = "IDLE"
                    with m.Else():
                        m.next = "IDLE"
        return m
