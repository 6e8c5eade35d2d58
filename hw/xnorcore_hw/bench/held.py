"""A simulated device that starts when all images have come, and sends results when it has done them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from amaranth import Module, Mux, Signal

from xnorcore.isa.device import DeviceConfig
from xnorcore.link.session import Session
from xnorcore.runtime.accelerator import Accelerator

from ..core import Core
from ..shells.sim import SimTop
from ..sim.compiled import CompiledEngine
from ..sim.transport import SimOptions, SimTransport

__all__ = ["HeldTop", "held"]

_FIFO_BYTES = 16384
_RECORDS = 128
"""Parts of answers that have a place: none leaves before all images have come."""
QUIET = 4000
"""Cycles without a byte on the link, or on its way into memory, after which the images are all there."""


class HeldCore(Core):
    """A core whose array the link neither makes wait nor disturbs: two batches run one right after the other.

    What RUN starts is counted, too.
    """

    def _connect_batches(self, m: Module) -> None:
        super()._connect_batches(m)
        quiet, go = Signal(range(QUIET + 1)), Signal()
        # A byte that waits for the array to be done is none that the array waits for.
        arrives = self.i.valid & self.i.ready | self._images.write.valid
        m.d.sync += quiet.eq(Mux(arrives, 0, Mux(go, QUIET, quiet + 1)))
        m.d.comb += go.eq(quiet == QUIET)
        with m.If(~go):
            m.d.comb += self._sequencer.batch.eq(0)
        with m.If(self._batches.loaded.any()):
            m.d.comb += self._responder.ready.eq(0)

    def _connect_counters(self, m: Module) -> None:
        super()._connect_counters(m)
        m.d.comb += self._counters.counting.eq(1)


class HeldTop(SimTop):
    """The accelerator as engines drive it, with such a core, and room for all that comes."""

    apart = 1

    def __init__(self, config: DeviceConfig, clock_hz: int = 0) -> None:
        super().__init__(config, clock_hz)
        core = self.accelerator.core
        core.__class__ = HeldCore
        core._records.depth = _RECORDS


@contextmanager
def held(config: DeviceConfig, progress: Callable[[str], None] = lambda text: None) -> Iterator[Accelerator]:
    """Open a simulated device with such a core, which counts, and has room for all images of two batches.

    Parameters
    ----------
    config : DeviceConfig
        Of which all is kept that has a part in the cycles of a batch.
    progress : callable, optional
        Takes lines while the simulator is built.

    Raises
    ------
    EngineError
        If the simulator cannot be built.
    """
    config = replace(config, counters=1, fifo_bytes=_FIFO_BYTES)
    options = SimOptions(config)
    engine = CompiledEngine(config, options.clock_hz, top=HeldTop, progress=progress)
    with Accelerator(Session(SimTransport(options, engine))) as device:
        yield device
