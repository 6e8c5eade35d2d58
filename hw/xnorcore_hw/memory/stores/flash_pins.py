"""Signals to and from a serial flash."""

from __future__ import annotations

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FlashSignature"]


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
