"""Cuts an operand that may start inside a word out of two words."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import CutLayout

__all__ = ["OperandCutter"]


class OperandCutter(wiring.Component):
    """Take an operand's bits out of the word at its address and the next one, and bring them to their lanes.

    Parameters
    ----------
    config : DeviceConfig
        With `offset_bits` > 0.

    Members
    -------
    odd : In(1)
        The word at the address is that of the odd addresses; a cycle before the words.
    cut : In(CutLayout)
        A cycle before the words.
    even_word, odd_word : In(width)
        The word at the address, and the next one.
    word : Out(width)
        One cycle after the words: the one at the address, if the offset is 0.
    x : Out(width)
        Three cycles after the words: the operand.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config, width = config, config.geometry.width
        super().__init__(
            {
                "odd": In(1),
                "cut": In(CutLayout(config)),
                "even_word": In(width),
                "odd_word": In(width),
                "word": Out(width),
                "x": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        width, bits, align = self.config.geometry.width, self.config.offset_bits, self.config.column_align
        now = Signal(CutLayout(self.config))
        m.d.sync += now.eq(self.cut)
        # The operand is the first word's bits from the offset on, and then the next one's bits below it: each
        # bit is taken out of its word first, and what was taken is rotated.
        swapped, crossed, taken = (Signal(size, reset_less=True) for size in (1, width, width))
        second = crossed ^ swapped.replicate(width)
        m.d.sync += [
            swapped.eq(self.odd),
            crossed.eq(Cat(bit.replicate(align) for bit in _below(self.cut.offset, width // align))),
            taken.eq(self.odd_word & second | self.even_word & ~second),
        ]
        m.d.comb += self.word.eq(taken)
        # Padding by ones comes in before the first turn, by zeros as no lanes that count: neither adds a
        # look-up table to a bit.
        # Every row has its own copies of the offset: they reach all of a word.
        late = Signal(bits, attrs={"keep": 1})
        ones, last, lanes = Signal(), Signal(), Signal(width.bit_length(), reset_less=True)
        counted = Mux(now.masked, now.lanes, width)
        m.d.sync += [
            late.eq(now.offset),
            ones.eq(now.pad & now.pad_one),
            last.eq(now.balance),
            lanes.eq(Mux(now.pad & ~now.pad_one, 0, counted)),
        ]
        # The higher bits of the offset in one cycle, the others in the next.
        low = bits // 2
        rest, turned = Signal(low, attrs={"keep": 1}), Signal(width, reset_less=True)
        rest_last, used, x = Signal(), Signal(width, reset_less=True), Signal(width, reset_less=True)
        m.d.sync += [
            rest.eq(late[:low]),
            turned.eq(_rotated(taken | ones.replicate(width), late[low:], align << low)),
            rest_last.eq(last),
            used.eq(_below(lanes, width)),
            x.eq(_rotated(turned, rest, align) & used | rest_last << (width - 1)),
        ]
        m.d.comb += self.x.eq(x)
        return m


def _below(number: Value, width: int) -> Value:
    """Return `width` bits, of which those below `number`, at most `width`, are 1.

    One 4-input lookup table for each bit: the number's upper three bits, and what the others say.
    """
    bits = (width - 1).bit_length()
    every = number[bits] if len(number) > bits else Const(0)
    split = max(bits - 3, 0)
    low, high = number[:split], number[split:bits] | every.replicate(bits - split)
    lower = [(low > place) | every for place in range(1 << split)]
    places = (divmod(place, 1 << split) for place in range(width))
    return Cat((high > upper) | (high == upper) & lower[place] for upper, place in places)


def _rotated(value: Value, number: Value, unit: int) -> Value:
    """Return `value` rotated to the right by `number` times `unit` bits."""
    for bit, on in enumerate(number):
        value = Mux(on, value.rotate_right(unit << bit), value)
    return value
