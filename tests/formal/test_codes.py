"""Threshold beats are the comparison with all thresholds: in the element, and in what counts its signs."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Const, Module, Mux, Signal, Value

from tests.campaigns import some
from xnorcore.isa.codes import start_words
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.array.array import array_latency
from xnorcore_hw.array.carry.generic import carry_of
from xnorcore_hw.array.pe import ProcessingElement, count_latency
from xnorcore_hw.interfaces import Emission
from xnorcore_hw.memory import writer

from .models import NAMES, Platform
from .scenario import Scenario
from .test_pe import counted_element


class CodedElement(ProcessingElement):
    """An element of a device with codes."""

    def __init__(self, width: int, acc_width: int) -> None:
        super().__init__(width, acc_width, codes=True)


def added(s: Scenario, pe: ProcessingElement, family: str) -> Value:
    """Let start values come as an array of the family gives them; return what a beat adds of them."""
    kept = Mux(pe.double, s.inside["acc"] << 1, s.inside["acc"])[: pe.acc_width]
    apart = ((kept & pe.start) == 0) & (~pe.double | (pe.start <= 1))
    if carry_of(Platform(family)).joins:
        s.assume(apart | ~s.past(pe.valid, "counts"))
        return pe.start.as_signed()
    s.assume(apart)
    s.drive(pe.whole, pe.value)
    beside = s.past(Mux(pe.whole & ~pe.valid, pe.value, 0), "beside")
    return (pe.start + beside)[: pe.acc_width].as_signed()


def equation(family: str, width: int, acc_width: int, element: type = CodedElement) -> Scenario:
    s, pe, count = counted_element(family, width, acc_width, element)
    acc, bit, extra = Signal(acc_width), Signal(), added(s, pe, family)
    total = (Mux(pe.double, acc << 1, acc) + extra + count)[:acc_width]
    s.m.d.sync += [acc.eq(Mux(pe.clear, 0, total)), bit.eq(total.as_signed() >= 0)]
    s.claim(s.inside["acc"] == acc, "sum")
    s.claim(pe.bit == bit, "bit")
    both = (acc.as_signed() > 0) & (extra < -1) & ~pe.double & (count == 0)
    s.reach(both & (total.as_signed() < 0), "below_the_next_threshold")
    s.reach(both & (total.as_signed() > 0), "above_the_next_threshold")
    return s


@pytest.mark.parametrize("family", some(NAMES, 1))
def test_an_element_adds_start_values_to_sums(family: str, tmp_path: Path) -> None:
    width, latency = 8, count_latency(8)
    equation(family, width, 11).prove(tmp_path, latency + 4, within=latency + 6, family=family)


class Drops(CodedElement):
    """Adds a start value where the word counts, and not where it does not."""

    def elaborate(self, platform: object) -> Module:
        whole, self.whole = self.whole, Const(0, 1)
        m = super().elaborate(platform)
        self.whole = whole
        return m


def test_the_proof_sees_a_start_value_that_is_lost(tmp_path: Path) -> None:
    assert equation("generic", 8, 11, Drops).refuted(tmp_path, cycles=12) & {"sum", "bit"}


def counting(bits: int) -> Scenario:
    """Let a writer see positions of windows; a code is the largest number of thresholds that a sum reaches.

    Of each position the number of thresholds that its sum reaches is free. Thresholds rise: the sum is not
    below one of them exactly if it reaches as many.
    """
    config = DeviceConfig(Geometry(1, 4, 8), column_group=4, code_bits=bits, act_depth=64)
    design = writer.ResultWriter(config)
    s = Scenario(design)
    m, last = s.m, start_words(bits) - 1
    s.drive(design.layer.valid, design.layer.p.as_value())
    # What is emitted in this cycle; the writer hears of it as much earlier as the array takes.
    early, now = s.inside[f"emit_d{array_latency(config) - 2}"], Signal(3, name="now")
    m.d.sync += now.eq(early)
    emit = s.free(3, "emit")
    m.d.comb += Value.cast(design.emit).eq(emit)
    level, best, fresh = Signal(bits, name="spec_level"), Signal(bits, name="best"), Signal(name="inside")
    reached = s.free(bits, "reached")
    before = s.past(reached, "reached_before")
    s.assume((level == 0) | (reached == before) | (now == Emission.NONE))
    kept = Signal(bits, name="kept")
    s.assume(~fresh | (reached == kept))
    rest = s.free(3, "others")
    m.d.comb += design.bits.eq(Value.cast(reached > level).replicate(1) | rest << 1)
    # A position is all thresholds of the layer, one after the other, whatever comes between.
    codes = now == Emission.CODE
    s.assume(~codes | (level < last))
    largest, done = Signal(bits, name="largest"), Signal(name="done")
    m.d.comb += [
        largest.eq(Mux(reached > best, reached, best)),
        done.eq((now != Emission.NONE) & ~codes),
    ]
    s.assume(~done | (level == last))
    with m.If(codes):
        m.d.sync += [level.eq(level + 1), fresh.eq(1), kept.eq(reached)]
    with m.Elif(now == Emission.WINDOW):
        m.d.sync += [level.eq(0), fresh.eq(0), best.eq(largest)]
    with m.Elif(done):
        m.d.sync += [level.eq(0), fresh.eq(0), best.eq(0)]
    code, passed = s.inside["code0"], Signal(bits, name="passed")
    m.d.comb += passed.eq(Mux(kept > level, level, kept))
    s.claim(s.inside["level"] == level, "level")
    s.claim(~fresh | (code == Mux(passed > best, passed, best)), "so_far")
    s.claim(fresh | (code == best), "pooled")
    s.claim((level == 0) == ~fresh, "position")
    ends = done & (now != Emission.WINDOW)
    s.claim(~ends | (s.inside["code_after0"] == largest), "code")
    s.reach(ends & (best > reached) & (reached > 0), "an_earlier_position_is_larger")
    s.reach(ends & (reached > best) & (best > 0), "a_later_position_is_larger")
    return s


@pytest.mark.parametrize("bits", [2, 3])
def test_a_code_is_the_number_of_thresholds_that_are_reached(bits: int, tmp_path: Path) -> None:
    counting(bits).prove(tmp_path, steps=3, within=12 + 3 * start_words(bits))


def test_the_proof_sees_codes_that_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "_counted", lambda code, sign, level: code + sign)
    assert counting(2).refuted(tmp_path, cycles=24) & {"code", "so_far"}
