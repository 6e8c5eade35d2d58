"""What is in a serial flash, and how it changes: erased to ones, programmed to zeros, word by word."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.hdl import Assert
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .flash_table import FlashTable

__all__ = ["FlashContent"]

_PAGE, _SECTOR, _BLOCK = 64, 1024, 16384
"""Words that are programmed, and erased, at once."""


class FlashContent(wiring.Component):
    """A region of a flash, the page that is to be programmed, and the change under way.

    A change goes over its words twice: first they become anything that it may leave on its way, then what is
    wanted. Whoever takes the chip's power finds some of them like that. The memory itself is one that
    simulators keep over a loss of power; bits are inverted there, so that it is erased at first.

    Parameters are those of `FlashModel`.

    Members
    -------
    address : In(24)
        Of a byte. A change begins there,
    byte : Out(8)
        and this is what it holds now.
    forget, put : In(1)
        No byte of the page is to be programmed; `data` is, at `place`.
    program, erase : In(1)
        Begin to change the page, the sector,
    last : In(1)
        or the block.
    busy : Out(1)
    """

    def __init__(
        self,
        clock_hz: int,
        first: int,
        words: int,
        table: FlashTable,
        pace: float,
        contents: tuple[int, ...] = (),
    ) -> None:
        assert words & (words - 1) == 0 and first % (4 * words) == 0, "a region lies at a multiple of itself"
        self._first, self._words = first, words
        self._contents = [word ^ 0xFFFF_FFFF for word in contents]
        times = ((table.program_s, _PAGE), (table.sector_s, _SECTOR), (table.block_s, _BLOCK))
        self._steps = [max(round(seconds * clock_hz * pace / count / 2), 1) for seconds, count in times]
        flags = dict.fromkeys(("forget", "put", "program", "erase", "last"), In(1))
        super().__init__(
            {"address": In(24), "byte": Out(8), "place": In(8), "data": In(8), **flags, "busy": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        bits = self._words.bit_length() - 1
        m.submodules.memory = memory = Memory(
            shape=32, depth=self._words, init=self._contents, attrs={"kept_without_power": 1}
        )
        m.submodules.page = page = Memory(shape=32, depth=_PAGE, init=[])
        read, write = memory.read_port(domain="comb"), memory.write_port()
        buffer, fill = page.read_port(domain="comb"), page.write_port(granularity=8)
        given = Signal(4 * _PAGE)
        busy, erases = self.busy, Signal()
        base, at, left = Signal(24), Signal(range(_BLOCK)), Signal(range(_BLOCK))
        pace, wait = Signal(range(max(self._steps) + 1)), Signal(range(max(self._steps) + 1))
        present = Mux(busy, base | at << 2, self.address)
        inside = (present >> bits + 2) == self._first >> bits + 2
        m.d.comb += [
            read.addr.eq(present[2:]),
            self.byte.eq(~(read.data.word_select(self.address[:2], 8)) | Mux(inside, 0, 0xFF)),
            fill.addr.eq(self.place[2:]),
            fill.data.eq((~self.data).replicate(4)),
            fill.en.eq(self.put << self.place[:2]),
        ]
        with m.If(self.put):
            m.d.sync += given.bit_select(self.place, 1).eq(1)
        with m.If(self.forget):
            m.d.sync += given.eq(0)
        with m.If(self.program | self.erase):
            m.d.sync += [busy.eq(1), erases.eq(self.erase), at.eq(0)]
            for index, (chosen, count) in enumerate(
                ((self.program, _PAGE), (self.erase & ~self.last, _SECTOR), (self.erase & self.last, _BLOCK))
            ):
                with m.If(chosen):
                    m.d.sync += [base.eq(self.address & -4 * count), left.eq(count - 1)]
                    m.d.sync += [pace.eq(self._steps[index] - 1), wait.eq(self._steps[index] - 1)]
        chosen = given.word_select(at, 4)
        mask = Cat(bit.replicate(8) for bit in chosen)
        final, noise = Signal(), Signal(32, init=0x9E3779B9)
        one = noise ^ (noise << 13)[:32]
        two = one ^ one >> 17
        m.d.sync += noise.eq(two ^ (two << 5)[:32])
        becomes = Mux(final, 0xFFFF_FFFF, noise)
        m.d.comb += [
            buffer.addr.eq(at),
            write.addr.eq(present[2:]),
            write.data.eq(Mux(erases, Mux(final, 0, noise), read.data | buffer.data & mask & becomes)),
        ]
        cut = self._cut(m, busy)
        with m.If(busy):
            m.d.sync += wait.eq(wait - 1)
            with m.If(wait == 0):
                m.d.comb += write.en.eq(inside)
                m.d.sync += [wait.eq(pace), at.eq(at + 1), left.eq(left - 1)]
                with m.If(left == 0):
                    m.d.sync += [at.eq(0), left.eq(at), final.eq(~final), busy.eq(~final)]
                with m.If(~inside):
                    m.d.sync += Assert(0, "flash: a change outside of the region that is there")
                # Whoever lost power in the middle cannot know what is there.
                with m.If(~erases & ~cut & (read.data & ~buffer.data & mask).any()):
                    m.d.sync += Assert(0, "flash: a bit that is 0 is to become 1 without erase")
        return m

    def _cut(self, m: Module, busy: Signal) -> Signal:
        """Return whether power was ever lost during a change, which is kept as well."""
        m.submodules.memory_of_cuts = memory = Memory(
            shape=1, depth=2, init=[], attrs={"kept_without_power": 1}
        )
        read, write, cut, started = memory.read_port(domain="comb"), memory.write_port(), Signal(), Signal()
        m.d.sync += started.eq(1)
        with m.If(~started):
            m.d.sync += cut.eq(read.data)
        m.d.comb += [write.en.eq(started), write.data.eq(busy | cut)]
        return cut
