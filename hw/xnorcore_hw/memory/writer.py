"""Puts the bits that leave the array into activation memory, as the running layer's output says."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from xnorcore.isa.codes import MAX_COMPARED_BITS
from xnorcore.isa.device import DeviceConfig

from ..array.array import array_latency
from ..interfaces import Emission, LayerLayout
from ..parts.delay import delayed
from .place import MarkLayout, ResultPlace
from .ports import results

__all__ = ["ResultWriter"]


class ResultWriter(wiring.Component):
    """Pool and write emitted bits, one word a cycle, at the same address in all rows.

    The bits of a pooling window are ORed; the last emission of the window is the one that is written.
    Where results may be codes, a register for each counts the thresholds that are reached and were not
    before; of a pooling window the largest code is left. Planes are written one after the other.
    What the results unit gives comes as codes.
    With more columns than bits in a word, a result fills several words, written one after the other.
    With fewer, tiles of one position share a word: the first of them clears the word's other lanes.
    Strips: the rows' results go one after the other into all memories, at the rows' own addresses.

    Members
    -------
    emit : In(Emission)
        In step with the array's control word.
    layer : In(stream of LayerLayout)
        Taken with the first emission of a layer, which it must not come after; with `config.keeps_once`
        used from then on, and taken with the last result.
    bits : In(rows * columns)
        The array's output, `array_latency` cycles later.
    unit : In(Emission)
    codes : In(rows * columns * code_bits)
        With `config.result_lanes`: what the results unit gives in the next cycle, row by row; never together
        with what the array gives.
    o : Out(stream of ResultLayout)
        To all activation memories.
    next : Out(1)
        A word is written in the next cycle.
    layer_done, batch_done : Out(1)
        The last word of a layer (of a batch's last layer) is on its way into the memories.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        self.config = config
        super().__init__(
            {
                "emit": In(Emission),
                "layer": In(stream.Signature(LayerLayout(config))),
                "bits": In(g.rows * g.columns),
                **({"unit": In(Emission)} if config.result_lanes else {}),
                **({"codes": In(g.rows * g.columns * config.code_bits)} if config.result_lanes else {}),
                "o": Out(results(config)),
                **({"next": Out(1)} if config.act_ports == 1 else {}),
                "layer_done": Out(1),
                "batch_done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g, pools, o = self.config.geometry, self.config.convolution, self.o
        coded = self.config.code_bits > 1
        # What is emitted in the next cycle; it is taken apart on its last way to this one.
        early = delayed(m, self.emit, array_latency(self.config) - 1, "emit", resets=True)
        if self.config.result_lanes:
            early = early | self.unit
        emits, starts, now = Signal(), Signal(), Signal(MarkLayout)
        starting = (early != Emission.NONE) & (early != Emission.WINDOW)
        if coded:
            starting &= early != Emission.CODE
        m.d.sync += [
            emits.eq(early != Emission.NONE),
            starts.eq(starting),
            now.slice.eq(early == Emission.SLICE),
            now.tile.eq((early == Emission.TILE) | (early == Emission.LAYER)),
            now.layer_last.eq(early == Emission.LAYER),
        ]

        # The results begin one cycle before the layer's first emission arrives.
        m.submodules.place = place = ResultPlace(self.config)
        connect(m, flipped(self.layer), place.layer)
        fresh = Signal(init=1)
        with m.If(early != Emission.NONE):
            m.d.sync += fresh.eq(early == Emission.LAYER)
        m.d.comb += place.begin.eq((early != Emission.NONE) & fresh)

        if coded:
            pooled = self._codes(m, early == Emission.CODE, emits, starts)
        else:
            # Pooling: OR over a window.
            pooled, window = Signal(len(self.bits)), Signal(len(self.bits))
            m.d.comb += pooled.eq(self.bits | (window if pools else 0))
            with m.If(starts):
                m.d.sync += window.eq(0)
            with m.Elif(emits):
                m.d.sync += window.eq(pooled)

        # The parts of a result after the first wait in a register, with their marks.
        rest, writing = Signal(), Signal()
        kept, marks = Signal(MarkLayout), Signal(MarkLayout)
        later, bits = Signal(len(pooled), reset_less=True), Signal(len(pooled))
        chunk = len(o.p.bits[0])
        m.d.sync += rest.eq(writing & ~place.done)
        if self.config.act_ports == 1:
            m.d.comb += self.next.eq(starting | writing & ~place.done)
        m.d.comb += [
            writing.eq(starts | rest),
            *(marks[name].eq(Mux(rest, kept[name], now[name])) for name in MarkLayout.members),
            bits.eq(Mux(rest, later, pooled)),
            place.writing.eq(writing),
            place.marks.eq(marks),
        ]
        following = bits >> chunk
        if coded and g.rows > 1:
            # All rows have written a plane at once.
            whole = g.rows * g.columns - (g.words_per_tile - 1) * chunk
            following = Mux(place.turns & ~place.strips, bits >> whole, following)
        valid = writing
        if self.config.packed_rows:
            following, valid = self._rows(m, place, writing, bits, following)
        with m.If(writing):
            m.d.sync += [later.eq(following), kept.eq(marks)]

        m.d.comb += [
            o.valid.eq(valid),
            o.p.addr.eq(place.addr),
            o.p.mask.eq(place.mask),
            o.p.clear.eq(place.clear),
            self.layer_done.eq(place.done & marks.layer_last),
            self.batch_done.eq(self.layer_done & place.final),
        ]
        for row in range(g.rows):
            own = bits[row * g.columns :][:chunk]
            m.d.comb += o.p.bits[row].eq(Mux(place.strips, bits[:chunk], own))
        return m

    def _rows(
        self, m: Module, place: ResultPlace, writing: Signal, bits: Value, following: Value
    ) -> tuple[Value, Value]:
        """Return what is written in the next cycle, and whether anything is in this one."""
        field = place.field
        m.d.comb += [self.o.p[name].eq(field[name]) for name in ("packed", "halves", "quarters")]
        # The same bits go into all parts; of several planes there is only the first.
        plane = len(self.bits)
        kept = Mux(field.packed, bits[:plane], following[:plane])
        return Cat(kept, following[plane:]), writing & ~field.skip

    def _codes(self, m: Module, more: Value, emits: Value, starts: Value) -> Signal:
        """Return the codes so far with the bits of this cycle, planes of rows of columns.

        Parameters
        ----------
        m : Module
        more : Value
            In the next cycle, bits of a threshold are emitted that others follow.
        emits, starts : Value
            In this one, bits are emitted; they are the last ones of a result.
        """
        count, bits = len(self.bits), min(self.config.code_bits, MAX_COMPARED_BITS)
        level, follows = Signal(bits, name="level"), Signal(name="follows")
        m.d.sync += follows.eq(more)
        with m.If(emits):
            m.d.sync += level.eq(Mux(follows, level + 1, 0))
        codes = Signal(count * self.config.code_bits, name="codes")
        found: list[Value] = []
        for place in range(count):
            before = Signal(bits, name=f"code{place}")
            after = Signal(bits, name=f"code_after{place}")
            if self.config.convolution:
                m.d.comb += after.eq(_counted(before, self.bits[place], level))
            else:
                m.d.comb += after.eq(before + self.bits[place])
            with m.If(starts):
                m.d.sync += before.eq(0)
            with m.Elif(emits):
                m.d.sync += before.eq(after)
            found.append(after)
        if self.config.result_lanes:
            bits, unit = self.config.code_bits, Signal(name="of_unit")
            m.d.sync += unit.eq(self.unit != Emission.NONE)
            given = [self.codes.word_select(place, bits) for place in range(count)]
            found = [Mux(unit, *both) for both in zip(given, found, strict=True)]
        m.d.comb += codes.eq(Cat(one[plane] for plane in range(bits) for one in found))
        return codes


def _counted(code: Signal, sign: Value, level: Signal) -> Value:
    """Return `code`, and one more if the `sign` is that of the threshold of this number.

    A code of an earlier position of the window may be larger.
    """
    if len(code) > 2:
        return code + (sign & (code == level))
    # In small tables: the low bit rises at the first threshold, falls at the next one and rises at the last.
    low, high, second = code[0], code[1], level == 1
    hit = sign & (high == (level == 2))
    return Cat(Mux(second, low & ~hit, low | hit), high | sign & low & second)
