"""Bytes on their way into activation memory, from the loader or the link."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.geometry import DeviceConfig
from xnorcore.protocol import Space

from .interfaces import LaneWriteSignature

__all__ = ["WriteStage"]

_PLACE = ("bank", "addr", "lane", "data")


class WriteStage(wiring.Component):
    """Choose whose byte goes into activation memory next; the loader's come first.

    On a device with a line buffer the byte waits in a register, so that neither the buffer nor the choice is
    on the path into the memories. On any other a byte takes two cycles: it is written in the first and taken
    in the second, so that the decision whether the memories are free is not on the paths behind `ready`.

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
        control, loader, o = self.control, self.loader, self.o
        asked, valid = Signal(), Signal()
        m.d.comb += [
            asked.eq(control.valid & (control.space == Space.ACTIVATIONS)),
            valid.eq(loader.valid | asked),
            o.space.eq(Space.ACTIVATIONS),
        ]
        chosen = [
            getattr(o, name).eq(Mux(loader.valid, getattr(loader, name), getattr(control, name)))
            for name in _PLACE
        ]
        chosen += [o.valid.eq(valid), self.everywhere.eq(loader.valid & self.loader_everywhere)]
        if self.config.line_bytes:
            # What comes in the cycle in which the memories turn out to be busy waits beside the register.
            room, waits = Signal(), Signal()
            m.d.comb += [
                room.eq(~o.valid | ~self.busy),
                loader.ready.eq(~waits),
                control.ready.eq(~waits & ~loader.valid),
            ]
            m.d.sync += self.flushed.eq(room & ~waits & ~valid)
            places = [getattr(o, name) for name in _PLACE] + [self.everywhere]
            incoming = [
                Mux(loader.valid, getattr(loader, name), getattr(control, name)) for name in _PLACE
            ] + [loader.valid & self.loader_everywhere]
            kept = [Signal.like(place, name=f"kept{index}") for index, place in enumerate(places)]
            with m.If(~waits):
                m.d.sync += [to.eq(value) for to, value in zip(kept, incoming, strict=True)]
            with m.If(room):
                pairs = zip(places, kept, incoming, strict=True)
                m.d.sync += [place.eq(Mux(waits, old, new)) for place, old, new in pairs]
                m.d.sync += [o.valid.eq(waits | valid), waits.eq(0)]
            with m.Elif(valid):
                m.d.sync += waits.eq(1)
        else:
            # The byte waits where it comes from, and is written once more when it is taken.
            first = ~self.busy & ~loader.ready & ~control.ready
            m.d.comb += [*chosen, self.flushed.eq(1)]
            m.d.sync += [
                loader.ready.eq(first & loader.valid),
                control.ready.eq(first & asked & ~loader.valid),
            ]
        return m
