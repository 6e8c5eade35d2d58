"""Every width's population count on every family's cells is the sum of the bits, for all operands."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tests.campaigns import some
from xnorcore_hw.array.carry.generic import carry_of
from xnorcore_hw.array.carry.ice40 import Ice40Carry
from xnorcore_hw.array.popcount import popcount_stages

from ..hw.test_carry import Count, Naive, extremes
from ..yosys import prove_equal, tell_apart
from .models import MODELS, Platform, delayed, tree_count


class Tree(wiring.Component):
    """`tree_count`, `popcount_stages` - 1 cycles later."""

    def __init__(self, width: int, tables: bool) -> None:
        self.width, self.tables = width, tables
        super().__init__({"x": In(width), "w": In(width), "count": Out(9)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        total = Signal(9)
        m.d.comb += total.eq(tree_count(self.x, self.w, self.tables))
        m.d.comb += self.count.eq(delayed(m, total, popcount_stages(self.width) - 1, "late"))
        return m


KINDS = ("ice40", "ecp5", "generic", "gowin")


@pytest.mark.parametrize(
    ("width", "family"),
    some([*((24, name) for name in KINDS), *((64, name) for name in KINDS), (128, "ecp5")], 2, many=True),
)
def test_popcount_is_the_sum_of_bits(family: str, width: int, tmp_path: Path) -> None:
    carry = carry_of(Platform(family))
    gold = rtlil.convert(Tree(width, carry.tables), name="gold")
    gate = rtlil.convert(Count(carry, width), name="gate")
    depth, reached = popcount_stages(width), extremes(width)
    prove_equal(gold, gate, MODELS.get(family, ""), tmp_path, depth, reached)


@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("width", [8, 12, 16])
def test_brackets_do_not_matter(width: int, tables: bool, tmp_path: Path) -> None:
    """The model itself, against the sum without brackets."""
    gold = rtlil.convert(Naive(width), name="gold")
    gate = rtlil.convert(Tree(width, tables), name="gate")
    prove_equal(gold, gate, "", tmp_path, popcount_stages(width), extremes(width))


def test_the_proof_sees_a_wrong_carry(tmp_path: Path) -> None:
    class Wrong(Ice40Carry):
        _INVERTED = 0xFF00  # the top bit of the last sum is not inverted

    gold = rtlil.convert(Tree(32, Wrong.tables), name="gold")
    gate = rtlil.convert(Count(Wrong(), 32), name="gate")
    last = tell_apart(gold, gate, MODELS["ice40"], tmp_path, depth=popcount_stages(32))[-1]
    assert last["gold_count"] != last["gate_count"]
