"""One processing element: XNOR, popcount, accumulate, threshold."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .carry.generic import carry_of
from .popcount import popcount, popcount_stages

__all__ = ["ProcessingElement", "count_latency"]


def count_latency(width: int) -> int:
    """Return the cycles from a PE's `x` and `w` to the cycle in which `start`, `double` and `clear` apply.

    `valid` applies one cycle before them, and `bit` is there one cycle after them.
    """
    return popcount_stages(width)


class ProcessingElement(wiring.Component):
    """Accumulate dot / 2 of activation and weight words, one word a cycle.

    ``next = (double ? 2 * acc : acc) + start + popcount(x XNOR w) - width / 2``; ``acc <- clear ? 0 : next``;
    ``bit <- next >= 0``. With start = -T this is the threshold unit as well (docs/numerics.md).

    Where rows have sums, the count may count twice, and a beat may be without effect.

    Parameters
    ----------
    width : int
        Bits of a word, even.
    acc_width : int
        Bits of the accumulator.
    codes : bool
        A start value may be added to an accumulator that is not 0, where the word does not count.
    sums : bool
        The device has `row_sums`.
    given : bool
        What the accumulator becomes may be taken.

    Members
    -------
    x, w : In(width)
        Activation and weight word.
    valid : In(1)
        Without it the word counts as 0.
    start : In(acc_width)
        Added to the accumulator, with which it must share no bit: any number where that is 0, at most 1
        where it is doubled, otherwise 0. With `codes` and a family that `joins`, any number where the word
        counts as 0.
    whole : In(1)
    value : In(acc_width)
        With `codes`, for a family that does not join: where the word does not count, and `whole` is 1, the
        value is added. As early as `valid`.
    double, clear : In(1)
    bit : Out(1)
        1 if the sum of the cycle before is not negative.
    four, hold : In(1)
    sum : Out(acc_width)
        With `sums`: the word counts twice, as early as `valid`; `bit`, and the accumulator unless it is
        cleared, stay; what the accumulator becomes.
    total : Out(acc_width)
        If it is `given`: what the accumulator becomes, or stays, before it is cleared.
    """

    def __init__(
        self, width: int, acc_width: int, codes: bool = False, sums: bool = False, given: bool = False
    ) -> None:
        self.width = width
        self.acc_width = acc_width
        self.codes, self.sums, self.given = codes, sums, given
        super().__init__(
            {
                **({"whole": In(1), "value": In(acc_width)} if codes else {}),
                **({"four": In(1), "hold": In(1), "sum": Out(acc_width)} if sums else {}),
                **({"total": Out(acc_width)} if given else {}),
                "x": In(width),
                "w": In(width),
                "valid": In(1),
                "start": In(acc_width),
                "double": In(1),
                "clear": In(1),
                "bit": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        carry = carry_of(platform)
        total, last = popcount(m, carry, list(self.x), list(self.w))
        if self.sums:
            # Twice the count is all of it twice, the last product, too: as its last bit and as the carry.
            total = Mux(self.four, Cat(last, total), Cat(total, total[-1]))
        beside = self.codes and not carry.joins
        width = self.acc_width if beside else len(total)
        count, odd = Signal(width, reset_less=True), Signal(reset_less=True)
        if beside:
            with m.If(self.valid | self.whole):
                m.d.sync += count.eq(Mux(self.valid, total.as_signed(), self.value.as_signed()))
            with m.Else():
                m.d.sync += count.eq(0)
            m.d.sync += odd.eq(last & self.valid)
        else:
            with m.If(self.valid):
                m.d.sync += [count.eq(total), odd.eq(last)]
            with m.Else():
                m.d.sync += [count.eq(0), odd.eq(0)]

        acc = Signal(self.acc_width, reset_less=True)
        joined = self.codes and carry.joins
        following = carry.accumulate(m, acc, count, odd, self.start, self.double, "acc", joined=joined)
        bit = Signal(reset_less=True)
        sign = ~following[-1]
        if self.sums:
            m.d.comb += self.sum.eq(following)
            following, sign = Mux(self.hold, acc, following), Mux(self.hold, bit, sign)
        if self.given:
            m.d.comb += self.total.eq(following)
        m.d.sync += bit.eq(sign)
        m.d.comb += self.bit.eq(bit)
        with m.If(self.clear):
            m.d.sync += acc.eq(0)
        with m.Else():
            m.d.sync += acc.eq(following)
        return m
