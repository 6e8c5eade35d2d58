"""Columns that share a threshold memory take their start values one after the other."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

__all__ = ["SharedStarts"]


class SharedStarts(wiring.Component):
    """Keep beats with start values apart, by as many cycles as columns share a memory.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    first : In(1)
        A beat with a start value leaves in this cycle.
    next_first : In(1)
        The next beat has one.
    bar : Out(1)
        It must not leave in the next cycle.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.share = config.threshold_share
        super().__init__({"first": In(1), "next_first": In(1), "bar": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        if self.share == 1:
            return m
        left, loads = Signal(range(self.share), name="left"), Signal(name="loads")
        loads_next = Signal()
        m.d.comb += [
            loads_next.eq(self.first | loads & (left != 1)),
            self.bar.eq(self.next_first & loads_next),
        ]
        m.d.sync += [loads.eq(loads_next), left.eq(Mux(self.first, self.share - 1, left - 1))]
        return m
