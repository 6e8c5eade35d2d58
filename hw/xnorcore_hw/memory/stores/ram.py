"""A store in memory of one port: a word a cycle, each a cycle after its address."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from xnorcore.isa.device import DeviceConfig

from ..single.generic import Access, single_of
from .port import StoreSignature

__all__ = ["RamStore"]


class RamStore(wiring.Component):
    """Memory of one port (`xnorcore_hw.memory.single`) behind a store's interface.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    bus : In(StoreSignature)
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        super().__init__({"bus": In(StoreSignature(config))})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        request, word, link = self.bus.request, self.bus.word, self.bus.write
        # A byte of the link waits a cycle: that there is one is known late.
        writes, write = Signal(name="writes"), Signal(link.p.shape(), name="write", reset_less=True)
        m.d.sync += [writes.eq(link.valid), write.eq(link.p)]
        # A word that waits is read again and again.
        shown, addr = Signal.like(request.p, reset_less=True), Signal.like(request.p)
        m.d.comb += [
            link.ready.eq(1),
            request.ready.eq((~word.valid | word.ready) & ~writes),
            addr.eq(Mux(word.valid & ~word.ready, shown, request.p)),
        ]
        access = Access(
            addr=Mux(writes, write.addr, addr),
            write=writes,
            mask=writes.replicate(4) & (1 << write.lane),
            data=write.data.replicate(4),
        )
        m.d.comb += word.p.eq(single_of(platform).add(m, access, self.config.store_words))
        with m.If(~word.valid | word.ready):
            m.d.sync += [word.valid.eq(request.valid & request.ready), shown.eq(addr)]
        return m
