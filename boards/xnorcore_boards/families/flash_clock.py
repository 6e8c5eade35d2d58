"""The clock of a serial flash where no DDR register makes it."""

from __future__ import annotations

from amaranth import ClockDomain, ClockSignal, Module, Signal, Value

__all__ = ["pulsed"]


def pulsed(m: Module, pulse: Value) -> Value:
    """Return a clock that is high in the second half of the cycle behind each one with a pulse.

    It is the difference of two registers of which one changes at a time, so that it has no glitch. What a DDR
    register would be late by, and whether it has a way to the pin, does not matter.

    Parameters
    ----------
    m : Module
    pulse : Value
        1 bit, of the domain ``sync``.
    """
    rises, falls, late = (Signal(name=name, reset_less=True) for name in ("rises", "falls", "late"))
    m.domains.fall = ClockDomain("fall", clk_edge="neg", local=True, reset_less=True)
    m.d.comb += ClockSignal("fall").eq(ClockSignal())
    m.d.sync += [late.eq(pulse), falls.eq(rises)]
    m.d.fall += rises.eq(falls ^ late)
    return rises ^ falls
