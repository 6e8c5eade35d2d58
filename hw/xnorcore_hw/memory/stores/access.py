"""Who reads the store: the prefetcher, or a READ of the link while that one rests."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import FLASHES

from ...interfaces import bits_for_depth
from .port import StoreSignature, StoreWriteLayout

__all__ = ["StoreAccess"]


class StoreAccess(wiring.Component):
    """Pass requests on to the store, and its words back to who asked.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    request : In(stream), word : Out(stream of 32)
        The prefetcher's.
    quiet : In(1)
        It asks for nothing, and no word is on its way to it.
    valid : In(1)
        READ wants the word at `addr`; stays until it has it, and is 0 for a cycle before the next one.
    addr : In
        Not with a flash, of which the prefetcher gives all addresses.
    data : Out(32), ready : Out(1)
        That word, as long as `valid` stays.
    write : In(stream of StoreWriteLayout)
        The link's bytes.
    bus : Out(StoreSignature)
    """

    def __init__(self, config: DeviceConfig) -> None:
        address, self._flash = bits_for_depth(config.store_words), config.store_kind in FLASHES
        super().__init__(
            {
                "request": In(stream.Signature(address)),
                "word": Out(stream.Signature(32)),
                "quiet": In(1),
                "valid": In(1),
                **({} if self._flash else {"addr": In(address)}),
                "data": Out(32),
                "ready": Out(1),
                "write": In(stream.Signature(StoreWriteLayout(config))),
                "bus": Out(StoreSignature(config)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        request, word = self.bus.request, self.bus.word
        asked, asks = Signal(name="asked"), Signal()
        # A cycle late: so what the link asks for is no part of an address that the prefetcher gives.
        valid = Signal(name="valid_late")
        m.d.sync += valid.eq(self.valid)
        connect(m, flipped(self.write), flipped(self.bus.write))
        # The prefetcher of a flash gives the link's address while it rests.
        place = self.request.p if self._flash else Mux(asks, self.addr, self.request.p)
        m.d.comb += [
            asks.eq(valid & self.quiet & ~asked),
            request.valid.eq(self.request.valid | asks),
            request.p.eq(place),
            self.request.ready.eq(request.ready),
            # A word for READ stays in the store until its bytes are sent.
            self.data.eq(word.p),
            self.ready.eq(asked & word.valid & valid),
            self.word.valid.eq(word.valid & ~asked),
            self.word.p.eq(word.p),
            word.ready.eq(Mux(asked, ~valid, self.word.ready)),
        ]
        with m.If(asks & request.ready):
            m.d.sync += asked.eq(1)
        with m.Elif(word.valid & word.ready):
            m.d.sync += asked.eq(0)
        return m
