"""Several small additions on one carry chain: a generic form, and the cells of iCE40 and ECP5."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from amaranth import Cat, Const, Instance, Module, Signal, Value

__all__ = ["Addition", "Bit", "Carry", "Ecp5Carry", "GenericCarry", "Ice40Carry", "Product", "carry_for"]


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


def _at(bits: Sequence[Bit], index: int) -> Bit:
    return bits[index] if index < len(bits) else Const(0, 1)


class Carry(ABC):
    """How a family of FPGAs adds.

    Attributes
    ----------
    absorbs : bool
        Products may be added as they are; otherwise `low` and `high` of an addition are registered bits.
    multiplies : bool
        The carry of an addition may be a product all the same.
    inverted : bool
        Weights are stored inverted.
    """

    absorbs = False
    multiplies = False
    inverted = False

    @abstractmethod
    def add(self, m: Module, additions: Sequence[Addition], name: str) -> list[Value]:
        """Return the sums, `Addition.length` bits each, without a register."""

    def accumulate(
        self, m: Module, acc: Value, count: Value, carry: Value, start: Value, double: Value, name: str
    ) -> Value:
        """Return ``(double ? 2 * acc : acc) | start``, plus the signed `count` and `carry`.

        The sum has as many bits as `acc`; `start` is used as `ProcessingElement` says.
        """
        width = len(acc)
        base, total = Signal(width, name=f"{name}_base"), Signal(width, name=f"{name}_total")
        shifted = (acc << 1)[:width]
        m.d.comb += [
            base.eq((shifted & double.replicate(width)) | (acc & (~double).replicate(width)) | start),
            total.eq(base + count.as_signed() + carry),
        ]
        return total


class GenericCarry(Carry):
    """Plain sums, for simulation and for families without cells of their own here."""

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


class Ice40Carry(Carry):
    """SB_CARRY and SB_LUT4, a chain for each sum.

    A cell's carry is the majority of its second and third input and the carry below, its output any
    function of its inputs. A chain begins with a cell that adds the sum's carry to 1 and whose table makes
    the product that this carry may be; it ends with one that puts the last carry out, into its own flip-flop.
    """

    multiplies = True

    _SUM, _OUT, _INVERTED = 0xC33C, 0xFF00, 0x00FF

    def add(self, m: Module, additions: Sequence[Addition], name: str) -> list[Value]:
        """Return the sums."""
        return [self._sum(m, addition, f"{name}{index}") for index, addition in enumerate(additions)]

    def _sum(self, m: Module, addition: Addition, name: str) -> Value:
        zero, one = Const(0, 1), Const(1, 1)

        def carry_cell(place: str, low: Value, high: Value, below: Value) -> Value:
            above = Signal(name=f"{name}_c{place}")
            m.submodules[f"{name}_carry{place}"] = Instance(
                "SB_CARRY", a_keep=1, i_I0=low, i_I1=high, i_CI=below, o_CO=above
            )
            return above

        def table(place: str, init: int, low: Value, high: Value, below: Value) -> Value:
            out = Signal(name=f"{name}_o{place}")
            # Kept: Yosys would make a wire of the last one, and the carry would need a cell to leave the
            # chain and the flip-flop another.
            m.submodules[f"{name}_lut{place}"] = Instance(
                "SB_LUT4", a_keep=1, p_LUT_INIT=Const(init, 16),
                i_I0=zero, i_I1=low, i_I2=high, i_I3=below, o_O=out,
            )  # fmt: skip
            return out

        first = addition.carry
        carry: Value = zero
        if isinstance(first, Product):
            carry = carry_cell("in", ~(first.x ^ first.w), zero, one)
        elif first is not None:
            carry = first if isinstance(first, Const) else carry_cell("in", first, zero, one)
        bits = []
        for at in range(addition.length - 1):
            low, high = _at(addition.low, at), _at(addition.high, at)
            assert not isinstance(low, Product) and not isinstance(high, Product)
            bits.append(table(str(at), self._SUM, low, high, carry))
            carry = carry_cell(str(at), low, high, carry)
        last = self._INVERTED if addition.inverted else self._OUT
        return Cat(*bits, table("out", last, zero, zero, carry))


class Ecp5Carry(Carry):
    """CCU2C: two places with a look-up table of four inputs each, which multiply as well.

    A place's table says whether it passes the carry below on; otherwise its carry is the value of the table
    with the last two inputs 0. Sum of two products: the XOR of all four inputs. The place that takes a sum's
    carry out puts the next sum's carry in: its third input is 1, for which the table is 0.

    The first place needs no carry below, and the last one's is not connected: nextpnr would spend a CCU2C on
    each. The third and fourth input are never tied to 0, for which it would lay a wire, but to 1, which is
    free.
    """

    absorbs = True
    inverted = True

    _SUM, _OUT, _INVERTED, _ACCUMULATE = 0x6996, 0x0006, 0x00F6, 0x596A

    def add(self, m: Module, additions: Sequence[Addition], name: str) -> list[Value]:
        """Return the sums."""
        zero, one = Const(0, 1), Const(1, 1)

        def pair(bit: Bit | None) -> tuple[Value, Value]:
            if bit is None:
                return zero, zero
            return (bit.x, bit.w) if isinstance(bit, Product) else (bit, zero)

        order = sorted(range(len(additions)), key=lambda index: additions[index].place)
        chain = [additions[index] for index in order]
        places: list[tuple[int, tuple[Value, ...]]] = [(self._OUT, (*pair(chain[0].carry), one, zero))]
        for addition, above in zip(chain, [*chain[1:], None], strict=True):
            for place in range(addition.length - 1):
                inputs = (*pair(_at(addition.low, place)), *pair(_at(addition.high, place)))
                places.append((self._SUM, inputs))
            table = self._INVERTED if addition.inverted else self._OUT
            assert not addition.inverted or above is None
            places.append((table, (*pair(above.carry if above else None), one, zero)))
        out = self._chain(m, places, name)
        sums: list[Value] = [zero] * len(additions)
        at = 1
        for index in order:
            sums[index] = Cat(*out[at : at + additions[index].length])
            at += additions[index].length
        return sums

    def accumulate(
        self, m: Module, acc: Value, count: Value, carry: Value, start: Value, double: Value, name: str
    ) -> Value:
        """Return the sum; the table picks `acc` or its double."""
        zero, one = Const(0, 1), Const(1, 1)
        places: list[tuple[int, tuple[Value, ...]]] = [(self._OUT, (carry, zero, one, zero))]
        for place in range(len(acc)):
            below = acc[place - 1] if place else start[0]
            places.append(
                (
                    self._ACCUMULATE,
                    (count[min(place, len(count) - 1)], double, below, acc[place] | start[place]),
                )
            )
        return Cat(*self._chain(m, places, name)[1 : len(acc) + 1])

    @staticmethod
    def _chain(m: Module, places: list[tuple[int, tuple[Value, ...]]], name: str) -> list[Value]:
        zero = Const(0, 1)
        if len(places) % 2:
            places = [*places, (0, (zero, zero, zero, zero))]
        out = [Signal(name=f"{name}_s{index}") for index in range(len(places))]
        carry: Value | None = None
        for index in range(0, len(places), 2):
            pins: dict = {} if carry is None else {"i_CIN": carry}
            if index + 2 < len(places):
                pins["o_COUT"] = carry = Signal(name=f"{name}_c{index}")
            for half in range(2):
                init, inputs = _tied_high(*places[index + half])
                pins[f"p_INIT{half}"] = Const(init, 16)
                pins[f"p_INJECT1_{half}"] = "NO"
                pins[f"o_S{half}"] = out[index + half]
                pins |= {f"i_{pin}{half}": value for pin, value in zip("ABCD", inputs, strict=True)}
            m.submodules[f"{name}_ccu{index}"] = Instance("CCU2C", **pins)
        return out


def _tied_high(init: int, inputs: tuple[Value, ...]) -> tuple[int, tuple[Value, ...]]:
    # The four entries for 00 on the last two inputs stay, whatever these are: they make the carry.
    tied = list(inputs)
    for pin in (2, 3):
        value = inputs[pin]
        if isinstance(value, Const):
            for entry in range(16):
                if entry >> pin & 1:
                    source = entry if value.value else entry ^ 1 << pin
                    init = init & ~(1 << entry) | (init >> source & 1) << entry
            tied[pin] = Const(1, 1)
    return init, tuple(tied)


def carry_for(platform: object) -> Carry:
    """Return what suits a platform: by its `family` where that is ``ecp5``, ``ice40`` or ``ice5``."""
    family = str(getattr(platform, "family", "")).lower()
    if family == "ecp5":
        return Ecp5Carry()
    if family.startswith("ice"):
        return Ice40Carry()
    return GenericCarry()
