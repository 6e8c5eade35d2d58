"""A lane of the results unit multiplies by K and folds codes exactly, whatever the numbers are."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal, Value

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.scales import ADDEND_BITS, ADDEND_UNIT, MULTIPLIER_BITS
from xnorcore.isa.scaling import FACTOR_BITS, FACTOR_SHIFT
from xnorcore_hw.array import lane as lanes
from xnorcore_hw.array.factors import signs_and_magnitudes
from xnorcore_hw.array.lane import LANE_STAGES, ResultLane

from .models import delayed
from .scenario import Scenario


def lane(acc_width: int = 10, bits: int = 4, design: type[ResultLane] = ResultLane) -> Scenario:
    """Compare a lane with the formulas, in numbers that have as many bits as they need."""
    config = DeviceConfig(Geometry(1, 4, 8), acc_width, code_bits=bits, result_lanes=1, scale_depth=64)
    one = design(config)
    s = Scenario(one)
    m = s.m
    s.drive(one.acc, one.word, one.code_last, one.factor, one.multiplied, one.folded, one.old, one.pooled)
    s.assume(one.code_last < bits)
    s.assume((one.code_last > 0) | ~one.folded)
    # One multiplication, for the solver: that the product is one, and what becomes of any product.
    acc, word = delayed(m, one.acc, 1, "early_acc"), delayed(m, one.word, 1, "early_word")
    by = delayed(m, Mux(one.multiplied, one.factor, one.word[:MULTIPLIER_BITS]), 1, "early_by")
    s.claim(s.inside["product"] == s.past(acc.as_signed() * by, "right_product"), "product")
    words = delayed(m, word, LANE_STAGES - 1, "words")
    times = delayed(m, one.multiplied, LANE_STAGES, "times")
    product = delayed(m, s.inside["product"], 2, "product").as_signed()
    rest = words[MULTIPLIER_BITS:]
    exact = product + ADDEND_UNIT * rest[:ADDEND_BITS]
    # What is kept is earlier by one register.
    before = delayed(m, word, LANE_STAGES - 2, "before")[MULTIPLIER_BITS:][:ADDEND_BITS]
    early = delayed(m, s.inside["product"], 1, "early").as_signed() + ADDEND_UNIT * before
    age = Signal(range(LANE_STAGES + 1))
    with m.If(age < LANE_STAGES):
        m.d.sync += age.eq(age + 1)
    kept = Signal(early.shape())
    m.d.comb += kept.eq(early >> FACTOR_SHIFT)
    plain = ~delayed(m, one.multiplied, LANE_STAGES - 1, "was_multiplied")
    s.claim((age < LANE_STAGES) | ~plain | (one.kept == kept[:FACTOR_BITS]), "kept")
    value, largest, code = Signal(exact.shape()), Signal(bits), Signal(bits)
    half, above = Signal(bits), Signal(bits)
    shift = rest[ADDEND_BITS:]
    m.d.comb += [
        value.eq(exact >> shift),
        largest.eq((2 << one.code_last) - 1),
        half.eq(1 << one.code_last),
        code.eq(Mux(value < 0, 0, Mux(value > largest, largest, value))),
        above.eq(Mux(code >= half, code - half, half - 1 - code)),
    ]
    sign = Mux(code >= half, half, 0) + above
    limit = Cat(shift, rest[:ADDEND_BITS], words[:MULTIPLIER_BITS]).as_signed()
    multiplied = product + limit >= 0
    found = Mux(times, multiplied, Mux(one.folded, sign, code))
    larger = Mux(one.pooled & (one.old > found), one.old, found)
    s.claim((age < LANE_STAGES) | (one.code == larger), "code")
    old = age == LANE_STAGES
    s.reach(old & times & (product > 0) & ~multiplied, "below_threshold")
    s.reach(old & times & (product < 0) & multiplied, "above_threshold")
    s.reach(old & ~times & one.folded & (code == 1) & (one.code_last == bits - 1), "negative")
    return s


@pytest.mark.campaign
@pytest.mark.parametrize(("acc_width", "bits"), [(10, 4), (18, 3), (12, 8)])
def test_a_lane_multiplies_and_folds(acc_width: int, bits: int, tmp_path: Path) -> None:
    lane(acc_width, bits).prove(tmp_path, LANE_STAGES + 1, within=LANE_STAGES + 2)


def test_the_proof_sees_a_sign_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_over(m: Module, code: Value, code_last: Value, turns: Value) -> Value:
        turned = signs_and_magnitudes(m, code, code_last, turns)
        return turned ^ Mux(turns & (code == 0), 1 << code_last, 0)

    monkeypatch.setattr(lanes, "signs_and_magnitudes", all_over)
    assert lane(10, 3).refuted(tmp_path, cycles=LANE_STAGES + 2) == {"code"}
