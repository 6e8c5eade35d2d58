"""Records: what the command processor leaves for the responder, and the queue in between."""

from __future__ import annotations

from enum import IntEnum

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.sizes import KIND_BITS, VALUE_BITS

__all__ = ["RecordKind", "RecordLayout", "RecordMemory", "RecordQueue"]


class RecordKind(IntEnum):
    """What a record asks of the responder. Bit 1 tells words of activation memory from plain bytes."""

    BYTE = 0
    """Send the value, a byte of a response."""
    LAST = 1
    """Send the value, the last byte of a response."""
    BATCH = 2
    """Send the results of the next batch; the value is its number of images."""
    WORD = 3
    """Send the one word that the command processor points at."""


RecordLayout = data.StructLayout({"value": VALUE_BITS, "kind": KIND_BITS})


_MEMBERS = {
    "i": In(stream.Signature(RecordLayout)),
    "o": Out(stream.Signature(RecordLayout)),
    "empty": Out(1),
}
"""Of either queue."""


class RecordQueue(wiring.Component):
    """A queue whose items move on by one place whenever the next place is free.

    A place is a register without anything in front of it: on an FPGA without memory in its logic cells
    that is a fraction of what a queue with pointers takes. An item takes `depth` cycles to the other end,
    and one can enter every other cycle.

    Parameters
    ----------
    depth : int
        Places, at least 1.

    Members
    -------
    i, o : In, Out(stream of RecordLayout)
    empty : Out(1)
        No item on its way.
    """

    def __init__(self, depth: int) -> None:
        self.depth = depth
        super().__init__(_MEMBERS)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        free = Signal(self.depth, init=-1)
        item, offered = self.i.payload, self.i.valid
        m.d.comb += self.i.ready.eq(free[0])
        for place in range(self.depth):
            place_item = Signal(RecordLayout, name=f"item{place}", reset_less=True)
            leaves = free[place + 1] if place + 1 < self.depth else self.o.ready
            with m.If(free[place]):
                m.d.sync += [place_item.eq(item), free[place].eq(~offered)]
            with m.Else():
                m.d.sync += free[place].eq(leaves)
            item, offered = place_item, ~free[place]
        m.d.comb += [self.o.payload.eq(item), self.o.valid.eq(offered), self.empty.eq(free.all())]
        return m


class RecordMemory(wiring.Component):
    """A queue in a memory, for devices that have one to spare: it needs little but the two addresses.

    An item takes two cycles to the other end, and one can enter and leave every other cycle.

    Parameters
    ----------
    depth : int
        Words of the memory, a power of two, at least 4; one place fewer is used.

    Members
    -------
    i, o, empty
        As in `RecordQueue`.
    """

    def __init__(self, depth: int) -> None:
        assert depth >= 4 and depth & (depth - 1) == 0
        self.depth = depth
        super().__init__(_MEMBERS)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, o = self.i, self.o
        m.submodules.memory = memory = Memory(shape=RecordLayout, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        entering = Signal(range(self.depth))
        leaving = Signal.like(entering)
        following = Signal.like(entering)
        m.d.comb += [
            following.eq(entering + 1),
            self.empty.eq(entering == leaving),
            write.addr.eq(entering),
            write.data.eq(i.p),
            write.en.eq(i.ready),  # what is not valid is written again
            read.addr.eq(leaving),
            o.p.eq(read.data),
        ]
        # An item that leaves makes room, and one that enters is there, a cycle late: nobody is too early.
        m.d.sync += [
            i.ready.eq(~(i.valid & i.ready) & (following != leaving)),
            o.valid.eq(~(o.valid & o.ready) & ~self.empty),
        ]
        with m.If(i.valid & i.ready):
            m.d.sync += entering.eq(following)
        with m.If(o.valid & o.ready):
            m.d.sync += leaving.eq(leaving + 1)
        return m
