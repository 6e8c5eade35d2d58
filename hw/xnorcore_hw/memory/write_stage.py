"""Bytes on their way into activation memory, from the loader or the link."""

from __future__ import annotations

from amaranth import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space

from ..interfaces import LaneWriteSignature

__all__ = ["WriteStage"]

_PLACE = ("bank", "addr", "lane", "data")


class WriteStage(wiring.Component):
    """Choose whose byte goes into activation memory next; the loader's come first.

    The byte waits in a register, so that the choice is not on the path into the memories. A device with a
    line buffer takes a byte every cycle, any other every other cycle.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    control, loader : In(LaneWriteSignature)
        Only `Space.ACTIVATIONS` counts.
    loader_everywhere : In(1)
        The loader's byte is for all rows.
    o : Out(LaneWriteSignature)
        To all activation memories; `ready` does not count.
    everywhere : Out(1)
    busy : In(1)
        The memories take a result in this cycle, and no byte.
    flushed : Out(1)
        All bytes that were taken are in memory when this cycle ends.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(LaneWriteSignature()),
                "loader": In(LaneWriteSignature()),
                "loader_everywhere": In(1),
                "o": Out(LaneWriteSignature()),
                "everywhere": Out(1),
                "busy": In(1),
                "flushed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        control, loader, o, busy = self.control, self.loader, self.o, self.busy
        asked, valid, room, waits = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            asked.eq(control.valid & (control.space == Space.ACTIVATIONS)),
            valid.eq(loader.valid | asked),
            loader.ready.eq(~waits),
            control.ready.eq(~waits & ~loader.valid),
            o.space.eq(Space.ACTIVATIONS),
        ]
        places = [getattr(o, name) for name in _PLACE] + [self.everywhere]
        pairs = [(getattr(loader, name), getattr(control, name)) for name in _PLACE]
        pairs += [(self.loader_everywhere, Const(0))]
        incoming = [Mux(loader.valid, first, other) for first, other in pairs]
        if self.config.line_bytes:
            # What comes in the cycle in which the memories turn out to be busy waits beside the register.
            m.d.comb += room.eq(~o.valid | ~busy)
            m.d.sync += self.flushed.eq(room & ~waits & ~valid)
            kept = [
                Signal.like(place, name=f"kept{index}", reset_less=True) for index, place in enumerate(places)
            ]
            with m.If(~waits):
                m.d.sync += [to.eq(value) for to, value in zip(kept, incoming, strict=True)]
            incoming = [Mux(waits, old, new) for old, new in zip(kept, incoming, strict=True)]
            with m.If(room):
                m.d.sync += [o.valid.eq(waits | valid), waits.eq(0)]
            with m.Elif(valid):
                m.d.sync += waits.eq(1)
        else:
            m.d.comb += [room.eq(~o.valid), waits.eq(o.valid), self.flushed.eq(~o.valid)]
            with m.If(room | ~busy):
                m.d.sync += o.valid.eq(room & valid)
        with m.If(room):
            m.d.sync += [place.eq(value) for place, value in zip(places, incoming, strict=True)]
        return m
