"""Words that wait on the chip between a store and the rings, in memory of one port."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..interfaces import bits_for_depth
from ..parts.counting import load_or_up
from .single.generic import Access, single_of

__all__ = ["WordQueue"]


class WordQueue(wiring.Component):
    """First in, first out. A word takes three cycles to be written, and another one to be read.

    A word is at `o` for one cycle, and has to be taken then: memory of one port does not keep it. So it is
    read only for who is ready, and whoever takes words has to stay so until then. That a word was taken is
    known to it two cycles later; so long no other one is read.

    Parameters
    ----------
    depth : int
        Words, a power of two.

    Members
    -------
    clear : In(1)
        Forget all words.
    i : In(stream of 32)
    o : Out(stream of 32)
    """

    def __init__(self, depth: int) -> None:
        assert depth & (depth - 1) == 0, "addresses wrap"
        self._depth = depth
        super().__init__({"clear": In(1), "i": In(stream.Signature(32)), "o": Out(stream.Signature(32))})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, o, bits = self.i, self.o, bits_for_depth(self._depth)
        # The memory's address, and the other end of the queue: they change places for a write, which takes
        # less logic than a choice between two counters.
        here, other, turned = Signal(bits, name="here"), Signal(bits, name="other"), Signal(name="turned")
        # Where both are the same, it is full if the last that happened was a write. That they are is known a
        # cycle late: until then nothing is asked that depends on it.
        grew, same, wrote = Signal(name="grew"), Signal(name="same", init=1), Signal(name="wrote")
        writes, reads, turns = Signal(), Signal(), Signal()
        read, gone, asked = Signal(name="read"), Signal(name="gone"), Signal(name="asked")
        # Who takes words says late in a cycle whether it is ready: a write begins without a look at it, where
        # no word can be read, or was not wanted in the cycle before.
        empty, turn = same & ~grew, Signal()
        m.d.comb += [
            turn.eq(i.valid & ~(same & grew) & (read | gone | empty | ~asked)),
            turns.eq(Mux(turned, wrote, turn)),
            i.ready.eq(turned & ~wrote),
            writes.eq(i.valid & i.ready),
            reads.eq(o.ready & ~(turned | turn | read | gone | empty)),
            o.valid.eq(read & ~self.clear),
            o.p.eq(single_of(platform).add(m, Access(here, writes, writes, i.p), self._depth)),
        ]
        m.d.sync += [read.eq(reads), gone.eq(read), asked.eq(o.ready), same.eq(here == other)]
        with m.If(turns | writes | reads):
            m.d.sync += here.eq(load_or_up(turns, other, here))
        with m.If(turns):
            m.d.sync += [other.eq(here), turned.eq(~turned), wrote.eq(0)]
        with m.If(writes):
            m.d.sync += [grew.eq(1), wrote.eq(1)]
        with m.If(reads):
            m.d.sync += grew.eq(0)
        with m.If(self.clear):
            registers = here, other, turned, wrote, grew, read, same
            m.d.sync += [register.eq(register.init) for register in registers]
        return m
