"""Values beside the results unit: the sum is the nearest number, and every word is where the order says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Module, Mux, Signal, signed

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.array.values import ValueLane, ValuePlaces

from .scenario import Scenario

WORDS = 8
"""Of the memory: fewer than the smallest device's, for the solver."""


def config(bits: int) -> DeviceConfig:
    return DeviceConfig(Geometry(1, 4, 8), code_bits=bits, result_lanes=1, value_depth=64)


def lane(bits: int, design: type[ValueLane] = ValueLane) -> Scenario:
    """Compare a lane with numbers that have as many bits as they need."""
    one = design(config(bits))
    s = Scenario(one)
    m = s.m
    s.drive(one.change.as_value(), one.whole, one.code, one.absent, one.old)
    if bits < 8:
        s.assume(~one.whole)
    valued, less = s.past(one.change.valued, "valued"), s.past(one.change.offset, "less")
    code, absent, whole = (
        s.past(value, name)
        for value, name in ((one.code, "code"), (one.absent, "absent"), (one.whole, "whole"))
    )
    total, nearest, result = Signal(signed(12)), Signal(signed(12)), Signal(12)
    m.d.comb += [
        total.eq(one.old.as_signed() + Mux(absent, 0, code - less)),
        nearest.eq(Mux(total > 127, 127, Mux(total < -128, -128, total))),
        result.eq(Mux(whole, nearest + 128, nearest >= 0)),
    ]
    begun = s.past(1, "begun")
    s.claim(~(begun & valued) | (one.new.as_signed() == nearest), "new")
    s.claim(~begun | (one.result == Mux(valued, Mux(absent, 0, result), code)), "result")
    s.reach(begun & valued & (total > 127), "above")
    s.reach(begun & valued & (total < -128), "below")
    return s


@pytest.mark.campaign
@pytest.mark.parametrize("bits", [3, 8])
def test_a_lane_gives_the_nearest_value(bits: int, tmp_path: Path) -> None:
    lane(bits).prove(tmp_path, 2, within=3)


class Wraps(ValueLane):
    """Does not keep what is too large."""

    def elaborate(self, platform: object) -> Module:
        new, self.new = self.new, Signal(8)
        m = super().elaborate(platform)
        m.d.comb += new.eq(self.old.as_signed() + Signal(signed(9), name="step"))
        self.new = new
        return m


def test_the_proof_sees_a_sum_that_wraps(tmp_path: Path) -> None:
    assert "new" in lane(8, Wraps).refuted(tmp_path, cycles=3)


def places(design: type[ValuePlaces] = ValuePlaces) -> Scenario:
    """Compare with counts of words that were read and kept, without registers between."""
    small: Any = SimpleNamespace(value_depth=WORDS, code_bits=3)
    one = design(small)
    s = Scenario(one)
    m, change = s.m, one.change
    s.drive(change.as_value(), one.moves, one.ends)
    moves = one.moves & change.valued
    read, kept, left = (Signal(range(2 * WORDS), name=name) for name in ("model_read", "kept", "model_left"))
    with m.If(moves):
        m.d.sync += [read.eq(read + 1), kept.eq(kept + change.kept)]
        with m.If(one.ends):
            m.d.sync += [read.eq(0), kept.eq(0), left.eq(kept + change.kept)]
    # As programs are: what a layer reads lies in the memory, what it keeps fits it; the next one waits.
    s.assume(
        ~moves | (kept + change.kept <= WORDS) & ~(change.adds & (read >= WORDS)) & (read < 2 * WORDS - 1)
    )
    ended = s.past(moves & one.ends, "was_end")
    s.assume(~(ended & moves & change.adds))
    moved, begun = s.past(moves, "moved"), s.past(1, "begun")
    place, count, fresh = (
        s.past(value, name)
        for value, name in (
            (read, "place"), (kept, "count"), (~change.adds | (read >= left), "was_fresh"),
        )
    )  # fmt: skip
    adds, keeps = s.past(change.adds, "adds"), s.past(change.kept, "keeps")
    s.claim(one.read == read[: len(one.read)], "read")
    s.claim(~moved | (one.fresh == fresh), "fresh")
    s.claim(one.write == (moved & keeps), "write")
    s.claim(~(moved & keeps) | (one.written == count), "written")
    s.claim(~(moved & keeps & adds) | (one.written <= place), "behind")
    # What the registers between them hold.
    following = s.inside["following"]
    s.claim(s.inside["ended"] == ended, "ended")
    s.claim(
        Mux(ended, (kept == 0) & (left == following), (kept == following) & (left == s.inside["left"])),
        "late",
    )
    s.claim((kept <= WORDS) & (left <= WORDS) & (kept <= read), "few")
    s.reach(begun & moved & adds & ~fresh & keeps & (place == 2), "added")
    s.reach(begun & moved & adds & fresh & (left == 2), "new")
    s.reach(begun & moved & adds & keeps & (one.written == 1) & (place == 3), "halved")
    return s


@pytest.mark.campaign
def test_words_are_where_the_order_says(tmp_path: Path) -> None:
    places().prove(tmp_path, 3, within=10)


class Late(ValuePlaces):
    """Takes the words of the layer before the last for those of the last."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.sync += self.fresh.eq(~self.change.adds)
        return m


def test_the_proof_sees_values_of_another_layer(tmp_path: Path) -> None:
    assert places(Late).refuted(tmp_path, cycles=8) == {"fresh"}
