"""Signals to and from a serial flash, and how one is wired."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import FLASH_BITS, StoreKind

__all__ = ["FlashPlace", "FlashSignature", "flash_of", "simulated"]


class FlashSignature(wiring.Signature):
    """Pins of a serial flash, one clock cycle of the FPGA at a time.

    Members
    -------
    select : Out(1)
        The chip is selected.
    clock : Out(1)
        Its clock has a pulse: it rises in the middle of the cycle, where the chip takes what is sent, and
        falls at the end, where the chip puts out the next bits.
    o : Out(4)
        IO0 to IO3; IO0 is the one way of a single line, IO1 the other.
    drive : Out(4)
        Which of them the FPGA drives.
    i : In(4)
        What is on them in this cycle.
    """

    def __init__(self) -> None:
        super().__init__(
            {"select": Out(1), "clock": Out(1), "o": Out(4, init=0b1100), "drive": Out(4), "i": In(4)}
        )


@dataclass(frozen=True)
class FlashPlace:
    """Where a store is in a flash, and how that is wired.

    Attributes
    ----------
    first : int
        Byte where the region begins, a multiple of its size: nothing else is ever changed.
    lanes : int
        Lines that data come on: 1, 2 or 4.
    lag : int
        Cycles that registers at the pads take, out and in together.
    every : int
        Cycles of the FPGA for each pulse of the flash's clock, at least: 1, or 2.
    wake : int
        Cycles from the release from power-down to the next command: 41 us at 100 MHz, of which chips need 3
        to 35.
    """

    first: int
    lanes: int = 4
    lag: int = 2
    every: int = 1
    wake: int = 1 << 12


_SIMULATED = 1 << 23
"""Where the region of a device begins that is no board's."""


def simulated(config: DeviceConfig) -> FlashPlace:
    """Return the flash beside a device that is no board's."""
    return FlashPlace(_SIMULATED, FLASH_BITS[StoreKind(config.store_kind)])


def flash_of(platform: object, config: DeviceConfig) -> FlashPlace:
    """Return the flash of a platform: its attribute `flash`, which a board sets; else a simulated one's."""
    return getattr(platform, "flash", None) or simulated(config)
