"""WRITE: the bytes of a request on their way into a memory."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space, Status

from ..interfaces import byte_stream
from ..memory.ports import PlaceLayout, writes
from ..memory.stores.port import StoreWriteLayout, space_bits, stores_of

__all__ = ["ByteWriter"]


class ByteWriter(wiring.Component):
    """Write the rest of a packet, word after word, while their places are ones of the memory.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    active : In(1)
        A request waits here behind its arguments; until `refuse` or `done`.
    i : In(byte_stream)
        The rest of the packet.
    ended : In(1)
        The packet's last byte has been taken.
    space : In(2)
    place : In(PlaceLayout)
        Where the next byte goes,
    count : In
        into which byte of the word.
    lane_last : In
        The word's last byte.
    inside : In(1)
        That place is one of the memory.
    step, next : Out(1)
        To the next byte; to that of the next word.
    write : Out(stream of WriteLayout)
    store, kept : Out(stream of StoreWriteLayout)
        For the store, and the flash beside it, on a device that has them.
    changed : Out(1)
        A byte is written that belongs to a program.
    status, status_valid : Out
        With which the request is refused, from now on.
    refuse, done : Out(1)
        The request is at its end. One that is refused may have bytes left.
    """

    def __init__(self, config: DeviceConfig) -> None:
        lanes = range(max(config.geometry.width // 8, 8))
        inputs, outputs = ("active", "ended", "inside"), ("step", "next", "changed", "status_valid")
        self.config = config
        super().__init__(
            {
                **dict.fromkeys(inputs, In(1)),
                "i": In(byte_stream()),
                "space": In(space_bits(config)),
                "place": In(PlaceLayout()),
                "count": In(lanes),
                "lane_last": In(lanes),
                "write": Out(writes()),
                **{
                    name: Out(stream.Signature(StoreWriteLayout(each)))
                    for name, (each, _) in stores_of(config).items()
                },
                "status": Out(range(max(Status) + 1)),
                **dict.fromkeys((*outputs, "refuse", "done"), Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, write = self.i, self.write
        m.d.comb += [
            write.p.space.eq(self.space),
            write.p.place.eq(self.place),
            write.p.lane.eq(self.count),
            write.p.data.eq(i.p.data),
            self.status.eq(Mux(self.inside, Status.BAD_LENGTH, Status.BAD_ADDRESS)),
            self.status_valid.eq(self.active),
        ]
        valid, ready = Const(1), write.ready
        for name, (_, spaces) in stores_of(self.config).items():
            store, to_store = getattr(self, name), self.space.matches(*spaces)
            valid, ready = valid & ~to_store, Mux(to_store, store.ready, ready)
            m.d.comb += [
                store.valid.eq(self.active & ~self.ended & self.inside & i.valid & to_store),
                store.p.addr.eq(Cat(self.place.addr, self.place.bank)),
                store.p.lane.eq(self.count),
                store.p.data.eq(i.p.data),
            ]
        with m.If(self.active):
            with m.If(self.ended):
                m.d.comb += self.done.eq(1)
            with m.Elif(~self.inside):
                m.d.comb += self.refuse.eq(1)
            with m.Elif(i.valid):
                m.d.comb += [write.valid.eq(valid), i.ready.eq(ready)]
                with m.If(ready):
                    m.d.comb += [self.changed.eq(self.space != Space.ACTIVATIONS), self.step.eq(1)]
                    with m.If(self.count == self.lane_last):
                        m.d.comb += self.next.eq(1)
                    with m.Elif(i.p.last):
                        m.d.comb += self.refuse.eq(1)
        return m
