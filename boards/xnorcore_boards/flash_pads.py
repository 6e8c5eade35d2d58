"""The pads of a serial flash: registers at each, and a clock with a pulse in the cycles that ask for one."""

from __future__ import annotations

from typing import Any

from amaranth import Cat, Const, Module
from amaranth.lib import io

from xnorcore_hw.memory.stores.flash_pins import FlashPlace

__all__ = ["flash_pads", "flash_place"]

LAG = 2
"""Cycles: a register on the way out, and one on the way in."""


def flash_place(first: int, resource: str) -> FlashPlace:
    """Return where a store is in a board's flash, and its lines, which end the resource's name."""
    return FlashPlace(first, lanes={"2x": 2, "4x": 4}[resource[-2:]], lag=LAG)


def flash_pads(m: Module, port: Any, chip: Any) -> None:
    """Connect a `FlashSignature` with the pads of a resource that has `cs`, `clk` and two or four `dq`.

    The clock is low in the first half of a cycle, and high in the second half of one with a pulse.
    """
    m.submodules.cs = select = io.FFBuffer("o", port.cs)
    m.submodules.clk = clock = io.DDRBuffer("o", port.clk)
    m.d.comb += [select.o.eq(chip.select), clock.o[0].eq(0), clock.o[1].eq(chip.clock)]
    found = []
    for number in range(len(port.dq)):
        m.submodules[f"dq{number}"] = pad = io.FFBuffer("io", port.dq[number])
        m.d.comb += [pad.o.eq(chip.o[number]), pad.oe.eq(chip.drive[number])]
        found.append(pad.i)
    m.d.comb += chip.i.eq(Cat(*found, Const(0b11, 2)))
