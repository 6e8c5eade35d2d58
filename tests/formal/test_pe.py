"""The processing element is its equation, and its accumulator is exact under the compiler's bound."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

from tests.campaigns import some
from xnorcore_hw.array.carry.generic import carry_of
from xnorcore_hw.array.pe import ProcessingElement, count_latency
from xnorcore_hw.array.popcount import lane_delays

from .models import NAMES, Platform, delayed, tree_count
from .scenario import Scenario


def counted_element(family: str, width: int, acc_width: int, element: type = ProcessingElement) -> tuple:
    """Feed an element its words as the array does; return the scenario, it and its beat's count, naively."""
    platform = Platform(family)
    pe = element(width, acc_width)
    s = Scenario(pe, platform)
    m, carry = s.m, carry_of(platform)
    s.drive(pe.start, pe.double, pe.clear)
    x, w = s.free(width, "x"), s.free(width, "w")
    delays, latency = lane_delays(width, carry), count_latency(width)
    for word, port, name in ((x, pe.x, "x"), (~w if carry.inverted else w, pe.w, "w")):
        late = [word]
        for stage in range(max(delays)):
            late.append(delayed(m, late[-1], 1, f"{name}_late{stage}_"))
        m.d.comb += port.eq(Cat(late[delay][lane] for lane, delay in enumerate(delays)))
    # Nothing is valid before its operands have gone through the pipeline.
    age = Signal(range(latency + 3))
    with m.If(age <= latency + 1):
        m.d.sync += age.eq(age + 1)
    valid = s.free(1, "valid")
    m.d.comb += pe.valid.eq(valid & (age > latency))
    naive = delayed(m, tree_count(x, w, carry.tables), latency, "naive").as_signed()
    count = Mux(s.past(pe.valid, "was_valid"), naive, 0)
    return s, pe, count


def beats(family: str, width: int, acc_width: int, element: type = ProcessingElement) -> tuple:
    """Feed an element as the array does, its start values, too."""
    s, pe, count = counted_element(family, width, acc_width, element)
    # The start value shares no bit with what it is added to; a doubled one has at most one (see the class).
    acc = s.inside["acc"]
    kept = Mux(pe.double, acc << 1, acc)[:acc_width]
    s.assume((kept & pe.start) == 0)
    s.assume(~pe.double | (pe.start <= 1))
    return s, pe, count


def equation(family: str, width: int, acc_width: int, element: type = ProcessingElement) -> Scenario:
    s, pe, count = beats(family, width, acc_width, element)
    m = s.m
    acc, bit = Signal(acc_width), Signal()
    total = (Mux(pe.double, acc << 1, acc) + pe.start + count)[:acc_width]
    m.d.sync += [acc.eq(Mux(pe.clear, 0, total)), bit.eq(total.as_signed() >= 0)]
    s.claim(s.inside["acc"] == acc, "sum")
    s.claim(pe.bit == bit, "bit")
    # A count that is not 0, added to a sum that is doubled and not 0, of either sign; and the sum cleared.
    adds = pe.double & (acc != 0) & (count != 0)
    s.reach(adds & (count > 0) & ~acc[-1], "doubled")
    s.reach(adds & (count < 0) & acc[-1], "doubled_below_zero")
    s.reach(s.past(pe.clear & (total != 0), "cleared") & bit, "cleared")
    return s


@pytest.mark.parametrize("family", some([*NAMES, "gowin"], 2))
@pytest.mark.parametrize("sizes", some([(8, 11), (32, 18)], 1))
def test_the_element_is_its_equation(family: str, sizes: tuple[int, int], tmp_path: Path) -> None:
    width, acc_width = sizes
    latency = count_latency(width)
    equation(family, width, acc_width).prove(tmp_path, latency + 4, within=latency + 5, family=family)


class Forgets(ProcessingElement):
    """Counts words that are not valid."""

    def elaborate(self, platform: object) -> Module:
        valid, self.valid = self.valid, Const(1)
        m = super().elaborate(platform)
        self.valid = valid
        return m


def test_the_proof_sees_a_word_too_many(tmp_path: Path) -> None:
    s = equation("generic", 8, 11, Forgets)
    assert "sum" in s.refuted(tmp_path, cycles=12)


@pytest.mark.campaign
def test_sums_are_exact_under_the_bound(tmp_path: Path) -> None:
    """The accumulator is the true sum as long as that is bound to fit; the compiler checks that it is.

    `start` is the true sum of start values, `reach` what words can have added to it at most; both double with
    the accumulator, and `tests/sw/test_bound.py` follows them through compiled layers.
    """
    width, acc_width, wide = 8, 11, 14
    s, pe, count = beats("generic", width, acc_width)
    m = s.m
    start, reach, true = Signal(wide), Signal(wide), Signal(wide)
    added = pe.start.as_signed()
    new_start = (Mux(pe.double, start << 1, start) + added)[:wide].as_signed()
    new_reach = (Mux(pe.double, reach << 1, reach) + width // 2)[:wide]
    new_true = (Mux(pe.double, true << 1, true) + added + count)[:wide]
    m.d.sync += [
        start.eq(Mux(pe.clear, 0, new_start)),
        reach.eq(Mux(pe.clear, 0, new_reach)),
        true.eq(Mux(pe.clear, 0, new_true)),
    ]
    # What the compiler guarantees, at every beat: start plus or minus reach fits.
    limit = 1 << (acc_width - 1)
    s.assume((new_start + new_reach < limit) & (new_start - new_reach >= -limit))
    s.assume((reach < limit) & (new_reach < limit))
    exact = Value.cast(s.inside["acc"]).as_signed()
    s.claim(exact == true.as_signed())
    s.claim((true.as_signed() - start.as_signed() <= reach) & (start.as_signed() - true.as_signed() <= reach))
    s.claim(pe.bit == s.past(new_true.as_signed() >= 0, "sign"))
    s.claim((start.as_signed() + reach < limit) & (start.as_signed() - reach >= -limit) & (reach < limit))
    s.reach((exact == limit - 1) & (reach > 0), "largest")
    s.reach((exact == -limit) & (reach > 0), "smallest")
    s.prove(tmp_path, count_latency(width) + 4, within=count_latency(width) + 12)
