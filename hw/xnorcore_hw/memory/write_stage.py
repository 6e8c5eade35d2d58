"""Bytes on their way into activation memory, from the loader or a request."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space

from .ports import RowWriteLayout, row_writes, writes

__all__ = ["WriteStage"]


class WriteStage(wiring.Component):
    """Choose whose byte goes into activation memory next; the loader's come first.

    The byte waits in a register, so that the choice is not on the path into the memories. A device with a
    line buffer and two ports takes a byte every cycle, any other every other cycle.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    control : In(stream of WriteLayout)
        Only `Space.ACTIVATIONS` counts; what is for another memory is taken there, at once.
    loader : In(stream of RowWriteLayout)
    o : Out(stream of RowWriteLayout)
        To all activation memories; `ready` unless they take a result in this cycle.
    flushed : Out(1)
        All bytes that were taken are in memory when this cycle ends.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__(
            {
                "control": In(writes()),
                "loader": In(row_writes()),
                "o": Out(row_writes()),
                "flushed": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        control, loader, o = self.control, self.loader, self.o
        asked, other, room = Signal(), Signal(), Signal()
        requested = Signal(RowWriteLayout())
        flows = self.config.line_bytes and self.config.act_ports == 2
        m.d.comb += [
            other.eq(control.p.space != Space.ACTIVATIONS),
            asked.eq(control.valid & ~other),
            room.eq(~o.valid | (o.ready if flows else 0)),
            loader.ready.eq(room),
            control.ready.eq(other | room & ~loader.valid),
            self.flushed.eq(~o.valid),
            requested.place.eq(control.p.place),
            requested.lane.eq(control.p.lane),
            requested.data.eq(control.p.data),
        ]
        with m.If(room):
            m.d.sync += [
                o.valid.eq(loader.valid | asked),
                o.p.eq(Mux(loader.valid, loader.p.as_value(), requested.as_value())),
            ]
        with m.Elif(o.ready):
            m.d.sync += o.valid.eq(0)
        return m
