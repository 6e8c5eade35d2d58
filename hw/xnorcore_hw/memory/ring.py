"""Turns the words of a stream into writes of the buffers, which are rings."""

from __future__ import annotations

from enum import IntEnum

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.codes import MAX_COMPARED_BITS
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.scales import unit_cycles
from xnorcore.isa.stores import FLASHES
from xnorcore.isa.stream import LEVELS_AT, SCALED_AT, packed_columns, word_parts

from ..interfaces import RingSignature
from ..parts.counting import down_or_load, load_or_up
from ..parts.delay import delayed
from .activation import operand_latency
from .fill import fills

__all__ = ["RingWriter"]


class _Next(IntEnum):
    """What the next word is, in a block of a tile."""

    HEAD = 0
    START = 1
    WEIGHT = 2


class RingWriter(wiring.Component):
    """Follow the blocks of a stream (`xnorcore.isa.stream`) into the rings.

    A ring is full while but one place is free in front of the words, or the start values, of the tile whose
    beats leave: it never holds as many as it has places, or seems to hold none. So a start value is written
    over once the next tile but one is there, and a block behind that of the next one. It was read before:
    that takes fewer cycles from the tile's first beat on than a block does (tests/hw/test_prefetch.py).

    Of codes, start values of a tile that is past are written over some cycles later.

    That a ring is full is known a cycle late. Meanwhile, the free place may get the first part of a word.

    Where there are check words (`xnorcore.isa.sums`), a tile's last word of weights has not come before the
    tile's check word has: no beat takes it, and no result is there, until it is known whether all was right.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    clear : In(1)
        The next word begins a block, which goes where the present tile's words have ended.
    ring : In(RingSignature)
    word : In(stream of 32)
    check : Out(1)
        Not with a flash: the next one is a check word.
    fill : Out(stream of FillLayout)
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config, self._checks = config, config.store_kind not in FLASHES
        super().__init__(
            {
                "clear": In(1),
                "ring": In(RingSignature(config)),
                "word": In(stream.Signature(32)),
                **({"check": Out(1)} if self._checks else {}),
                "fill": Out(fills()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        config, ring, fill, word = self.config, self.ring, self.fill, self.word
        columns, shared, parts = config.geometry.columns, packed_columns(config), word_parts(config)
        following = Signal(_Next, name="following")
        left = Signal.like(ring.arrived, name="left", reset_less=True)
        # Start values of a column behind the present one.
        levels = Signal(min(config.code_bits, MAX_COMPARED_BITS), name="levels", reset_less=True)
        # Behind the columns count those of the results unit.
        unit, numbers = Signal(name="unit", reset_less=True), columns * (1 + (config.result_lanes > 0))
        column, part = Signal(range(numbers), name="column"), Signal(range(max(parts, 2)), name="part")
        arrived = Signal.like(ring.arrived, name="arrived", reset_less=True)
        start = Signal.like(ring.start, name="start", reset_less=True)
        is_start, is_weight = following == _Next.START, following == _Next.WEIGHT
        starts_full, weights_full = self._full(m, start, arrived)
        ready, filling = ~(is_start & starts_full) & ~(is_weight & weights_full), is_start | is_weight
        check = self.check if self._checks else Signal()
        if self._checks:
            # Check words go into no ring, and so wait for none.
            ready, filling = ready | check, filling & ~check
        m.d.comb += [
            ring.arrived.eq(arrived),
            word.ready.eq(ready),
            fill.valid.eq(word.valid & word.ready & filling),
            fill.p.addr.eq(Mux(is_start, start, arrived)),
            *(fill.p[name].eq(value) for name, value in {
                "starts": is_start, "bank": column, "part": part, "mask": 0b1111, "data": word.p,
            }.items()),
        ]  # fmt: skip
        part_end, row_end = part == parts - 1, Signal()
        last = Mux(unit, numbers - 1, columns - 1)
        m.d.comb += row_end.eq(column == Mux(is_start, last, columns - shared))
        # In one look-up table for each bit.
        starts, arrives, less = Signal.like(start), Signal.like(arrived), Signal.like(left)
        m.d.comb += [
            starts.eq(load_or_up(self.clear, ring.next_start, start)),
            arrives.eq(load_or_up(self.clear, ring.next_word, arrived)),
            less.eq(down_or_load(is_weight, left, word.p[: len(left)])),
        ]
        taken = word.valid & word.ready
        if self._checks:
            with m.If(taken):
                m.d.sync += check.eq(0)
            with m.If(taken & check & (following == _Next.HEAD)):
                m.d.sync += arrived.eq(arrives)
            taken &= ~check
        with m.If(taken):
            with m.Switch(following):
                with m.Case(_Next.HEAD):
                    m.d.sync += [left.eq(less), following.eq(_Next.START), check.eq(self._checks)]
                    if config.code_bits > 1:
                        m.d.sync += [levels.eq(word.p[LEVELS_AT:]), unit.eq(word.p[SCALED_AT])]
                with m.Case(_Next.START):
                    m.d.sync += column.eq(Mux(row_end, 0, column + 1))
                    with m.If(row_end):
                        m.d.sync += start.eq(starts)
                        if config.code_bits > 1:
                            m.d.sync += levels.eq(levels - 1)
                            with m.If(levels == 0):
                                m.d.sync += following.eq(_Next.WEIGHT)
                        else:
                            m.d.sync += following.eq(_Next.WEIGHT)
                with m.Case(_Next.WEIGHT):
                    m.d.sync += part.eq(Mux(part_end, 0, part + 1))
                    with m.If(part_end):
                        m.d.sync += column.eq(Mux(row_end, 0, column + shared))
                        with m.If(row_end):
                            m.d.sync += [arrived.eq(arrives), left.eq(less)]
                            with m.If(left == 1):
                                m.d.sync += following.eq(_Next.HEAD)
                                if self._checks:
                                    m.d.sync += [arrived.eq(arrived), check.eq(1)]
        with m.If(self.clear):
            m.d.sync += [following.eq(_Next.HEAD), column.eq(0), part.eq(0)]
            m.d.sync += [arrived.eq(arrives), start.eq(starts)]
            if self._checks:
                m.d.sync += check.eq(0)
        return m

    def _full(self, m: Module, start: Signal, arrived: Signal) -> tuple[Signal, Signal]:
        """Return whether there is no place for a start value at `start`, or a word at `arrived`."""
        config, ring = self.config, self.ring
        starts_full, weights_full = Signal(name="starts_full"), Signal(name="weights_full")
        # Operands come later than the words that they meet.
        base = delayed(m, ring.base, operand_latency(config) - 1, "base")
        full = (arrived + 1)[: len(arrived)] == base
        if config.geometry.columns // packed_columns(config) * word_parts(config) == 1:
            # A word of every column takes but one cycle, and is not to be the last free one.
            full |= (arrived + 2)[: len(arrived)] == base
        used = self._used(m) if config.code_bits > 1 else ring.start
        m.d.sync += [starts_full.eq((start + 1)[: len(start)] == used), weights_full.eq(full)]
        return starts_full, weights_full

    def _used(self, m: Module) -> Signal:
        """Return the first start value of a tile that was the present one some time ago.

        Several start values of a tile come right behind each other. Those of the tile before are read until
        its last beat is through the array.
        """
        ring, cycles = self.ring, self.config.latency
        if self.config.result_lanes:
            # The results unit reads its words of a column after the other.
            cycles += unit_cycles(self.config)
        seen, used = (Signal.like(ring.start, name=name, reset_less=True) for name in ("seen", "used"))
        left = Signal(range(cycles + 1), name="wait")
        m.d.sync += left.eq(Mux(left == 0, cycles, left - 1))
        with m.If(self.clear):
            m.d.sync += [seen.eq(ring.next_start), used.eq(ring.next_start)]
        with m.Elif(left == 0):
            m.d.sync += [seen.eq(ring.start), used.eq(seen)]
        return used
