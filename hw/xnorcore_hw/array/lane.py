"""A lane of the results unit: a code of an accumulator, by a multiplication."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.scales import ADDEND_BITS, ADDEND_UNIT, MULTIPLIER_BITS, NO_CHANNEL, SHIFT_BITS
from xnorcore.isa.scaling import FACTOR_BITS, FACTOR_SHIFT

from ..interfaces import code_size
from ..parts.delay import delayed
from .factors import signs_and_magnitudes

__all__ = ["LANE_STAGES", "ResultLane", "larger"]

LANE_STAGES = 4
"""Cycles from an accumulator to its code."""


class ResultLane(wiring.Component):
    """Make ``(M * acc + 32 * b) >> r`` of accumulators, one a cycle, and of that the nearest code.

    Parameters
    ----------
    config : DeviceConfig
        With `result_lanes`.

    Members
    -------
    acc : In(acc_width)
    word : In(32)
        M, b and r (`xnorcore.isa.scales`), in the same cycle.
    code_last : In
        Bits of the code, minus one, when the `code` comes out.
    old : In(code_bits)
    pooled : In(1)
        The code is to be at least the `old` one; as late as `code_last`. Only where maps are pooled, and not
        with `config.value_depth`, where codes go on to values first.
    code : Out(code_bits)
        `LANE_STAGES` cycles later.
    absent : Out(1)
        With `config.value_depth`, as late as the code: the word says that there is no channel.
    factor : In(16)
    multiplied : In(1)
        With `config.scale_depth`, as early as the word: the accumulator is multiplied by `factor`, and the
        word is added to that; the code is 1 where the sum is not negative.
    folded : In(1)
        As late as `code_last`: the code is a sign and a magnitude.
    kept : Out(16)
        `LANE_STAGES` - 1 cycles later than an accumulator: it times M, shifted (`xnorcore.isa.scaling`).
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        bits = config.code_bits
        self.pools = bool(config.convolution and not config.value_depth)
        scaling = {"factor": In(FACTOR_BITS), "multiplied": In(1), "folded": In(1), "kept": Out(FACTOR_BITS)}
        super().__init__(
            {
                "acc": In(config.acc_width),
                "word": In(MULTIPLIER_BITS + ADDEND_BITS + SHIFT_BITS),
                "code_last": In(code_size(config)),
                **({"old": In(bits), "pooled": In(1)} if self.pools else {}),
                "code": Out(bits),
                **({"absent": Out(1)} if config.value_depth else {}),
                **(scaling if config.scale_depth else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        bits, size = self.config.code_bits, self.config.acc_width + MULTIPLIER_BITS
        # Registers in front of the multiplier and behind it, which its block has.
        acc, word = delayed(m, self.acc, 1, "acc"), delayed(m, self.word, 1, "word")
        multiplier, rest = word[:MULTIPLIER_BITS], word[MULTIPLIER_BITS:]
        product = Signal(size, name="product", reset_less=True)
        scaled = Signal(size + 1, name="scaled", reset_less=True)
        later = delayed(m, rest, 1, "rest")
        shift = delayed(m, later[ADDEND_BITS:], 1, "shift")
        addend = later[:ADDEND_BITS] << ADDEND_UNIT.bit_length() - 1
        if self.config.scale_depth:
            scaled = Signal(max(size, len(self.word)) + 1, name="scaled", reset_less=True)
            multiplier = delayed(
                m, Mux(self.multiplied, self.factor, self.word[:MULTIPLIER_BITS]), 1, "multiplier"
            )
            addend = self._limit(m, word, later[:ADDEND_BITS])
            m.d.comb += self.kept.eq(scaled[FACTOR_SHIFT:])
        m.d.sync += [
            product.eq(acc.as_signed() * multiplier),
            scaled.eq(product.as_signed() + addend),
        ]
        value, above = _shifted(m, scaled[:-1], shift, bits)
        kept = Signal(bits, name="value", reset_less=True)
        over, negative = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [kept.eq(value), over.eq(above), negative.eq(scaled[-1])]
        m.d.comb += self.code.eq(self._code(m, kept, over, negative))
        if self.config.value_depth:
            m.d.comb += self.absent.eq(delayed(m, shift == NO_CHANNEL, 1, "absent"))
        return m

    def _limit(self, m: Module, word: Value, middle: Value) -> Value:
        """Return what is added to a product: the addend; around it, where K multiplies, what M and r hold."""
        low, high = Signal(SHIFT_BITS, reset_less=True), Signal(MULTIPLIER_BITS, reset_less=True)
        times = delayed(m, self.multiplied, 1, "multiplied")
        m.d.sync += [
            low.eq(Mux(times, word[-SHIFT_BITS:], 0)),
            high.eq(Mux(times, word[:MULTIPLIER_BITS], 0)),
        ]
        return Cat(low, middle, high).as_signed()

    def _code(self, m: Module, value: Signal, over: Signal, negative: Signal) -> Value:
        """Return the nearest code, and the larger one of it and the old one where they are pooled here."""
        bits = self.config.code_bits
        mask = Cat(self.code_last >= place for place in range(bits))
        above, code = Signal(name="above"), Signal(bits, name="nearest")
        m.d.comb += [
            above.eq(over | (value & ~mask).any()),
            code.eq((value | above.replicate(bits)) & mask & (~negative).replicate(bits)),
        ]
        found: Value = code
        if self.config.scale_depth:
            found = signs_and_magnitudes(m, code, self.code_last, self.folded)
            times = delayed(m, self.multiplied, LANE_STAGES, "times")
            found = Mux(times, ~negative, found)
        return larger(found, self.old, self.pooled) if self.pools else found


def larger(code: Value, old: Value, pooled: Value) -> Value:
    """Return the larger one of two codes, or, where they are not `pooled`, the first one."""
    return Mux(pooled & (old > code), old, code)


def _shifted(m: Module, number: Value, shift: Value, bits: int) -> tuple[Value, Value]:
    """Return the lowest bits of a number that is shifted to the right, and whether there are others above."""
    over: Value = Signal(name="never")
    for place in reversed(range(SHIFT_BITS)):
        by, shifts = 1 << place, shift[place]
        # What the shifts that follow can still bring down.
        needed = bits + by - 1
        kept, high = number[by:], number[needed:]
        over = over | Mux(shifts, kept[needed:].any(), high.any())
        following = Signal(needed, name=f"shifted{by}")
        m.d.comb += following.eq(Mux(shifts, kept, number))
        number = following
    return number, over
