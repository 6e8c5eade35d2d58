"""Several small additions at once: what is asked of a family of FPGAs, and plain sums for any of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from amaranth import Cat, Const, Module, Signal, Value

__all__ = ["Addition", "Bit", "Carry", "GenericCarry", "Product", "bit_at", "carry_of"]


@dataclass(frozen=True)
class Product:
    """The product of two signs, ``x XNOR w``.

    Attributes
    ----------
    x, w : Value
        One bit each. `w` is inverted where the family's `inverted` says so.
    """

    x: Value
    w: Value


Bit = Value | Product


@dataclass(frozen=True)
class Addition:
    """Two numbers and a bit that are to be added.

    Attributes
    ----------
    low, high : sequence of Bit
        Least significant bit first; either may be the shorter one, or empty.
    carry : Bit or None
    inverted : bool
        Invert the top bit of the sum.
    place : int
        Order on a chain that several sums share, equal ones as they come.
    """

    low: Sequence[Bit]
    high: Sequence[Bit]
    carry: Bit | None = None
    inverted: bool = False
    place: int = 0

    @property
    def length(self) -> int:
        """Bits of the sum."""
        return max(len(self.low), len(self.high)) + 1


def bit_at(bits: Sequence[Bit], index: int) -> Bit:
    """Return a bit of a number; 0 above its last one."""
    return bits[index] if index < len(bits) else Const(0, 1)


class Carry(ABC):
    """How a family of FPGAs adds.

    Attributes
    ----------
    absorbs : bool
        Products may be added as they are; otherwise `low` and `high` of an addition are registered bits.
    multiplies : bool
        The carry of an addition may be a product all the same: that of the cycle before.
    inverted : bool
        Weights are stored inverted.
    tables : bool
        Three products are added in look-up tables rather than here, the third a cycle late.
    block : int
        Bits of a memory block's word: a weight's late bits have memories of their own where both parts fill
        such words. 0: registers make them late.
    joins : bool
        `accumulate` adds a start value to an accumulator that is not 0, too, if it is `joined`.
    """

    absorbs = False
    multiplies = False
    inverted = False
    tables = False
    block = 0
    joins = False

    @abstractmethod
    def add(self, m: Module, additions: Sequence[Addition], name: str) -> list[Value]:
        """Return the sums, `Addition.length` bits each, without a register."""

    def accumulate(
        self,
        m: Module,
        acc: Value,
        count: Value,
        carry: Value,
        start: Value,
        double: Value,
        name: str,
        *,
        joined: bool = False,
    ) -> Value:
        """Return ``(double ? 2 * acc : acc) | start``, plus the signed `count` and `carry`.

        The sum has as many bits as `acc`; `start` is used as `ProcessingElement` says. If it is `joined`,
        which a family with `joins` can do, it is added, and any number where `count` and `carry` are 0.
        """
        assert not joined
        width = len(acc)
        base, total = Signal(width, name=f"{name}_base"), Signal(width, name=f"{name}_total")
        shifted = (acc << 1)[:width]
        m.d.comb += [
            base.eq((shifted & double.replicate(width)) | (acc & (~double).replicate(width)) | start),
            total.eq(base + count.as_signed() + carry),
        ]
        return total


class GenericCarry(Carry):
    """Plain sums, for simulation and for families without cells of their own here.

    Parameters
    ----------
    tables : bool
        As of `Carry`. In front of an adder, which takes no more than a bit of each number, a product needs a
        table of its own; as tables of four inputs, two products and their sum take two.
    """

    def __init__(self, *, tables: bool = False) -> None:
        self.tables = tables

    def add(self, m: Module, additions: Sequence[Addition], name: str) -> list[Value]:
        """Return the sums."""
        sums = []
        for index, addition in enumerate(additions):
            total = Signal(addition.length, name=f"{name}{index}")
            carry = Const(0, 1) if addition.carry is None else addition.carry
            low, high = Cat(*addition.low), Cat(*addition.high)
            top = addition.inverted << (addition.length - 1)
            m.d.comb += total.eq((low + high + carry)[: addition.length] ^ top)
            sums.append(total)
        return sums


def carry_of(platform: object) -> Carry:
    """Return how a platform adds: its attribute `carry`, which a board sets; else plain sums."""
    return getattr(platform, "carry", None) or GenericCarry()
