"""Clock generators: every plan keeps its PLL's limits and gives what it says."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnorcore.errors import BuildError
from xnorcore_boards.families.ecp5 import LFE5U_25F_BG381
from xnorcore_boards.families.gatemate import CCGM1A1
from xnorcore_boards.families.gowin import GW1NR_9C_QN88P, GW2AR_18C_QN88
from xnorcore_boards.families.ice40 import HX8K_CT256

MHZ = 1_000_000
INPUTS = st.sampled_from([12 * MHZ, 25 * MHZ, 27 * MHZ, 48 * MHZ, 50 * MHZ, 100 * MHZ, 13_333_333])
OUTPUTS = st.integers(1 * MHZ, 450 * MHZ)


def plan_or_none(family, input_hz, wanted_hz):
    try:
        plan = family.plan(input_hz, wanted_hz)
    except BuildError as error:
        assert "MHz" in str(error)
        return None
    assert abs(plan.output_hz - wanted_hz) <= Fraction(wanted_hz, 100)
    return plan


@given(INPUTS, OUTPUTS)
def test_ice40(input_hz, wanted_hz):
    if plan := plan_or_none(HX8K_CT256.family, input_hz, wanted_hz):
        s = plan.settings
        pfd = Fraction(input_hz, s["DIVR"] + 1)
        assert plan.vco_hz == pfd * (s["DIVF"] + 1)
        assert plan.output_hz == plan.vco_hz / 2 ** s["DIVQ"]
        assert s["DIVR"] < 16 and s["DIVF"] < 128 and 1 <= s["DIVQ"] <= 6
        assert 10 * MHZ <= pfd <= 133 * MHZ and 533 * MHZ <= plan.vco_hz <= 1066 * MHZ
        assert 16 * MHZ <= wanted_hz <= 275 * MHZ


@given(INPUTS, OUTPUTS)
def test_ecp5(input_hz, wanted_hz):
    if plan := plan_or_none(LFE5U_25F_BG381.family, input_hz, wanted_hz):
        s = plan.settings
        assert plan.output_hz == Fraction(input_hz * s["CLKFB_DIV"], s["CLKI_DIV"])
        assert plan.vco_hz == plan.output_hz * s["CLKOP_DIV"]
        assert all(1 <= divider <= 128 for divider in s.values())
        assert 400 * MHZ <= plan.vco_hz <= 800 * MHZ
        assert 3_125_000 <= Fraction(input_hz, s["CLKI_DIV"]) <= 400 * MHZ


@pytest.mark.parametrize("part, vco", [(GW1NR_9C_QN88P, (400, 1200)), (GW2AR_18C_QN88, (500, 1250))])
@given(input_hz=INPUTS, wanted_hz=OUTPUTS)
def test_gowin(part, vco, input_hz, wanted_hz):
    if plan := plan_or_none(part.family, input_hz, wanted_hz):
        s = plan.settings
        assert plan.output_hz == Fraction(input_hz * (s["FBDIV"] + 1), s["IDIV"] + 1)
        assert plan.vco_hz == plan.output_hz * s["ODIV"]
        assert s["IDIV"] < 64 and s["FBDIV"] < 64
        assert vco[0] * MHZ <= plan.vco_hz <= vco[1] * MHZ


@given(INPUTS, OUTPUTS)
def test_gatemate(input_hz, wanted_hz):
    if plan := plan_or_none(CCGM1A1.family, input_hz, wanted_hz):
        assert plan.output_hz * 2 % input_hz == 0 and input_hz < plan.output_hz <= 250 * MHZ
        assert input_hz <= 50 * MHZ


@pytest.mark.parametrize(
    "part, input_mhz, mhz, settings",
    [
        # What icepll and ecppll print for the same frequencies.
        (HX8K_CT256, 12, 108, {"DIVR": 0, "DIVF": 71, "DIVQ": 3, "FILTER_RANGE": 1}),
        (HX8K_CT256, 12, 36, {"DIVR": 0, "DIVF": 47, "DIVQ": 4, "FILTER_RANGE": 1}),
        (LFE5U_25F_BG381, 25, 100, {"CLKI_DIV": 1, "CLKFB_DIV": 4, "CLKOP_DIV": 6}),
    ],
)
def test_known_settings(part, input_mhz, mhz, settings):
    assert part.family.plan(input_mhz * MHZ, mhz * MHZ).settings == settings


def test_out_of_reach():
    with pytest.raises(BuildError, match=r"SB_PLL40: .* 12 MHz .* 400 MHz"):
        HX8K_CT256.family.plan(12 * MHZ, 400 * MHZ)
    with pytest.raises(BuildError, match="cannot be made from 25 MHz; the nearest is"):
        LFE5U_25F_BG381.family.plan(25 * MHZ, 3_200_000)
