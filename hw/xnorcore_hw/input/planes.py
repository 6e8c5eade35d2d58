"""Turns values into bytes of their bit planes, eight values at a time."""

from __future__ import annotations

from itertools import pairwise

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

__all__ = ["BitPlanes"]


class BitPlanes(wiring.Component):
    """Shift bits of eight values in, and then a byte of each of their planes out.

    Each bit that comes in with a cycle has a shift register of its own. When eight values are in, the first
    of them holds the first plane: its bits at every so many places. The next plane comes there from the next
    register, where there are eight, or with a shift of the only one: a register bit has no source but two.

    A value takes one step on a device with a line buffer. On any other it takes eight, of two cycles, in a
    fraction of the logic: there no value is sent again and again, and whoever sends images waits.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    clear : In(1)
        The next step is the first value's.
    advance : In(1)
        This step is done: of a value while values come in, of a plane while planes go out.
    shift : In(1)
        Take the bits of this step.
    value : In(8)
    fill : In(1)
        There are no more values: take 0.
    bits_last : In(3)
        Bits of a value, minus one.
    go : Out(1)
        A step may be done in this cycle.
    value_last, column_last, last : Out(1)
        Last step of a value; of one at whose end a column may end (`config.column_align`); of the eighth one.
    plane : Out(8)
        Byte of the plane that goes out.
    plane_last : Out(1)
        It is the last one.
    turn : Out(1)
        The next plane comes with a shift.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.bits_per_step, self.align = 8 if config.line_bytes else 1, config.column_align
        super().__init__(
            {
                "clear": In(1),
                "advance": In(1),
                "shift": In(1),
                "value": In(8),
                "fill": In(1),
                "bits_last": In(3),
                "go": Out(1),
                "value_last": Out(1),
                "column_last": Out(1),
                "last": Out(1),
                "plane": Out(8),
                "plane_last": Out(1),
                "turn": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        width = self.bits_per_step
        steps = 8 // width
        count = Signal(range(8 * steps), reset_less=True)
        step, plane = count[: len(count) - 3], count[:3]
        whole = width == 8
        unit = count[: self.align.bit_length() - 1]
        m.d.comb += self.column_last.eq(unit.all() if len(unit) else 1)
        ends = [
            self.value_last.eq(step.all() if len(step) else 1),
            self.last.eq(count.all()),
            self.plane_last.eq(plane == self.bits_last),
        ]
        if whole:
            m.d.comb += [self.go.eq(1), *ends]
        else:
            # In registers: a step takes two cycles, one of them for what depends on `count`.
            m.d.sync += [self.go.eq(~self.advance), *ends]
        with m.If(self.clear):
            m.d.sync += count.eq(0)
        with m.Elif(self.advance):
            m.d.sync += count.eq(count + 1)

        bits = Signal(width)
        m.d.comb += bits.eq(Mux(self.fill, 0, self.value.word_select(step, width)))
        chains = [Signal(8 * steps, name=f"chain{number}", reset_less=True) for number in range(width)]
        with m.If(self.shift):
            m.d.sync += [chain.eq(Cat(chain[1:], bit)) for chain, bit in zip(chains, bits, strict=True)]
        with m.Elif(self.advance):
            m.d.sync += [chain.eq(above) for chain, above in pairwise(chains)]
        m.d.comb += [self.plane.eq(chains[0][::steps]), self.turn.eq(not whole)]
        return m
