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
    on the path into the memories. `ready` says that all earlier bytes are stored when this cycle ends.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    control, loader : In(LaneWriteSignature)
        `ready` does not depend on the same port's `valid`. Only `Space.ACTIVATIONS` counts.
    loader_everywhere : In(1)
        The loader's byte is for all rows.
    o : Out(LaneWriteSignature)
        To all activation memories; `ready` does not count.
    everywhere : Out(1)
    busy : In(1)
        The memories take a result in this cycle, and no byte.
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
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        control, loader, o = self.control, self.loader, self.o
        room, valid = Signal(), Signal()
        m.d.comb += [
            valid.eq(loader.valid | control.valid & (control.space == Space.ACTIVATIONS)),
            loader.ready.eq(room),
            control.ready.eq(room & ~loader.valid),
            o.space.eq(Space.ACTIVATIONS),
        ]
        chosen = [
            getattr(o, name).eq(Mux(loader.valid, getattr(loader, name), getattr(control, name)))
            for name in _PLACE
        ]
        chosen += [o.valid.eq(valid), self.everywhere.eq(loader.valid & self.loader_everywhere)]
        if self.config.line_bytes:
            m.d.comb += room.eq(~o.valid | ~self.busy)
            with m.If(room):
                m.d.sync += chosen
        else:
            m.d.comb += [room.eq(~self.busy), *chosen]
        return m
