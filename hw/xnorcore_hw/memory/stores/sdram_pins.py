"""What goes between a controller and an SDRAM."""

from __future__ import annotations

from enum import IntEnum

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .sdram_chips import SdramChip

__all__ = ["PAD_STAGES", "PRECHARGE_ALL", "PadRegisters", "SdramCommand", "SdramPins"]

PAD_STAGES = 3
"""Registers on the way out: those of a DDR output of the families that have an SDRAM. On the way in, one."""

PRECHARGE_ALL = 1 << 10
"""Address bit of PRECHARGE that means every bank."""


class SdramCommand(IntEnum):
    """RAS#, CAS#, WE#, the first one least significant; CS# is low."""

    LOAD_MODE = 0b000
    PRECHARGE = 0b010
    REFRESH = 0b100
    ACTIVE = 0b110
    WRITE = 0b001
    READ = 0b101
    TERMINATE = 0b011
    NOP = 0b111


class SdramPins(wiring.Signature):
    """An SDRAM's signals, as a controller has them: CKE is high and CS# low for ever.

    Registers at the pads are between these and the chip (`PadRegisters`). The chip has the clock inverted, so
    that what it takes has changed half a cycle before; and what it gives is taken by the inverted clock.

    Members
    -------
    command : Out(3)
        `SdramCommand`.
    bank : Out(2)
    address : Out
        Of a row, or a column.
    mask : Out
        DQM, a bit for each byte: it is not written.
    o, oe : Out
        Data to write, and whether they are driven.
    i : In
        Data that are read.
    """

    def __init__(self, chip: SdramChip) -> None:
        self.chip = chip
        super().__init__(
            {
                "command": Out(3, init=SdramCommand.NOP),
                "bank": Out(2),
                "address": Out(chip.row_bits),
                "mask": Out(chip.width // 8),
                "o": Out(chip.width),
                "oe": Out(1),
                "i": In(chip.width),
            }
        )


class PadRegisters(wiring.Component):
    """The registers at the pads, for simulation.

    Members
    -------
    inner : In(SdramPins)
        The controller's.
    outer : Out(SdramPins)
        The chip's.
    """

    def __init__(self, chip: SdramChip) -> None:
        super().__init__({"inner": In(SdramPins(chip)), "outer": Out(SdramPins(chip))})

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        inner, outer = self.inner, self.outer
        for name in ("command", "bank", "address", "mask", "o", "oe"):
            source = getattr(inner, name)
            late = source
            for stage in range(PAD_STAGES):
                early, late = late, Signal.like(source, name=f"{name}_pad{stage}")
                m.d.sync += late.eq(early)
            m.d.comb += getattr(outer, name).eq(late)
        arrived = Signal.like(inner.i, name="i_pad")
        m.d.sync += arrived.eq(outer.i)
        m.d.comb += inner.i.eq(arrived)
        return m
