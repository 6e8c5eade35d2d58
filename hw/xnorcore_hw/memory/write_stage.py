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
    line buffer takes a byte every cycle, any other every other cycle.

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
        asked, other, valid, room, waits = (Signal() for _ in range(5))
        requested = Signal(RowWriteLayout())
        m.d.comb += [
            other.eq(control.p.space != Space.ACTIVATIONS),
            asked.eq(control.valid & ~other),
            valid.eq(loader.valid | asked),
            loader.ready.eq(~waits),
            control.ready.eq(other | ~waits & ~loader.valid),
            requested.place.eq(control.p.place),
            requested.lane.eq(control.p.lane),
            requested.data.eq(control.p.data),
        ]
        incoming = Mux(loader.valid, loader.p.as_value(), requested.as_value())
        if self.config.line_bytes:
            # What comes in the cycle in which the memories turn out to be busy waits beside the register.
            m.d.comb += room.eq(~o.valid | o.ready)
            m.d.sync += self.flushed.eq(room & ~waits & ~valid)
            kept = Signal(RowWriteLayout(), reset_less=True)
            with m.If(~waits):
                m.d.sync += kept.eq(incoming)
            incoming = Mux(waits, kept.as_value(), incoming)
            with m.If(room):
                m.d.sync += [o.valid.eq(waits | valid), waits.eq(0)]
            with m.Elif(valid):
                m.d.sync += waits.eq(1)
        else:
            m.d.comb += [room.eq(~o.valid), waits.eq(o.valid), self.flushed.eq(~o.valid)]
            with m.If(room | o.ready):
                m.d.sync += o.valid.eq(room & valid)
        with m.If(room):
            m.d.sync += o.p.eq(incoming)
        return m
