"""Naive models of arithmetic, and the families of FPGAs whose cells the proofs see through."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Signal, Value

from xnorcore_hw.array.carry.generic import GenericCarry
from xnorcore_hw.array.popcount import popcount_stages

from ..hw.test_carry import FAMILIES, MODELS

__all__ = ["FAMILIES", "MODELS", "NAMES", "Platform", "delayed", "tree_count"]

NAMES = ["ice40", "ecp5", "generic"]


class Platform:
    """Adds as a family does."""

    def __init__(self, family: str) -> None:
        self.carry = GenericCarry(tables=True) if family == "gowin" else FAMILIES.get(family)


def delayed(m: Module, value: Value, cycles: int, name: str) -> Value:
    """Return `value` some cycles later."""
    for stage in range(cycles):
        register = Signal(len(value), name=f"{name}{stage}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def tree_count(x: Value, w: Value, tables: bool = False) -> Value:
    """Return the number of bits in which `x` and `w` are equal, less half of their width.

    A plain sum, with brackets: P(2n + 1) = P(n) + P(n) + bit. A solver that has to find out by itself that
    brackets do not matter does not end from 32 bits on. Lanes that are missing to a power of two count as
    0 and 1 in turn. With `tables`, the innermost sums have the bits that `Carry.tables` gives them: two that
    are neighbours, and one of the upper half.
    """
    k = popcount_stages(len(x))
    bits = [*~(x ^ w), *(Const(lane & 1, 1) for lane in range((1 << k) - len(x)))]
    first, rest = bits[: 3 << (k - 2)], bits[3 << (k - 2) :]
    if tables:
        half = 1 << (k - 1)
        first = [first[at] for third in range(half // 2) for at in (2 * third, 2 * third + 1, half + third)]
    sums = [first[at] + first[at + 1] + first[at + 2] for at in range(0, len(first), 3)]
    while len(sums) > 1:
        sums = [sums[at] + sums[at + 1] + rest.pop(0) for at in range(0, len(sums), 2)]
    return (sums[0] + rest.pop(0) - (1 << (k - 1)))[: k + 2].as_signed()
