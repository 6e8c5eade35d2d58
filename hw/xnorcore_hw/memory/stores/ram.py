"""A store in block RAM: a word a cycle, each a cycle after its address."""

from __future__ import annotations

from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from xnorcore.isa.device import DeviceConfig

from .port import StoreSignature

__all__ = ["RamStore"]


class RamStore(wiring.Component):
    """Block RAM behind a store's interface.

    Parameters
    ----------
    config : DeviceConfig
    contents : list of int
        First words at power-up.

    Members
    -------
    bus : In(StoreSignature)
    """

    def __init__(self, config: DeviceConfig, contents: list[int] | None = None) -> None:
        self.config, self.contents = config, contents or []
        super().__init__({"bus": In(StoreSignature(config))})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        request, word, write = self.bus.request, self.bus.word, self.bus.write
        m.submodules.memory = memory = Memory(shape=32, depth=self.config.store_words, init=self.contents)
        read, port = memory.read_port(), memory.write_port(granularity=8)
        # A word stays in the memory's output register until it is taken.
        m.d.comb += [
            request.ready.eq(~word.valid | word.ready),
            read.addr.eq(request.p),
            read.en.eq(request.valid & request.ready),
            word.p.eq(read.data),
            write.ready.eq(1),
            port.addr.eq(write.p.addr),
            port.data.eq(write.p.data.replicate(4)),
            port.en.eq(write.valid.replicate(4) & (1 << write.p.lane)),
        ]
        with m.If(request.ready):
            m.d.sync += word.valid.eq(request.valid)
        return m
