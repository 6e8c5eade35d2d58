"""Additions on the carry chains of iCE40."""

from __future__ import annotations

from collections.abc import Sequence

from amaranth import Cat, Const, Instance, Module, Signal, Value

from .generic import Addition, Carry, Product, bit_at

__all__ = ["Ice40Carry"]


class Ice40Carry(Carry):
    """SB_CARRY and SB_LUT4, a chain for each sum.

    A cell's carry is the majority of its second and third input and the carry below, its output any
    function of its inputs. A chain begins with a cell that adds the sum's carry to 1; if that is a product,
    the cell's own table and flip-flop make it in the cycle before. It ends with a cell that puts the last
    carry out, into its own flip-flop.
    """

    multiplies = True
    tables = True
    block = 16

    _SUM, _OUT, _INVERTED, _PRODUCT = 0xC33C, 0xFF00, 0x00FF, 0xAA55

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

        def table(place: str, init: int, low: Value, high: Value, below: Value, more: Value = zero) -> Value:
            out = Signal(name=f"{name}_o{place}")
            # Kept: Yosys would make a wire of the last one, and the carry would need a cell to leave the
            # chain and the flip-flop another.
            m.submodules[f"{name}_lut{place}"] = Instance(
                "SB_LUT4", a_keep=1, p_LUT_INIT=Const(init, 16),
                i_I0=more, i_I1=low, i_I2=high, i_I3=below, o_O=out,
            )  # fmt: skip
            return out

        first = addition.carry
        carry: Value = zero
        if isinstance(first, Product):
            # The cell's carry is an input of its table, which makes nothing of it: so both are one cell.
            product = Signal(name=f"{name}_in", reset_less=True)
            m.d.sync += product.eq(table("in", self._PRODUCT, product, zero, first.w, first.x))
            carry = carry_cell("in", product, zero, one)
        elif first is not None:
            carry = first if isinstance(first, Const) else carry_cell("in", first, zero, one)
        bits = []
        for at in range(addition.length - 1):
            low, high = bit_at(addition.low, at), bit_at(addition.high, at)
            assert not isinstance(low, Product) and not isinstance(high, Product)
            bits.append(table(str(at), self._SUM, low, high, carry))
            carry = carry_cell(str(at), low, high, carry)
        last = self._INVERTED if addition.inverted else self._OUT
        return Cat(*bits, table("out", last, zero, zero, carry))
