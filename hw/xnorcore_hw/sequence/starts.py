"""Columns that share a threshold memory read a tile's start values one after the other."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

__all__ = ["SharedStarts"]


class SharedStarts(wiring.Component):
    """Let a tile begin once the columns' start values can be read: those of the tile before are used up.

    That takes as many cycles after its last beat with a start value as columns share a memory.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    first : In(1)
        A beat that uses start values, or some of their bits, leaves in this cycle.
    next_load : In(1)
        The next beat is the first of a tile.
    bar : Out(1)
        It must not leave in the next cycle.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.share = config.threshold_share
        super().__init__({"first": In(1), "next_load": In(1), "bar": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        if self.share == 1:
            return m
        left, used = Signal(range(self.share), name="left"), Signal(name="used")
        used_next = Signal()
        m.d.comb += [
            used_next.eq(self.first | used & (left != 1)),
            self.bar.eq(self.next_load & used_next),
        ]
        m.d.sync += [used.eq(used_next), left.eq(Mux(self.first, self.share - 1, left - 1))]
        return m
