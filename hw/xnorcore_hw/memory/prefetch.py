"""Brings weights and start values from the store into the buffers, before the beats that need them."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.pages import PAGE_WORDS
from xnorcore.isa.stores import FLASH_BITS, FLASH_SECTOR, FLASHES, QUEUE_WORDS, StoreKind
from xnorcore.isa.stream import FIRST_BLOCK

from ..interfaces import RingSignature, bits_for_depth
from .fill import fills
from .queue import WordQueue
from .ring import RingWriter
from .stream_sum import StreamSum

__all__ = ["Prefetcher", "flight"]


def flight(config: DeviceConfig) -> int:
    """Return how many words may be on their way at once: more where one a cycle comes from afar.

    A word of a flash takes some cycles, and is no nearer if it is asked for earlier.
    """
    if config.store_kind in FLASHES:
        return 1
    return 12 if config.store_kind == StoreKind.SDRAM32 else 7


class Prefetcher(wiring.Component):
    """Ask for the words of the stream (`xnorcore.isa.stream`), round and round, and put each into its ring.

    It begins with the first layer that takes its weights from the store, and goes on, also for a batch that
    has not come, until the `rewind`. A request goes out without a look at the rings: the store keeps a place
    for the word, which waits there until the ring has one.

    Of a store with a queue (`QUEUE_WORDS`), words wait there, and it asks for more until that is full.

    Where there are check words (`xnorcore.isa.sums`), the second one is that of the stream's length.

    With a flash it is on from the start, for `Boot`: its words are those from word 1 on.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    rewind : In(1)
        Nothing runs: the next layer has the stream's first words. Words on their way are dropped.
    ring : In(RingSignature)
    request : Out(stream)
        Addresses of the store,
    word : In(stream of 32)
        and the words there.
    fill : Out(stream of FillLayout)
    quiet : Out(1)
        It rests, and no word is on its way.
    damaged : Out(1)
        Not with a flash: words were not what they were; before a beat takes the last one of them.
    boots, booted : In(1)
        Only with a flash: words are not for the rings; until the first `rewind`. Who wants them takes one.
    link : In
        Only with a flash: while it is `quiet`, the address of `request` is this one of the cycle before.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        self._flash, address = config.store_kind in FLASHES, bits_for_depth(config.store_words)
        super().__init__(
            {
                **(
                    {"boots": In(1), "booted": In(1), "link": In(address)}
                    if self._flash
                    else {"damaged": Out(1)}
                ),
                "rewind": In(1),
                "ring": In(RingSignature(config)),
                "request": Out(stream.Signature(address)),
                "word": In(stream.Signature(32)),
                "fill": Out(fills()),
                "quiet": Out(1),
            }
        )
        self._writer = RingWriter(config)

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        m.submodules.writer = writer = self._writer
        request, word = self.request, self.word
        most = flight(self.config)
        flash = self._flash
        on, known, begun = (Signal(init=flash, name=name) for name in ("on", "known", "begun"))
        drops, flying = Signal(name="drops"), Signal(range(most + 1), name="flying")
        address = Signal.like(request.p, name="address", init=flash)
        last = Signal.like(request.p, name="last", reset_less=True)
        asked, taken = Signal(name="asked"), Signal(name="taken")
        words, moves = writer.word, asked
        if FLASH_BITS.get(StoreKind(self.config.store_kind)) == 4:
            # As in `FlashStore`: no request follows in the next cycle.
            moves = Signal(name="moves")
            m.d.sync += moves.eq(asked)
        if self.config.store_kind in QUEUE_WORDS:
            m.submodules.queue = queue = WordQueue(QUEUE_WORDS[StoreKind(self.config.store_kind)])
            connect(m, queue.o, writer.word)
            m.d.comb += queue.clear.eq(~on)
            words = queue.i
        sure = known if flash else Signal(name="sure")
        own, takes = word.valid & sure & ~drops, words.ready
        if flash:
            own, takes = own & ~self.boots, Mux(self.boots, self.booted, takes)
        connect(m, flipped(self.ring), writer.ring)
        connect(m, writer.fill, flipped(self.fill))
        m.d.comb += [
            # Until its length is known, only the stream's first word.
            request.valid.eq(on & ~drops & (flying != most) & (known | ~begun)),
            request.p.eq(address),
            writer.clear.eq(~on),
            words.valid.eq(own),
            words.p.eq(word.p),
            word.ready.eq(drops | ~sure | takes),
            asked.eq(request.valid & request.ready),
            taken.eq(word.valid & word.ready),
            self.quiet.eq(~on & ~drops),
        ]
        m.d.sync += flying.eq(flying + asked - taken)
        with m.If(self.rewind):
            m.d.sync += [on.eq(0), drops.eq(1)]
        with m.Else():
            with m.If(self.ring.go):
                m.d.sync += on.eq(1)
            with m.If(flying == 0):
                m.d.sync += drops.eq(0)
        ends = known & (address == last)
        restarts, follows = [address.eq(0)], [address.eq(Mux(ends, FIRST_BLOCK, address + 1))]
        if not flash:
            self._check(m, on, taken & ~drops, known, sure)
        else:
            restarts, follows = [], []
            self._go_on(m, address, on, moves, ends | ~begun)
        with m.If(~on):
            m.d.sync += [*restarts, known.eq(0), begun.eq(0)]
        with m.Else():
            with m.If(moves):
                m.d.sync += [*follows, begun.eq(1)]
            with m.If(taken & ~known & ~drops):
                m.d.sync += [known.eq(1), last.eq(word.p)]
        return m

    def _check(self, m: Module, on: Signal, taken: Value, known: Signal, sure: Signal) -> None:
        """Add up what is taken, the stream's length, which is `known` then, and its check word among it."""
        m.submodules.sum = total = StreamSum()
        m.d.comb += [
            total.clear.eq(~on),
            total.taken.eq(taken),
            total.word.eq(self.word.p),
            total.check.eq(Mux(sure, self._writer.check, known)),
            self.damaged.eq(total.wrong & on),
        ]
        with m.If(~on):
            m.d.sync += sure.eq(0)
        with m.Elif(taken & known):
            m.d.sync += sure.eq(1)

    def _go_on(self, m: Module, address: Signal, on: Signal, moves: Signal, jumps: Value) -> None:
        """Give the words of a flash behind each other, or that of the link; `jumps`: to the first block.

        Each bit of the address is one look-up table: the constants come by a reset of its register.
        """
        # Last words of pages are checksums.
        sums, off = address[:6] == PAGE_WORDS - 2, ~on
        more = Cat(off | sums, off.replicate(len(address) - 1))
        with m.If(off | moves):
            m.d.sync += address.eq(Mux(off, self.link, address + more + 1))
        begins, jumps = off & self.ring.go, on & moves & jumps
        with m.If(begins | jumps):
            m.d.sync += address.eq(0)
        with m.If(jumps):
            m.d.sync += address[FLASH_SECTOR.bit_length() - 1].eq(1)
