"""Sums of rows: elements that count twice or do nothing, and what their columns add."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.array.carry.generic import carry_of
from xnorcore_hw.array.pe import ProcessingElement, count_latency
from xnorcore_hw.array.popcount import lane_delays
from xnorcore_hw.array.sums import RowSums

from .models import NAMES, Platform, delayed, tree_count
from .scenario import Scenario
from .test_codes import added
from .test_pe import counted_element


class SummingElement(ProcessingElement):
    """An element of a device with sums of rows."""

    def __init__(self, width: int, acc_width: int) -> None:
        super().__init__(width, acc_width, codes=True, sums=True)


def equation(family: str, width: int, acc_width: int, element: type = SummingElement) -> Scenario:
    s, pe, once = counted_element(family, width, acc_width, element)
    s.drive(pe.four, pe.hold)
    count = Mux(s.past(pe.four, "was_four"), once << 1, once)
    acc, bit, extra = Signal(acc_width), Signal(), added(s, pe, family)
    total = (Mux(pe.double, acc << 1, acc) + extra + count)[:acc_width]
    kept = Mux(pe.hold, acc, total)
    s.m.d.sync += [
        acc.eq(Mux(pe.clear, 0, kept)),
        bit.eq(Mux(pe.hold, bit, total.as_signed() >= 0)),
    ]
    s.claim(s.inside["acc"] == acc, "sum")
    s.claim(pe.bit == bit, "bit")
    s.claim(pe.sum == total, "next")
    twice = (count != once) & (acc != 0) & ~pe.hold
    s.reach(twice & (count > 0) & acc[-1], "twice")
    s.reach(twice & (count < 0) & pe.double, "twice_and_doubled")
    s.reach(pe.hold & (total != acc) & ~pe.clear & (acc != 0), "held")
    s.reach(pe.hold & pe.clear & (acc != 0), "cleared_while_held")
    return s


@pytest.mark.parametrize("family", some(NAMES, 1))
def test_an_element_counts_twice_or_does_nothing(family: str, tmp_path: Path) -> None:
    width, latency = 8, count_latency(8)
    equation(family, width, 11).prove(tmp_path, latency + 4, within=latency + 6, family=family)


class Once(SummingElement):
    """Counts once what is to count twice."""

    def elaborate(self, platform: object) -> Module:
        four, self.four = self.four, Const(0, 1)
        m = super().elaborate(platform)
        self.four = four
        return m


def test_the_proof_sees_a_count_that_is_not_doubled(tmp_path: Path) -> None:
    assert equation("generic", 8, 11, Once).refuted(tmp_path, cycles=12) & {"sum", "bit", "next"}


def adding(family: str, design: type[RowSums] = RowSums) -> Scenario:
    """Feed two rows as a column group does; columns are given the sum of what their row has read, negated."""
    platform, g = Platform(family), Geometry(2, 4, 8)
    config = DeviceConfig(g, acc_width=10, code_bits=2, row_sums=1)
    sums = design(config)
    s = Scenario(sums, platform)
    m, carry = s.m, carry_of(platform)
    latency, delays = count_latency(g.width), lane_delays(g.width, carry)
    s.drive(sums.double, sums.clear)
    shared, row = s.free(1, "shared"), s.free(2, "row")
    age = Signal(range(latency + 3))
    with m.If(age <= latency + 1):
        m.d.sync += age.eq(age + 1)
    m.d.comb += [sums.shared.eq(shared & (age > latency)), sums.adds.eq(Mux(row[1], 1 << row[0], 0))]
    counted, totals = s.past(sums.shared, "counted"), []
    for number in range(g.rows):
        x = s.free(g.width, f"x{number}")
        late = [x]
        for stage in range(max(delays)):
            late.append(delayed(m, late[-1], 1, f"x{number}_late{stage}_"))
        m.d.comb += sums.x.word_select(number, g.width).eq(
            Cat(late[delay][lane] for lane, delay in enumerate(delays))
        )
        counted_bits = tree_count(x, Const(0, g.width), carry.tables)
        count = delayed(m, counted_bits, latency, f"naive{number}_").as_signed()
        total, acc = Signal(config.acc_width, name=f"total{number}"), Signal(10, name=f"spec{number}")
        m.d.comb += total.eq(Mux(sums.double, acc << 1, acc) + Mux(counted, count, 0))
        m.d.sync += acc.eq(Mux(sums.clear, 0, total))
        s.claim(s.inside[f"pe{number}.acc"] == acc, f"sum{number}")
        totals.append(total)
    given: Value = Mux(row[0], totals[1], totals[0])
    s.claim(~row[1] | (sums.value == given), "value")
    s.claim(sums.adding == row[1], "adding")
    others = s.past(Mux(row[1], Mux(row[0], 0b01, 0b10), 0), "others")
    s.claim(sums.hold == others, "hold")
    apart = row[1] & (totals[0] != totals[1]) & (given != 0)
    s.reach(apart & row[0] & given[-1], "the_second_row")
    s.reach(apart & ~row[0] & ~given[-1], "the_first_row")
    return s


@pytest.mark.parametrize("family", some(NAMES, 1))
def test_columns_are_given_the_sum_of_their_row(family: str, tmp_path: Path) -> None:
    latency = count_latency(8)
    adding(family).prove(tmp_path, latency + 4, within=latency + 6, family=family)


class Holds(RowSums):
    """Lets no row do nothing."""

    def elaborate(self, platform: object) -> Module:
        hold, self.hold = self.hold, Signal(2)
        m = super().elaborate(platform)
        self.hold = hold
        return m


def test_the_proof_sees_a_row_that_adds_the_sum_of_another(tmp_path: Path) -> None:
    assert adding("generic", Holds).refuted(tmp_path, cycles=12) == {"hold"}
