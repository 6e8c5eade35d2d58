"""A simulated device that starts when all images have come, and sends results when it has done them."""

from __future__ import annotations

from amaranth import Module, Mux, Signal

from xnorcore.isa.device import DeviceConfig
from xnorcore_hw.core import Core
from xnorcore_hw.shells.sim import SimTop

__all__ = ["HeldTop"]

QUIET = 4000
"""Cycles without a byte after which the images are all there."""


class HeldCore(Core):
    """A core whose array the link neither makes wait nor disturbs: two batches run one right after the other.

    What RUN starts is counted, too.
    """

    def _connect_batches(self, m: Module) -> None:
        super()._connect_batches(m)
        quiet, go = Signal(range(QUIET + 1)), Signal()
        m.d.sync += quiet.eq(Mux(self.i.valid, 0, Mux(go, QUIET, quiet + 1)))
        m.d.comb += go.eq(quiet == QUIET)
        with m.If(~go):
            m.d.comb += self._sequencer.batch.eq(0)
        with m.If(self._batches.loaded.any()):
            m.d.comb += self._responder.ready.eq(0)

    def _connect_counters(self, m: Module) -> None:
        super()._connect_counters(m)
        m.d.comb += self._counters.counting.eq(1)


class HeldTop(SimTop):
    """The accelerator as engines drive it, with such a core."""

    def __init__(self, config: DeviceConfig, clock_hz: int = 0) -> None:
        super().__init__(config, clock_hz)
        self.accelerator.core.__class__ = HeldCore
