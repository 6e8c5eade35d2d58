"""The families' adders against plain sums, for all inputs, by SAT on the cells' own models."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.campaigns import some
from xnorcore_hw.array.carry.ecp5 import Ecp5Carry
from xnorcore_hw.array.carry.generic import Addition, Carry, GenericCarry, Product, carry_of
from xnorcore_hw.array.carry.ice40 import Ice40Carry
from xnorcore_hw.array.popcount import lane_delays, popcount, popcount_stages

from ..yosys import cell_models, prove_equal, tell_apart

FAMILIES = {"ice40": Ice40Carry(), "ecp5": Ecp5Carry()}
MODELS = {
    "ice40": cell_models("ice40/cells_sim.v", "SB_LUT4", "SB_CARRY"),
    "ecp5": cell_models("lattice/common_sim.vh", "LUT4", "LUT2") + cell_models("ecp5/ccu2c_sim.vh", "CCU2C"),
}


class Sums(wiring.Component):
    """Three additions of different lengths on one chain, the operands of the first of them products."""

    def __init__(self, carry: Carry, length: int) -> None:
        self.carry, self.length = carry, length
        super().__init__(
            {
                "x": In(3),
                "w": In(3),
                "a": In(length),
                "b": In(length),
                "c": In(2),
                "sums": Out(2 * length + 4),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        products: list = []
        for x, w in zip(self.x, self.w, strict=True):
            w = ~w if self.carry.inverted else w
            products.append(Product(x, w) if self.carry.absorbs else ~(x ^ w))
        additions = [
            Addition(products[:1], products[1:2], products[2]),
            Addition(list(self.a), list(self.b), self.c[0]),
            Addition(list(self.a)[:1], list(self.b)[: self.length - 1], self.c[1], inverted=True),
        ]
        sums = self.carry.add(m, additions, "dut")
        at = 0
        for total in sums:
            m.d.comb += self.sums[at : at + len(total)].eq(total)
            at += len(total)
        assert at <= len(self.sums)
        return m


class Accumulate(wiring.Component):
    """One step of an accumulator, for the start values it may be given."""

    def __init__(self, carry: Carry, width: int, count: int) -> None:
        self.carry = carry
        super().__init__(
            {
                "acc": In(width),
                "count": In(count),
                "carry_in": In(1),
                "start": In(width),
                "double": In(1),
                "total": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        acc = self.acc & ~self.start  # they share no bit
        start = self.start & ((~self.double).replicate(len(self.start)) | 1)
        args = (acc, self.count, self.carry_in, start, self.double)
        total = self.carry.accumulate(m, *args, "dut")
        assert len(total) == len(self.acc)
        m.d.comb += self.total.eq(total)
        return m


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", some([5, 1, 2], 1))
def test_sums(family: str, length: int, tmp_path: Path) -> None:
    gold = rtlil.convert(Sums(GenericCarry(), length), name="gold")
    gate = rtlil.convert(Sums(FAMILIES[family], length), name="gate")
    reached = {"sums[1:0]": [0, 3], f"sums[{length + 2}:2]": [0, (2 << length) - 1]}
    prove_equal(gold, gate, MODELS[family], tmp_path, reached=reached)


class Count(wiring.Component):
    """A population count whose operands are delayed as it asks for."""

    def __init__(self, carry: Carry, width: int) -> None:
        self.carry, self.width = carry, width
        super().__init__({"x": In(width), "w": In(width), "count": Out(9)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        delays = lane_delays(self.width, self.carry)
        operands = []
        for word in (self.x, ~self.w if self.carry.inverted else self.w):
            late = [word]
            for stage in range(max(delays)):
                register = Signal(self.width, name=f"late{len(operands)}_{stage}", reset_less=True)
                m.d.sync += register.eq(late[-1])
                late.append(register)
            operands.append([late[delay][lane] for lane, delay in enumerate(delays)])
        count, last = popcount(m, self.carry, *operands)
        m.d.comb += self.count.eq(count.as_signed() + last)
        return m


def extremes(width: int) -> dict[str, list[int]]:
    """Return the counts, nine bits of them, of words that differ in all bits and of equal ones."""
    return {"count": [-(width // 2) & 0x1FF, width // 2]}


class Naive(wiring.Component):
    """Sum of the bits in which two words are equal, less half of the words' width, `stages` cycles later."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({"x": In(width), "w": In(width), "count": Out(9)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(9)
        m.d.comb += total.eq(sum(~(self.x ^ self.w)) - self.width // 2)
        for stage in range(popcount_stages(self.width) - 1):
            register = Signal(9, name=f"d{stage}", reset_less=True)
            m.d.sync += register.eq(total)
            total = register
        m.d.comb += self.count.eq(total)
        return m


@pytest.mark.parametrize("carry", [*FAMILIES.values(), GenericCarry(tables=True), GenericCarry()])
@pytest.mark.parametrize("width", some([8, 16], 1))
def test_popcount_is_the_sum_of_bits(carry: Carry, width: int, tmp_path: Path) -> None:
    gold = rtlil.convert(Naive(width), name="gold")
    gate = rtlil.convert(Count(carry, width), name="gate")
    depth, reached = popcount_stages(width), extremes(width)
    models = next((MODELS[name] for name, its in FAMILIES.items() if its is carry), "")
    prove_equal(gold, gate, models, tmp_path, depth, reached)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("width", "count"), some([(11, 5), (12, 4), (18, 6)], 2, many=True))
def test_accumulate(family: str, width: int, count: int, tmp_path: Path) -> None:
    gold = rtlil.convert(Accumulate(GenericCarry(), width, count), name="gold")
    gate = rtlil.convert(Accumulate(FAMILIES[family], width, count), name="gate")
    reached = {"total": [0, (1 << (width - 1)) - 1, 1 << (width - 1)]}
    prove_equal(gold, gate, MODELS[family], tmp_path, reached=reached)


def test_the_proof_sees_a_wrong_table(tmp_path: Path) -> None:
    class Wrong(Ecp5Carry):
        _SUM = 0x6996 ^ 1

    gold = rtlil.convert(Sums(GenericCarry(), 2), name="gold")
    gate = rtlil.convert(Sums(Wrong(), 2), name="gate")
    last = tell_apart(gold, gate, MODELS["ecp5"], tmp_path)[-1]
    assert last["gold_sums"] != last["gate_sums"]


def test_a_platform_says_how_it_adds() -> None:
    carry = Ecp5Carry()
    assert carry_of(type("Platform", (), {"carry": carry})()) is carry
    for platform in (None, type("Platform", (), {"family": "ecp5"})()):
        assert type(carry_of(platform)) is GenericCarry
