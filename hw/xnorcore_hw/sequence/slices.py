"""Scores leave the array in slices, a bit of each accumulator at a time; codes, threshold after threshold."""

from __future__ import annotations

from amaranth import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DESCRIPTOR

from ..interfaces import code_size
from ..parts.limits import at_least

__all__ = ["ScoreSlices"]


class ScoreSlices(wiring.Component):
    """Count the slices of a score, the most significant first, and say which of them are emitted.

    The thresholds of a code behind the first one come as slices do, and all are emitted. In front of either
    come the sums of rows; what would be emitted with the last beat is emitted with the last of these.

    Whether a beat issues is decided late in the cycle; what depends on it is known early, in registers.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    score : In(1)
        The layer emits scores.
    slices : In
        Bits that are emitted of each.
    codes : In
        Only where results may be codes: the layer emits them, of so many bits and one more.
    row_sum : In(1)
        With `config.row_sums`: the layer adds the sums of rows.
    issue : In(1)
        A beat or slice leaves the sequencer.
    emits, closes : In(1)
        Something is emitted with it; no slice follows. As at the `LoopNest`.
    draining : Out(1)
        It is a slice.
    compares : Out(1)
        Slices are thresholds, those behind the sums of rows.
    adds : Out(config.geometry.rows)
    next_adds : Out(1)
        With `config.row_sums`, one-hot: the row whose sum the slice adds; the next slice adds one.
    sliced, whole : Out(1)
        Slices follow the last beat of a position; something is emitted with it.
    next : Out(1)
        A slice comes next.
    next_emits, next_last : Out(1)
        Something is emitted with that slice; it is the last one.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        names = ("draining", "sliced", "whole", "next", "next_emits", "next_last")
        super().__init__(
            {
                "score": In(1),
                "slices": In(min(DESCRIPTOR.fields["slices"].width, config.acc_width.bit_length())),
                **({"codes": In(code_size(config)), "compares": Out(1)} if config.code_bits > 1 else {}),
                **({"row_sum": In(1)} if config.row_sums else {}),
                **({"adds": Out(config.geometry.rows), "next_adds": Out(1)} if config.row_sums else {}),
                "issue": In(1),
                "emits": In(1),
                "closes": In(1),
                **dict.fromkeys(names, Out(1)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        bits, left = self.config.acc_width, Signal.like(self.slices, name="left")
        all_but_one, last_but_one = Signal(), Signal()
        sliced, further, every = self.score, bits - 2, None
        if self.config.code_bits > 1:
            sliced, every = self.score | self.codes.any(), self.compares
            m.d.sync += self.compares.eq(~self.score & self.codes.any())
            # Behind the first threshold of 3, or of 7.
            further = Mux(every, Mux(self.codes == 1, 1, 5), bits - 2)
        whole = ~self.score | (self.slices == bits)
        sums = self.row_sum if self.config.row_sums else None
        m.d.sync += [
            self.sliced.eq(sliced if sums is None else sliced | sums),
            self.whole.eq(whole if sums is None else whole & ~sums),
            all_but_one.eq(at_least(self.slices, bits - 1)),
        ]
        # Slices that are counted have begun.
        counting = self.draining
        if self.config.row_sums:
            counting = self.draining & ~self.adds.any()
        emits = Mux(counting, self.emits | (left == self.slices) | last_but_one, all_but_one)
        last, emits = counting & last_but_one, emits if every is None else emits | every
        if self.config.row_sums:
            last, emits = self._sums(m, sliced, whole, last, emits)
        m.d.comb += [
            last_but_one.eq(left == 1),
            # The last slice always leaves: a layer ends, whatever its descriptor says.
            self.next.eq(self.issue & ~self.closes),
            self.next_last.eq(last),
            self.next_emits.eq(emits),
        ]
        with m.If(self.issue):
            m.d.sync += [
                left.eq(Mux(counting, left - 1, further)),
                self.draining.eq(~self.closes),
            ]
        return m

    def _sums(self, m: Module, sliced: Value, whole: Value, last: Value, emits: Value) -> tuple[Value, Value]:
        """Put the sums of rows in front of the other slices; return `next_last` and `next_emits`."""
        following = Signal.like(self.adds, name="adds_next")
        adds, others, all_of_it = Signal(name="row_sum"), Signal(name="others"), Signal(name="all_of_it")
        m.d.sync += [
            adds.eq(self.row_sum),
            others.eq(sliced),
            all_of_it.eq(whole),
        ]
        m.d.comb += [
            following.eq(Mux(self.draining, self.adds << 1, adds)),
            self.next_adds.eq(following.any()),
        ]
        with m.If(self.issue):
            m.d.sync += self.adds.eq(Mux(self.closes, 0, following))
        ends = following[-1]
        return Mux(ends, ~others, last), Mux(self.next_adds, ends & all_of_it, emits)
