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
    small: Any = SimpleNamespace(
        value_depth=WORDS, code_bits=3, packed_rows=1, result_lanes=1, geometry=Geometry(1, 4, 8)
    )
    one = design(small)
    s = Scenario(one)
    m, change = s.m, one.change
    s.drive(change.as_value(), one.moves, one.ends, one.new)
    moves = one.moves & change.valued
    # Where what the layer before has kept begins; how many words that is, and were read; what is kept.
    base, left, read, kept = (
        Signal(range(2 * WORDS), name=name) for name in ("base", "left", "model_read", "kept")
    )
    taken, more, used = Signal.like(read), Signal.like(kept), Signal(range(4 * WORDS), name="used")
    m.d.comb += [
        taken.eq(read + (moves & change.adds & ~one.new & (read < left))),
        more.eq(kept + (moves & change.kept)),
        used.eq(left - taken + more),
    ]
    with m.If(moves & one.ends):
        m.d.sync += [base.eq(base + left), left.eq(more), read.eq(0), kept.eq(0)]
    with m.Else():
        m.d.sync += [read.eq(taken), kept.eq(more)]
    # As programs are: what is not read yet and what is kept fit the memory; the next one that adds waits.
    s.assume((more <= WORDS) & (~change.adds | (used <= WORDS)))
    ended = s.past(moves & one.ends, "was_end")
    s.assume(~(ended & moves & change.adds))
    moved, begun = s.past(moves, "moved"), s.past(1, "begun")
    none = one.new | (read >= left)
    count, fresh, unread = (
        s.past(value, name)
        for value, name in (
            (base + left + kept, "count"), (~change.adds | none, "was_fresh"), (base + taken, "unread"),
        )
    )  # fmt: skip
    adds, keeps = s.past(change.adds, "adds"), s.past(change.kept, "keeps")
    size = len(one.read)
    s.claim(ended | (one.read == (base + read)[:size]), "read")
    s.claim(~moved | (one.fresh == fresh), "fresh")
    s.claim(one.write == (moved & keeps), "write")
    s.claim(~(moved & keeps) | (one.written == count[:size]), "written")
    # Nothing is written over that is still to be read.
    s.claim(~(moved & keeps & adds) | ((count - unread)[: size + 1] < WORDS), "apart")
    # What the registers between them hold.
    s.claim(s.inside["ended"] == ended, "ended")
    following, behind = s.inside["following"], s.inside["behind"]
    begin = (base + left)[: size + 1]
    s.claim(Mux(ended, following == begin, behind == begin), "behind")
    s.claim(following == (base + left + kept)[: size + 1], "late")
    s.claim(Mux(ended, behind, s.inside["next_read"]) == (base + read)[: size + 1], "from")
    s.claim((kept <= WORDS) & (left <= WORDS) & (read <= left), "few")
    s.reach(begun & moved & adds & ~fresh & keeps & (one.written == 2), "added")
    s.reach(begun & moved & adds & fresh & (left == 2), "new")
    s.reach(begun & moved & adds & ~fresh & (one.written != unread[:size]) & (left == 3), "halved")
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
