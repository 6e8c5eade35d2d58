"""The pads of a serial flash: registers at each, and a clock with a pulse in the cycles that ask for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib import io

from xnorcore.isa.stores import FLASH_BITS
from xnorcore_hw.memory.stores.flash_pins import FlashPlace

if TYPE_CHECKING:
    from .chip import StoreChip
    from .families.family import Family

__all__ = ["flash_pads", "flash_place"]

LAG = 2
"""Cycles: a register on the way out, and one on the way in."""


def flash_place(chip: StoreChip) -> FlashPlace:
    """Return where a store is in a board's flash, and how that is wired."""
    # At a slower pace what the chip gives stays for longer, and is taken at its end.
    lag = LAG + chip.every - 1
    return FlashPlace(chip.first, FLASH_BITS[chip.kind] * chip.every, lag, chip.every)


def flash_pads(m: Module, family: Family, place: FlashPlace, port: Any, chip: Any) -> None:
    """Connect a `FlashSignature` with the pads of a resource that has `cs`, two or four `dq`, and a clock.

    Parameters
    ----------
    m : Module
    family : Family
        Makes the clock.
    place : FlashPlace
    port : amaranth.lib.io.PortLike
        Resource of the platform, without buffers.
    chip : FlashSignature
    """
    m.submodules.cs = select = io.FFBuffer("o", port.cs)
    m.d.comb += select.o.eq(chip.select)
    family.flash_clock(m, port, chip.clock)
    found = []
    for number in range(len(port.dq)):
        m.submodules[f"dq{number}"] = pad = io.FFBuffer("io", port.dq[number])
        m.d.comb += [pad.o.eq(chip.o[number]), pad.oe.eq(chip.drive[number])]
        found.append(pad.i)
    come: Value = Cat(*found)
    for stage in range(place.lag - LAG):
        early, come = come, Signal(len(found), name=f"come_d{stage}", reset_less=True)
        m.d.sync += come.eq(early)
    m.d.comb += chip.i.eq(Cat(come, Const(0b11, 2)))
