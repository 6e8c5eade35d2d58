"""A results unit stays as small as the design asks: one lane that adds, saturates and multiplies by K."""

from __future__ import annotations

from tests.boards.unit_area import unit_area


def test_a_lane_with_values_and_factors_takes_350_tables_and_a_multiplier_block():
    luts, blocks = unit_area(1, 8, 1 << 14, 1 << 10)
    assert luts <= 350 and blocks == 1
