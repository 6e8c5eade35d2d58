"""A lane of the results unit gives the code that the numbers say, whatever they are; nothing overflows."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Const, Module, Mux, Signal

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.scales import ADDEND_BITS, ADDEND_UNIT, MULTIPLIER_BITS
from xnorcore_hw.array.lane import LANE_STAGES, ResultLane

from .models import delayed
from .scenario import Scenario


def config(bits: int, convolution: int = 1) -> DeviceConfig:
    lines = 4096 * convolution
    return DeviceConfig(
        Geometry(1, 4, 8), 10, code_bits=bits, result_lanes=1, convolution=convolution, line_bytes=lines
    )


def lane(bits: int, convolution: int = 1, design: type[ResultLane] = ResultLane) -> Scenario:
    """Compare a lane with the formula, in numbers that have as many bits as they need."""
    one = design(config(bits, convolution))
    s = Scenario(one)
    m = s.m
    s.drive(one.acc, one.word, one.code_last)
    # One multiplication, for the solver: that the product is one, and what becomes of any product.
    acc, word = delayed(m, one.acc, 1, "early_acc"), delayed(m, one.word, 1, "early_word")
    product = s.past(acc.as_signed() * word[:MULTIPLIER_BITS], "right_product")
    s.claim(s.inside["product"] == product, "product")
    rest = delayed(m, word[MULTIPLIER_BITS:], LANE_STAGES - 1, "rest")
    exact = delayed(m, s.inside["product"], 2, "product").as_signed() + ADDEND_UNIT * rest[:ADDEND_BITS]
    value, largest, code = Signal(exact.shape()), Signal(bits), Signal(bits)
    s.assume(one.code_last < bits)
    m.d.comb += [
        value.eq(exact >> rest[ADDEND_BITS:]),
        largest.eq((2 << one.code_last) - 1),
        code.eq(Mux(value < 0, 0, Mux(value > largest, largest, value))),
    ]
    if convolution:
        s.drive(one.old, one.pooled)
        larger = Mux(one.pooled & (one.old > code), one.old, code)
    else:
        larger = code
    age = Signal(range(LANE_STAGES + 1))
    with m.If(age < LANE_STAGES):
        m.d.sync += age.eq(age + 1)
    s.claim((age < LANE_STAGES) | (one.code == larger), "code")
    inside = (age == LANE_STAGES) & (value > 0) & (value < largest)
    s.reach(inside & (one.code_last == bits - 1) & (rest[ADDEND_BITS:] > 9), "inside")
    s.reach((age == LANE_STAGES) & (value == largest + 1) & (one.code_last == 1), "above")
    s.reach((age == LANE_STAGES) & (value < -1), "below")
    return s


@pytest.mark.campaign
@pytest.mark.parametrize(("bits", "convolution"), [(3, 1), (8, 0)])
def test_a_lane_gives_the_nearest_code(bits: int, convolution: int, tmp_path: Path) -> None:
    lane(bits, convolution).prove(tmp_path, LANE_STAGES + 1, within=LANE_STAGES + 2)


class Forgets(ResultLane):
    """Does not keep the larger code of a window."""

    def elaborate(self, platform: object) -> Module:
        pooled, self.pooled = self.pooled, Const(0, 1)
        m = super().elaborate(platform)
        self.pooled = pooled
        return m


def test_the_proof_sees_a_code_that_is_forgotten(tmp_path: Path) -> None:
    assert lane(3, 1, Forgets).refuted(tmp_path, cycles=LANE_STAGES + 2) == {"code"}
