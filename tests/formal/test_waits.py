"""What holds beats back does so exactly as long as it has to, whatever comes."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Const, Module, Mux, Signal

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.sequence.hazards import LayerHazards, WritePort
from xnorcore_hw.sequence.readout import ReadoutArbiter
from xnorcore_hw.sequence.starts import SharedStarts

from .scenario import Scenario


def hazards_scenario(hazards: LayerHazards) -> Scenario:
    """Layers as a number: how many have begun and are not all written."""
    s = Scenario(hazards)
    s.drive(hazards.begin, hazards.depends, hazards.done)
    pending = Signal(2)
    s.m.d.sync += pending.eq(pending + hazards.begin - hazards.done)
    s.assume(~hazards.done | (pending != 0))
    s.assume(~hazards.begin | (pending < 2) | hazards.done)
    present, oldest, marks = (s.inside[name] for name in ("present", "oldest", "marks"))
    s.claim(pending < 3)
    s.claim((oldest == present) == (pending == 1))
    s.claim(marks == Mux(pending == 1, 1 << present, Mux(pending == 2, 3, 0)), "marks")
    s.claim(hazards.hazard == (s.past(hazards.depends, "depended") & (pending == 2)), "hazard")
    s.claim(hazards.unwritten == (pending != 0), "unwritten")
    s.reach(hazards.hazard & s.past(hazards.begin & hazards.done, "exchanged"), "exchanged")
    s.reach(s.past(hazards.hazard & hazards.done, "ends") & ~hazards.hazard, "ends")
    return s


def test_a_layer_waits_for_the_one_before_it(tmp_path: Path) -> None:
    hazards_scenario(LayerHazards()).prove(tmp_path, steps=2, within=8)


class Late(LayerHazards):
    """Forgets that a layer is done in the cycle in which the next one begins."""

    def elaborate(self, platform: object) -> Module:
        done = self.done
        self.done = done & ~self.begin
        m = super().elaborate(platform)
        self.done = done
        return m


def test_the_proof_sees_a_lost_end(tmp_path: Path) -> None:
    assert hazards_scenario(Late()).refuted(tmp_path, cycles=6) & {"marks"}


# Strips and parts of words; planes; a unit; kernel rows; rows whose results leave the unit early.
PORTS = [
    *(DeviceConfig(Geometry(rows, columns, 8)) for rows, columns in ((1, 8), (3, 8), (2, 32))),
    DeviceConfig(Geometry(2, 32, 16), code_bits=3),
    DeviceConfig(Geometry(3, 16, 8), code_bits=4, result_lanes=4),
    DeviceConfig(Geometry(2, 16, 32), packed_rows=1),
    DeviceConfig(Geometry(1, 16, 32), code_bits=2, result_lanes=2, value_depth=64, packed_rows=1),
]


@pytest.mark.parametrize("config", PORTS, ids=range(len(PORTS)))
def test_results_leave_time_for_the_words_before(config: DeviceConfig, tmp_path: Path) -> None:
    g, steps = config.geometry, config.geometry.columns // (config.result_lanes or config.geometry.columns)
    s = Scenario(port := WritePort(config))
    s.drive(port.result, port.strips)
    there = [name for name in ("planes_last", "unit", "packed", "short") if name in port.signature.members]
    s.drive(*(getattr(port, name) for name in there))
    planes, unit, packed, short = (
        getattr(port, name, Const(0)) for name in ("planes_last", "unit", "packed", "short")
    )
    s.assume((planes < config.code_bits) & (short < steps))
    written, parts = Signal(8), Signal(8)
    s.m.d.comb += [
        written.eq(g.words_per_tile * Mux(port.strips, g.rows, 1) * (planes + 1)),
        parts.eq(Mux(packed, 3, written)),
    ]
    most = max(g.rows * g.words_per_tile * config.code_bits, steps, 3 * config.packed_rows)
    words, since = Signal(6, init=1), Signal(6, init=1)
    with s.m.If(port.result):
        s.m.d.sync += [words.eq(Mux(unit & (parts < steps - short), steps - short, parts)), since.eq(1)]
    with s.m.Elif(~since.all()):
        s.m.d.sync += since.eq(since + 1)
    left = s.inside["left"]
    s.claim((words >= 1) & (words <= most) & (since >= 1))
    s.claim(left == Mux(since < words, words - since, 0))
    s.claim(port.busy == (since < words), "busy")
    s.reach(~port.busy & (words == most) & (since == words), "free")
    if "short" in there:
        s.reach((words == steps - 2) & (since == words), "short")
    s.prove(tmp_path, steps=2, within=most + 4)


def arbiter_scenario(arbiter: ReadoutArbiter) -> Scenario:
    s = Scenario(arbiter)
    s.drive(arbiter.valid, arbiter.reads, arbiter.bar)
    # Who asks waits for the grant; a beat that may not leave does not.
    s.assume(~s.past(arbiter.valid & ~arbiter.grant, "asked") | arbiter.valid)
    s.assume(~(arbiter.barred & arbiter.reads))
    waited = Signal(5)
    s.m.d.sync += waited.eq(Mux(arbiter.valid & ~arbiter.grant, waited + 1, 0))
    age = s.inside["age"]
    s.claim(Mux(waited == 16, age == 15, age == waited))
    s.claim((waited < 16) | arbiter.grant & (waited == 16), "waits")
    s.claim(~(arbiter.grant & arbiter.reads) & (~arbiter.grant | arbiter.barred), "alone")
    s.claim(~arbiter.grant | s.past(arbiter.valid, "before"), "unasked")
    s.claim(~s.past(arbiter.valid & ~arbiter.grant & ~arbiter.reads, "free") | arbiter.grant, "free")
    s.claim(arbiter.barred == (s.past(arbiter.bar, "bar") | arbiter.grant), "barred")
    s.reach(arbiter.grant & (waited == 16), "waited")
    s.reach(arbiter.grant & (waited == 1), "at_once")
    return s


def test_readouts_take_what_beats_leave_and_wait_16_cycles_at_most(tmp_path: Path) -> None:
    arbiter_scenario(ReadoutArbiter()).prove(tmp_path, steps=2, within=20)


class Careless(ReadoutArbiter):
    """Does not bar the beat of a cycle that it promises."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.sync += self.barred.eq(0)
        return m


def test_the_proof_sees_a_cycle_given_twice(tmp_path: Path) -> None:
    assert arbiter_scenario(Careless()).refuted(tmp_path, cycles=6) & {"alone", "barred"}


@pytest.mark.parametrize("share", [2, 4])
def test_start_values_keep_their_distance(share: int, tmp_path: Path) -> None:
    """A tile comes as soon after the last use of a start value as the columns need, and no later."""
    s = Scenario(starts := SharedStarts(DeviceConfig(Geometry(1, 16, 16), threshold_share=share)))
    s.drive(starts.first, starts.next_load)
    load, barred = s.free(1, "load"), s.past(starts.bar, "barred")
    # A tile's first beat is announced in the cycle before, and uses start values.
    s.assume(~load | (starts.first & s.past(starts.next_load & ~starts.bar, "allowed", init=1)))
    since, after = Signal(4, init=share), Signal(4)
    s.m.d.comb += after.eq(Mux(starts.first, 1, Mux(since == share, share, since + 1)))
    s.m.d.sync += since.eq(after)
    used, left = s.inside["used"], s.inside["left"]
    s.claim((since >= 1) & (since <= share))
    s.claim(used == (since < share))
    s.claim(~used | (left == share - since))
    s.claim(~load | (since == share), "distance")
    s.claim(starts.bar == (starts.next_load & (after < share)), "bar")
    s.claim(~barred | (since < share))
    s.reach(load & s.past(since == share - 1, "just"), "soonest")
    s.reach(starts.first & ~load & (since == 1), "at_once")
    s.prove(tmp_path, steps=2, within=share + 4)
