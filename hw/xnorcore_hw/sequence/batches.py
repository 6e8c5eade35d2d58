"""Which batches are loaded, running, and being sent."""

from __future__ import annotations

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Batches"]


class Batches(wiring.Component):
    """Follow the two batches in flight, one of each parity, from loader to sequencer to responder.

    All but `accepted` counts a cycle late, which is before anyone asks again.

    Members
    -------
    accepted : In(1)
        A batch of parity `accepted_parity` is complete, with `size` images.
    accepted_parity : In(1)
    size : In(4)
    start, start_parity : In(1)
        A batch starts, and which.
    finish, finish_parity : In(1)
        The inputs of a batch may be replaced, and of which.
    complete : In(1)
        All results of the oldest batch are written.
    release, release_parity : In(1)
        The results of a batch have been sent, and of which.
    loaded : Out(2)
        Per parity: inputs are complete, and not free again.
    runnable : Out(2)
        Per parity: inputs are complete, and the region of results is free.
    ready : Out(2)
        Per parity: all results are written, and not sent.
    images : Out(4)
        Of the batch that starts.
    idle : Out(1)
        There is no batch.
    """

    def __init__(self) -> None:
        names = ("accepted", "accepted_parity", "start", "start_parity", "finish", "finish_parity")
        names += ("complete", "release", "release_parity")
        states = {"loaded": Out(2), "runnable": Out(2), "ready": Out(2)}
        counts = {"size": In(4), "images": Out(4)}
        super().__init__({**dict.fromkeys(names, In(1)), **states, **counts, "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        loaded, ready, busy = self.loaded, self.ready, Signal(2)
        sizes = [Signal(4, name=f"size{parity}") for parity in range(2)]
        started, finished, released, completed = Signal(2), Signal(2), Signal(2), Signal()
        done_parity = Signal()
        m.d.comb += [
            self.runnable.eq(loaded & ~busy),
            self.idle.eq(~loaded.any() & ~busy.any()),
        ]
        m.d.sync += completed.eq(self.complete)
        for parity in range(2):
            m.d.sync += [
                started[parity].eq(self.start & (self.start_parity == parity)),
                finished[parity].eq(self.finish & (self.finish_parity == parity)),
                released[parity].eq(self.release & (self.release_parity == parity)),
            ]
            with m.If(self.start_parity == parity):
                m.d.comb += self.images.eq(sizes[parity])
            with m.If(self.accepted & (self.accepted_parity == parity)):
                m.d.sync += [loaded[parity].eq(1), sizes[parity].eq(self.size)]
            with m.Elif(finished[parity]):
                m.d.sync += loaded[parity].eq(0)
            with m.If(started[parity]):
                m.d.sync += busy[parity].eq(1)
            with m.Elif(released[parity]):
                m.d.sync += [busy[parity].eq(0), ready[parity].eq(0)]
            with m.If(completed & (done_parity == parity)):
                m.d.sync += [ready[parity].eq(1), done_parity.eq(~done_parity)]
        return m
