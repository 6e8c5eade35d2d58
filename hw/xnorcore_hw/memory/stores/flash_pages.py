"""Pages of a flash, of which no word is given before the page's checksum has come."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.pages import PAGE_WORDS, POLYNOMIAL

from ...interfaces import bits_for_depth
from ...parts.counting import load_or_up
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
    taken, bits, came, octet : In
        As of `FlashWire`, while it reads for these pages.
    word_ends : Out(1)
        With the last byte of a word.
    pulsed : In(1)
        Bits will come that are still to be taken,
    more : Out(1)
        for which there is room.
    request : In(stream), data : Out(stream of 32)
        Addresses of words, and the words.
    jumps : Out(1)
        In the cycle before, the word that is asked for was neither there nor in what comes.
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
                **dict.fromkeys(("word_ends", "more", "jumps", "damaged"), Out(1)),
                "bits": In(4),
                "octet": In(8),
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
        # Byte of the page, and which page.
        at, into, bad = Signal(within + 2, name="at"), Signal(name="into"), Signal(2, name="bad")
        whole, leaves = Signal(), Signal()
        # A memory has more room than two pages: it also knows where the region begins, and the lines.
        known = [self._place.lanes << 24 | self._place.first] * (2 * PAGE_WORDS)
        m.submodules.memory = memory = Memory(shape=32, depth=2 * len(known), init=[0] * len(known) + known)
        write, read = memory.write_port(granularity=8), memory.read_port()
        here, gives = request.p[within:] == page, Signal()
        room = ~data.valid | data.ready
        # What the chip says is the first word of what comes, whichever of the two is asked for.
        low = request.p[:2] & ~self.direct.replicate(2)
        m.d.comb += [
            write.addr.eq(Cat(at[2:], into)),
            write.data.eq(self.octet.replicate(4)),
            write.en.eq(self.came << at[:2]),
            self.word_ends.eq(self.came & at[:2].all()),
            read.addr.eq(Cat(low, request.p[2:within], half, self.direct & request.p[:2].all())),
            read.en.eq(gives),
            data.p.eq(read.data),
            gives.eq(request.valid & room & (self.direct | here & (filled != 0))),
            request.ready.eq(gives),
            leaves.eq(request.valid & ~here & (filled != 0)),
            self.damaged.eq(gives & ~self.direct & bad.bit_select(half, 1)),
            whole.eq(self.came & at.all()),
        ]
        with m.If(room):
            m.d.sync += data.valid.eq(gives)
        m.d.sync += self.jumps.eq(request.valid & ~here & (filled == 0))
        wrong = self._check(m, whole)
        self._count_pulses(m, asked, leaves)
        with m.If(self.came):
            m.d.sync += at.eq(at + 1)
        with m.If(whole):
            m.d.sync += into.eq(~into)
            m.d.sync += bad.bit_select(into, 1).eq(wrong)
        with m.If(leaves):
            m.d.sync += half.eq(~half)
        with m.If(self.start | leaves):
            m.d.sync += page.eq(load_or_up(self.start, request.p[within:], page))
        m.d.sync += filled.eq(filled + whole - leaves)
        with m.If(self.start):
            m.d.sync += [filled.eq(0), at.eq(0), half.eq(into)]
        return m

    def _count_pulses(self, m: Module, asked: Signal, leaves: Value) -> None:
        """Let a page come when there is a place for all of it, a cycle behind the one before."""
        sent, room = Signal(range(32 * PAGE_WORDS // self._place.lanes), name="sent"), Signal(name="room")
        between = sent == 0
        m.d.comb += self.more.eq(~between | room)
        m.d.sync += [
            room.eq(between & (asked != 2)),
            asked.eq(asked + (between & self.pulsed) - leaves),
        ]
        if self._place.lanes == 4:  # as in `FlashStore`, and no part of what goes through the adder
            with m.If(self.pulsed):
                m.d.sync += sent.eq(sent + 1)
        else:
            m.d.sync += sent.eq(sent + self.pulsed)
        with m.If(self.start):
            m.d.sync += [sent.eq(0), asked.eq(0)]

    def _check(self, m: Module, whole: Value) -> Value:
        """Return whether the page that is whole now is not what it was."""
        lanes = self._place.lanes
        check = Signal(32, init=0xFFFF_FFFF, name="check")
        follows: Value = check
        for bit in reversed([self.bits[1]] if lanes == 1 else list(self.bits[:lanes])):
            follows = (follows << 1)[:32] ^ Mux(follows[31] ^ bit, POLYNOMIAL, 0)
        with m.If(self.taken):
            m.d.sync += check.eq(follows)
        # No bit is taken in the cycle in which a page is whole.
        with m.If(whole | self.start):
            m.d.sync += check.eq(0xFFFF_FFFF)
        return check != 0
