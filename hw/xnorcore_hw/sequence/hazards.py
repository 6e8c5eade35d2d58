"""What beats wait for: the results of the layer before, and the last result's further words."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.packed import PARTS
from xnorcore.isa.scales import result_spacing

from ..given import unit_place_bits
from ..interfaces import code_size
from ..parts.sizes import bits_for_depth

__all__ = ["LayerHazards", "WordHazards", "WritePort"]


class LayerHazards(wiring.Component):
    """Know whether the results of the layer before the present one are all written.

    Layers alternate between two marks that their results are not; none begins while that before the one
    before it has its mark.

    Members
    -------
    begin : In(1)
        A layer's descriptor is complete: from the next cycle on, it is the present one.
    depends : In(1)
        The present layer reads what the layer before it writes.
    done : In(1)
        The last result of the oldest layer is being written.
    hazard : Out(1)
        The present layer must wait; ends with the cycle that writes the last result.
    unwritten : Out(1)
        Of some layer, not all results are written.
    """

    def __init__(self) -> None:
        super().__init__(
            {"begin": In(1), "depends": In(1), "done": In(1), "hazard": Out(1), "unwritten": Out(1)}
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        present, oldest = Signal(name="present"), Signal(name="oldest", init=1)
        marks = Signal(2, name="marks")
        with m.If(self.done):
            m.d.sync += [marks.bit_select(oldest, 1).eq(0), oldest.eq(~oldest)]
        with m.If(self.begin):
            # After it was cleared above: the layer before last may be done in this very cycle.
            m.d.sync += [marks.bit_select(~present, 1).eq(1), present.eq(~present)]
        before, written = Signal(), Signal()
        m.d.comb += [
            before.eq(Mux(self.begin, present, ~present)),
            written.eq(self.done & (oldest == before)),
            self.unwritten.eq(marks.any()),
        ]
        m.d.sync += self.hazard.eq(self.depends & marks.bit_select(before, 1) & ~written)
        return m


class WordHazards(wiring.Component):
    """Let beats wait for words of weights that have not come from the store.

    A beat that is held up waits for the word behind its own, too, which comes soon: so what is compared are
    registers, and the next beat's address needs not be known.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    stream : In(1)
        The present layer's weights come from the store.
    word, next_word : In
        Address of the present beat's word, and the one behind it. In the next cycle the beat is the same, or
        has the next word, or goes back to words that have been used.
    arrived : In
        The words before this one have come.
    lost : In(1)
        What has come is not what it was: results mean nothing, and wait for no more.
    waits : Out(1)
        No beat may leave.
    """

    def __init__(self, config: DeviceConfig) -> None:
        places = dict.fromkeys(("word", "next_word", "arrived"), In(bits_for_depth(config.weight_depth)))
        super().__init__({"stream": In(1), **places, "lost": In(1), "waits": Out(1)})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        near = (self.word == self.arrived) | (self.next_word == self.arrived)
        m.d.sync += self.waits.eq(self.stream & ~self.lost & near)
        return m


class WritePort(wiring.Component):
    """Know whether the words of the last result are still being written.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    result : In(1)
        A beat with a result leaves.
    strips : In(1)
        It has a part for each row.
    planes_last : In
        Only where results may be codes: so many times more parts.
    unit : In(1)
        With `config.result_lanes`: the results unit takes it, which it does a column after the other.
    packed : In(1)
        With `config.packed_rows`: it is written into the kernel rows that it is part of.
    short : In
        With `config.value_depth` as well: so many cycles of the unit are left out.
    busy : Out(1)
        A result of this cycle would come too early.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        codes = {"planes_last": In(code_size(config))} if config.code_bits > 1 else {}
        codes |= {"unit": In(1)} if config.result_lanes else {}
        codes |= {"packed": In(1)} if config.packed_rows else {}
        if config.packed_rows and config.value_depth:
            codes["short"] = In(unit_place_bits(config))
        super().__init__({"result": In(1), "strips": In(1), **codes, "busy": Out(1)})

    def take_rows(self, m: Module, descriptor: data.View) -> None:
        """Say in `m` how a layer's `descriptor` writes kernel rows, if the device does."""
        if self.config.packed_rows:
            m.d.comb += self.packed.eq(descriptor.packed)
        if self.config.packed_rows and self.config.value_depth:
            m.d.comb += self.short.eq(Mux(descriptor.valued, descriptor.value_short, 0))

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        g = self.config.geometry
        steps = result_spacing(1, self.config) if self.config.result_lanes else 1
        parts = PARTS if self.config.packed_rows else 1
        left = Signal(
            range(max(g.words_per_tile * g.rows * self.config.code_bits, steps, parts) + 1), name="left"
        )
        words = Mux(self.strips, g.rows * g.words_per_tile, g.words_per_tile)
        for more in range(1, self.config.code_bits):
            every = Mux(self.strips, (more + 1) * g.rows * g.words_per_tile, (more + 1) * g.words_per_tile)
            words = Mux(self.planes_last == more, every, words)
        if self.config.packed_rows:
            words = Mux(self.packed, PARTS, words)
        if self.config.result_lanes:
            least = steps - self.short if "short" in self.signature.members else steps
            words = Mux(self.unit & (words < least), least, words)
        with m.If(self.result):
            m.d.sync += [left.eq(words - 1), self.busy.eq(words != 1)]
        with m.Elif(left != 0):
            m.d.sync += [left.eq(left - 1), self.busy.eq(left != 1)]
        return m
