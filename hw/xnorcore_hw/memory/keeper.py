"""A flash beside the store, or beside none: it only keeps a network, which the device starts with."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.pages import PAGE_WORDS
from xnorcore.isa.regions import region_of

from ..command.boot import Boot
from ..interfaces import bits_for_depth
from ..parts.stream_register import StreamRegister
from .ports import PlaceLayout
from .stores.access import StoreAccess
from .stores.flash import FlashStore
from .stores.flash_pins import FlashSignature, flash_of
from .stores.port import LinkStoreSignature

__all__ = ["Keeper", "connect_keeper"]


class Keeper(wiring.Component):
    """The words of the flash for `Boot`, from the key on and without checksums; then the link's requests.

    Parameters
    ----------
    config : DeviceConfig
        With `kept_words`.

    Members
    -------
    link : In(LinkStoreSignature)
        Of what `xnorcore.isa.regions.region_of` makes of the configuration.
    place : In(PlaceLayout)
        Word that the link's request is about.
    valid : In(1), ready : Out(1)
        READ wants it; it is there.
    boots : In(1)
        `Boot` is at work.
    word : Out(stream of 32)
        Words for it, of which it wants byte `lane`, In(2), as `octet`, Out(8).
    damaged : Out(1)
        A word that comes is of a damaged page: the next one, or the one behind it.
    flash : Out(FlashSignature)
    """

    def __init__(self, config: DeviceConfig) -> None:
        self._region = region = region_of(config)
        super().__init__(
            {
                "link": In(LinkStoreSignature(region)),
                "place": In(PlaceLayout()),
                "valid": In(1),
                "ready": Out(1),
                "boots": In(1),
                "word": Out(stream.Signature(32)),
                "lane": In(2),
                "octet": Out(8),
                "damaged": Out(1),
                "flash": Out(FlashSignature()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        region, link, boots = self._region, self.link, self.boots
        m.submodules.store = store = FlashStore(region, flash_of(platform, region))
        m.submodules.access = access = StoreAccess(region)
        connect(m, access.bus, store.bus)
        connect(m, store.chip, flipped(self.flash))
        address = Signal(bits_for_depth(region.store_words), name="address", init=1)
        # A word is on its way, or waits; it was asked for in the cycle before.
        flying, moves = Signal(name="flying"), Signal(name="moves")
        asked, taken = Signal(name="asked_for"), Signal(name="taken_word")
        request, word = access.request, access.word
        # A cycle later, for both: pages are in a memory, which gives its word late.
        m.submodules.waiting = waiting = StreamRegister(stream.Signature(32))
        shown, there = Signal(32, name="shown", reset_less=True), Signal(name="there")
        m.d.comb += [
            request.valid.eq(boots & ~flying),
            request.p.eq(address),
            asked.eq(request.valid & request.ready),
            taken.eq(word.valid & word.ready),
            # What still comes when no more is wanted is dropped.
            word.ready.eq(waiting.i.ready | ~boots),
            waiting.i.valid.eq(word.valid & boots),
            waiting.i.p.eq(word.p),
            waiting.o.ready.eq(self.word.ready | ~boots),
            self.word.valid.eq(waiting.o.valid & boots),
            self.word.p.eq(waiting.o.p),
            self.damaged.eq(store.damaged),
            access.quiet.eq(~boots & ~flying),
            access.valid.eq(self.valid & link.reads),
            self.ready.eq(access.ready & there),
            access.write.valid.eq(link.write.valid),
            access.write.p.eq(link.write.p),
            link.write.ready.eq(access.write.ready),
            store.link.writes.eq(link.flash.writes),
            store.link.chip.eq(link.flash.chip),
            self.octet.eq(waiting.o.p.word_select(self.lane, 8)),
            link.octet.eq(shown.word_select(link.lane, 8)),
        ]
        m.d.sync += [moves.eq(asked), shown.eq(access.data), there.eq(access.ready)]
        with m.If(asked | taken):
            m.d.sync += flying.eq(asked)
        with m.If(~boots):
            m.d.sync += address.eq(Cat(self.place.addr, self.place.bank))
        with m.Elif(moves):
            # Last words of pages are checksums.
            m.d.sync += address.eq(address + Mux(address[:6] == PAGE_WORDS - 2, 2, 1))
        return m


def connect_keeper(m: Module, keeper: Keeper, boot: Boot, control: Any) -> None:
    """Put a `Keeper` between its `Boot` and `xnorcore_hw.command.control.Control`."""
    m.submodules.keeper = keeper
    connect(m, control.kept, keeper.link)
    m.d.comb += [
        keeper.place.eq(control.word),
        keeper.valid.eq(control.program.valid),
        keeper.boots.eq(boot.on),
        keeper.lane.eq(boot.lane),
        boot.octet.eq(keeper.octet),
        boot.word.valid.eq(keeper.word.valid),
        boot.word.p.eq(keeper.word.p),
        keeper.word.ready.eq(boot.word.ready),
        boot.damaged.eq(keeper.damaged),
    ]
    with m.If(control.kept.reads):
        m.d.comb += control.program.ready.eq(keeper.ready)
