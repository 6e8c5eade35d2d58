"""One processing element: XNOR, popcount, accumulate, threshold."""

from __future__ import annotations

from amaranth import Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

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

    Parameters
    ----------
    width : int
        Bits of a word, even.
    acc_width : int
        Bits of the accumulator.

    Members
    -------
    x, w : In(width)
        Activation and weight word.
    valid : In(1)
        Without it the word counts as 0.
    start : In(acc_width)
        Added to the accumulator, with which it must share no bit: any number where that is 0, at most 1
        where it is doubled, otherwise 0.
    double, clear : In(1)
    bit : Out(1)
        1 if the sum of the cycle before is not negative.
    """

    def __init__(self, width: int, acc_width: int) -> None:
        self.width = width
        self.acc_width = acc_width
        super().__init__(
            {
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
        k = popcount_stages(self.width)
        match = Signal(self.width)
        m.d.sync += match.eq(~(self.x ^ self.w))
        # Constant ones in half of the lanes that pad to a power of two cancel: they add 0 to dot.
        spare = (1 << k) - self.width
        lanes = [*(Const(lane & 1, 1) for lane in range(spare)), *match]
        addends, odd, _ = popcount(m, lanes)

        # The count minus 2**(k-1) is the count with its top bit inverted, in two's complement.
        count, carry = Signal(k), Signal()
        total = Signal(k)
        m.d.comb += total.eq(addends[0] + addends[1] + addends[2])
        with m.If(self.valid):
            m.d.sync += [count.eq(total ^ (1 << (k - 1))), carry.eq(odd)]
        with m.Else():
            m.d.sync += [count.eq(0), carry.eq(0)]

        acc, base, total_next = (Signal(self.acc_width, name=n) for n in ("acc", "base", "next"))
        shifted = Signal(self.acc_width)
        m.d.comb += [
            shifted.eq(acc << 1),
            base.eq((shifted & self.double.replicate(self.acc_width))
                    | (acc & (~self.double).replicate(self.acc_width)) | self.start),
            total_next.eq(base + count.as_signed() + carry),
        ]  # fmt: skip
        m.d.sync += self.bit.eq(~total_next[-1])
        with m.If(self.clear):
            m.d.sync += acc.eq(0)
        with m.Else():
            m.d.sync += acc.eq(total_next)
        return m
