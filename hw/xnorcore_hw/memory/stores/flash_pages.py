"""Pages of a flash, of which no word is given before the page's checksum has come."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.pages import PAGE_WORDS, POLYNOMIAL

from ...interfaces import bits_for_depth
from .flash_pins import FlashPlace

__all__ = ["FlashPages"]


class FlashPages(wiring.Component):
    """Two pages: one is read, the one behind it comes. So the flash never waits for the reader of a run.

    The last word of a page is a checksum (`xnorcore.isa.pages`), which comes on the same lines.

    Parameters
    ----------
    config : DeviceConfig
    place : FlashPlace

    Members
    -------
    start : In(1)
        Nothing is there; what comes next begins with the page that is asked for now.
    taken, bits, came, word : In
        As of `FlashWire`, while it reads for these pages.
    pulsed : In(1)
        Bits will come that are still to be taken,
    more : Out(1)
        for which there is room.
    request : In(stream), data : Out(stream of 32)
        Addresses of words, and the words.
    jumps : Out(1)
        The word that is asked for is neither there nor in what comes.
    direct : In(1)
        Take the request for the first word that came; that of word 3 of four, for lines and region.
    damaged : Out(1)
        A word is asked for whose page has another checksum.
    """

    def __init__(self, config: DeviceConfig, place: FlashPlace) -> None:
        self._place, address = place, bits_for_depth(config.store_words)
        super().__init__(
            {
                **dict.fromkeys(("start", "taken", "came", "pulsed", "direct"), In(1)),
                **dict.fromkeys(("more", "jumps", "damaged"), Out(1)),
                "bits": In(4),
                "word": In(32),
                "request": In(stream.Signature(address)),
                "data": Out(stream.Signature(32)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        request, data = self.request, self.data
        within = (PAGE_WORDS - 1).bit_length()
        page, half = Signal(len(request.p) - within, name="page"), Signal(name="half")
        # Pages that are there; those, and the one that comes.
        filled, asked = Signal(2, name="filled"), Signal(2, name="asked")
        at, into, bad = Signal(within, name="at"), Signal(name="into"), Signal(2, name="bad")
        whole, leaves, begins = Signal(), Signal(), Signal()
        # A memory has more room than two pages: it also knows where the region begins, and the lines.
        known = [0] * (2 * PAGE_WORDS) + [self._place.lanes << 24 | self._place.first]
        m.submodules.memory = memory = Memory(shape=32, depth=len(known), init=known)
        write, read = memory.write_port(), memory.read_port()
        here, gives = request.p[within:] == page, Signal()
        room = ~data.valid | data.ready
        said = Mux(request.p[:2] == 3, 2 * PAGE_WORDS, Cat(Const(0, within), into))
        m.d.comb += [
            write.addr.eq(Cat(at, into)),
            write.data.eq(self.word),
            write.en.eq(self.came),
            read.addr.eq(Mux(self.direct, said, Cat(request.p[:within], half))),
            read.en.eq(gives),
            data.p.eq(read.data),
            gives.eq(request.valid & room & (self.direct | here & (filled != 0))),
            request.ready.eq(gives),
            leaves.eq(request.valid & ~here & (filled != 0)),
            self.jumps.eq(request.valid & ~here & (filled == 0)),
            self.damaged.eq(gives & ~self.direct & bad.bit_select(half, 1)),
            whole.eq(self.came & at.all()),
        ]
        with m.If(room):
            m.d.sync += data.valid.eq(gives)
        wrong = self._check(m, whole)
        self._count_pulses(m, asked, leaves, begins)
        with m.If(self.came):
            m.d.sync += at.eq(at + 1)
        with m.If(whole):
            m.d.sync += into.eq(~into)
            m.d.sync += bad.bit_select(into, 1).eq(wrong)
        with m.If(leaves):
            m.d.sync += [page.eq(page + 1), half.eq(~half)]
        m.d.sync += filled.eq(filled + whole - leaves)
        with m.If(self.start):
            m.d.sync += [page.eq(request.p[within:]), filled.eq(0), at.eq(0), half.eq(into)]
        return m

    def _count_pulses(self, m: Module, asked: Signal, leaves: Value, begins: Signal) -> None:
        """Let a page come when there is a place for all of it."""
        pulses = 32 * PAGE_WORDS // self._place.lanes
        left = Signal(range(pulses + 1), name="left")
        m.d.comb += [
            self.more.eq(left != 0),
            begins.eq(((left == 0) | (left == 1) & self.pulsed) & (asked != 2)),
        ]
        m.d.sync += asked.eq(asked + begins - leaves)
        with m.If(begins):
            m.d.sync += left.eq(pulses)
        with m.Elif(self.pulsed):
            m.d.sync += left.eq(left - 1)
        with m.If(self.start):
            m.d.sync += [left.eq(pulses), asked.eq(1)]

    def _check(self, m: Module, whole: Value) -> Value:
        """Return whether the page that is whole now is not what it was."""
        lanes = self._place.lanes
        check = Signal(32, init=0xFFFF_FFFF, name="check")
        follows: Value = Mux(whole, 0xFFFF_FFFF, check)
        for bit in reversed([self.bits[1]] if lanes == 1 else list(self.bits[:lanes])):
            follows = (follows << 1)[:32] ^ Mux(follows[31] ^ bit, POLYNOMIAL, 0)
        with m.If(self.taken):
            m.d.sync += check.eq(follows)
        with m.Elif(whole):
            m.d.sync += check.eq(0xFFFF_FFFF)
        with m.If(self.start):
            m.d.sync += check.eq(0xFFFF_FFFF)
        return check != 0
