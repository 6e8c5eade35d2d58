"""Pipelined population count built of full adders whose carry-in counts a bit of its own."""

from __future__ import annotations

from amaranth import Module, Signal, Value

__all__ = ["popcount", "popcount_stages"]


def popcount_stages(width: int) -> int:
    """Return k for a count over the next power of two, 2**k, at or above `width`."""
    return (width - 1).bit_length()


def _delay(m: Module, bit: Value, cycles: int, name: str) -> Value:
    for stage in range(cycles):
        register = Signal(name=f"{name}_d{stage}")
        m.d.sync += register.eq(bit)
        bit = register
    return bit


def _count(m: Module, bits: list[Value], name: str) -> tuple[Value, int]:
    # P(2n+1) = P(n) + P(n) + bit: both halves take the same number of cycles, the odd bit waits for them.
    if len(bits) == 1:
        return bits[0], 0
    half = (len(bits) - 1) // 2
    low, cycles = _count(m, bits[:half], f"{name}l")
    high, _ = _count(m, bits[half : 2 * half], f"{name}h")
    odd = _delay(m, bits[-1], cycles, f"{name}_odd")
    total = Signal(len(low) + 1, name=f"{name}_sum")
    m.d.sync += total.eq(low + high + odd)
    return total, cycles + 1


def popcount(m: Module, bits: list[Value], name: str = "pop") -> tuple[list[Value], Value, int]:
    """Count the ones among `bits`, all but the last register level and the last bit.

    Adds registers to the `sync` domain of `m`.

    Parameters
    ----------
    m : Module
    bits : list of Value
        2**k one-bit values, k >= 2.
    name : str
        Prefix of the registers' names.

    Returns
    -------
    addends : list of Value
        Two partial counts and a bit; their sum, at most 2**k - 1, counts all bits but the last one.
        The caller registers it.
    odd : Value
        The last bit, in step with the addends.
    cycles : int
        Latency from `bits` to `addends`, k - 2 cycles.
    """
    assert len(bits) >= 4 and not len(bits) & (len(bits) - 1)
    half = len(bits) // 2 - 1
    low, cycles = _count(m, bits[:half], f"{name}l")
    high, _ = _count(m, bits[half : 2 * half], f"{name}h")
    carry = _delay(m, bits[-2], cycles, f"{name}_carry")
    odd = _delay(m, bits[-1], cycles, f"{name}_odd")
    return [low, high, carry], odd, cycles
