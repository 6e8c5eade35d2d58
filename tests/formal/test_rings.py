"""Weights from a store: no beat uses a word that has not come, no word that is in use is written over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import FLASH_BITS, FLASH_SECTOR, FLASHES, StoreKind
from xnorcore.isa.stream import FIRST_BLOCK
from xnorcore_hw.memory.prefetch import Prefetcher, flight
from xnorcore_hw.memory.ring import RingWriter
from xnorcore_hw.sequence.hazards import WordHazards

from .scenario import Scenario

CONFIG = DeviceConfig(
    Geometry(1, 4, 8), weight_depth=64, threshold_depth=16, store_words=1024, line_bytes=0, act_depth=64
)
FLASH = replace(CONFIG, store_words=2048, store_kind=StoreKind.FLASH)
DEPTH, STARTS = CONFIG.weight_depth, CONFIG.threshold_depth


def distance(to: Value, of: Value, depth: int) -> Value:
    """Return how far one place of a ring is behind another."""
    return (to - of)[: (depth - 1).bit_length()]


class Rings(wiring.Component):
    """The writer of the rings, and what keeps beats back, with the beats of any layers."""

    def __init__(self, writer: RingWriter, hazards: WordHazards) -> None:
        self.writer, self.hazards = writer, hazards
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.writer, m.submodules.hazards = self.writer, self.hazards
        return m


def rings_scenario(writer: RingWriter, hazards: WordHazards) -> Scenario:
    s = Scenario(Rings(writer, hazards))
    ring, m = writer.ring, s.m
    on, rested, go, rewind, leave, moves = (
        Signal(name="on"),
        Signal(name="rested"),
        s.free(1, "go"),
        s.free(1, "rewind"),
        s.free(1, "leave"),
        s.free(2, "moves"),
    )
    s.drive(writer.word.valid, writer.word.p)
    base, word, start = Signal(6, name="base"), Signal(6, name="word"), Signal(4, name="start")
    following = (word + 1)[:6]
    leaves = on & leave & ~hazards.waits
    m.d.comb += [
        writer.clear.eq(~on),
        ring.base.eq(base),
        ring.start.eq(start),
        ring.next_word.eq(following),
        ring.next_start.eq(start + 1),
        hazards.stream.eq(1),
        hazards.word.eq(word),
        hazards.next_word.eq(following),
        hazards.arrived.eq(ring.arrived),
    ]
    m.d.sync += rested.eq(~on)
    offset, count = distance(word, base, DEPTH), distance(ring.arrived, base, DEPTH)
    written = distance(s.inside["writer.start"], start, STARTS)
    begins = ~on & rested & go
    # Beats of a tile go on to its next word, or back; or to the next tile, which has its start value, because
    # words come behind it. No tile is longer than a ring takes.
    s.assume(~(leaves & (moves != 1) & (moves != 2)) | (offset < DEPTH - 4))
    s.assume(~(leaves & (moves == 2)) | (written != 0))
    s.assume(~rewind | ~leaves)
    with m.If(begins):
        m.d.sync += [on.eq(1), base.eq(following), word.eq(following), start.eq(start + 1)]
    with m.Elif(rewind):
        m.d.sync += on.eq(0)
    with m.Elif(leaves):
        m.d.sync += word.eq(Mux(moves == 1, base, following))
        with m.If(moves == 2):
            m.d.sync += [base.eq(following), start.eq(start + 1)]
    was_on = s.past(on, "was_on")
    # What is written in a cycle is there in the next but one, and beats compare in the cycle before.
    arrived_before = s.past(ring.arrived, "arrived_before")
    before = distance(arrived_before, base, DEPTH)
    moved = s.past(leaves | begins, "moved")
    s.claim(~on | (offset <= count) & (offset <= DEPTH - 4), "order")
    s.claim(~on | was_on & (before <= count) | ~was_on & (offset == 0) & (count == 0), "forward")
    s.claim(~on | ~was_on | (offset <= before) | moved & (offset == before), "behind")
    s.claim(~leaves | (offset < before), "there")
    s.claim(on | ~rested | ~s.past(~on, "rests") | (ring.arrived == following), "rest")
    fills = writer.fill.valid & ~writer.fill.p.starts
    s.claim(~(on & fills) | (writer.fill.p.addr == ring.arrived), "place")
    s.claim(~(on & fills & s.inside["writer.row_end"]) | (count < DEPTH - 1), "free")
    # A queue reads a word for who is ready, if none was taken in this cycle and the one before.
    ready, taken = writer.word.ready, writer.word.valid & writer.word.ready
    rests = s.past(~taken, "rests_now") & s.past(s.past(~taken, "rested_before"), "rested_once")
    s.claim(~(on & was_on & rests & s.past(ready, "was_ready")) | ready, "stays")
    if writer.config.store_kind not in FLASHES:
        # A tile's last word, behind which a check word comes: two cycles later it is known what is right.
        last, unchecked = Signal.like(word), Signal(name="unchecked")
        ends = fills & s.inside["writer.row_end"] & (s.inside["writer.left"] == 1)
        s.claim(s.inside["writer.part"] == 0, "part")
        with m.If(~on):
            m.d.sync += unchecked.eq(0)
        with m.Elif(taken & ends):
            m.d.sync += [unchecked.eq(1), last.eq(ring.arrived)]
        with m.Elif(taken):
            m.d.sync += unchecked.eq(0)
        head = s.inside["writer.following"] == 0
        s.claim(~on | was_on | ~writer.check & ~unchecked, "begun")
        s.claim(~(on & was_on) | (unchecked == (writer.check & head)), "awaited")
        s.claim(~(on & unchecked) | (last == ring.arrived) & (count < DEPTH - 1), "last")
        was_unchecked = s.past(unchecked, "was_unchecked") & was_on
        s.claim(~(leaves & (unchecked | was_unchecked)) | (word != last), "unchecked")
        s.reach(leaves & (word == last) & ~unchecked, "checked")
    s.reach(on & (count == 3) & (offset == 1) & (base == 4) & leaves, "leaves")
    s.reach(on & hazards.waits & (count == 1) & (offset == 0), "held")
    return s


@pytest.mark.parametrize("columns", some([4, 8], 0))
@pytest.mark.parametrize("config", [CONFIG, FLASH], ids=["ram", "flash"])
def test_words_are_there_and_are_not_written_over(config: DeviceConfig, columns: int, tmp_path: Path) -> None:
    """A word of every column takes one word of the store, or two."""
    config = replace(config, geometry=Geometry(1, columns, 8))
    rings_scenario(RingWriter(config), WordHazards(config)).prove(tmp_path, steps=3, within=50)


class Hasty(WordHazards):
    """Does not look at the word behind."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.sync += self.waits.eq(self.stream & (self.word == self.arrived))
        return m


def test_the_proof_sees_a_word_that_has_not_come(tmp_path: Path) -> None:
    assert rings_scenario(RingWriter(CONFIG), Hasty(CONFIG)).refuted(tmp_path, cycles=30) & {"there", "order"}


class Unchecked(RingWriter):
    """Shows a tile's last word before its check word has come."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        with m.If(self.check & ~self.fill.p.starts):
            m.d.comb += self.ring.arrived.eq(self.fill.p.addr + 1)
        return m


def test_the_proof_sees_words_that_are_not_checked(tmp_path: Path) -> None:
    s = rings_scenario(Unchecked(CONFIG), WordHazards(CONFIG))
    assert s.refuted(tmp_path, cycles=30) & {"unchecked", "last"}


class Overrun(RingWriter):
    """Takes a ring for as large as it likes."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += [self.word.ready.eq(1), self.fill.valid.eq(self.word.valid)]
        return m


def test_the_proof_sees_an_overrun(tmp_path: Path) -> None:
    """From power-up, a ring is full after more cycles than a counterexample is searched in."""
    s = rings_scenario(Overrun(CONFIG), WordHazards(CONFIG))
    with pytest.raises(AssertionError, match="proof did fail"):
        s.prove(tmp_path, steps=3, within=1)


def requests_scenario(prefetcher: Prefetcher) -> Scenario:
    """Requests are counted; a store answers each, in order, at some time."""
    s = Scenario(prefetcher)
    m, request, word = s.m, prefetcher.request, prefetcher.word
    s.drive(prefetcher.rewind, prefetcher.ring.go, request.ready, word.valid, word.p)
    for port in ("base", "start", "next_word", "next_start"):
        s.drive(getattr(prefetcher.ring, port))
    flash, most = prefetcher.config.store_kind in FLASHES, flight(prefetcher.config)
    first, booting = FLASH_SECTOR if flash else FIRST_BLOCK, Signal(init=flash)
    # What is behind the stream's length: its check word, or the first block.
    second = first if flash else 1
    if flash:
        s.drive(prefetcher.booted, prefetcher.link)
        m.d.comb += prefetcher.boots.eq(booting)
        with m.If(prefetcher.rewind):
            m.d.sync += booting.eq(0)

    def behind(address: Value) -> Value:
        """Last words of a flash's pages are checksums."""
        return address + Mux(address[:6] == 62, 2, 1) if flash else address + 1

    asked, taken = request.valid & request.ready, word.valid & word.ready
    owed, stale, last = Signal(4), Signal(4), Signal.like(request.p)
    m.d.sync += owed.eq(owed + asked - taken)
    # Words that were asked for before the stream's beginning came again belong to nobody.
    with m.If(prefetcher.rewind):
        m.d.sync += stale.eq(owed + asked - taken)
    with m.Elif(taken & (stale != 0)):
        m.d.sync += stale.eq(stale - 1)
    s.assume(~word.valid | (owed != 0))
    on, drops, flying, known, address, begun = (
        s.inside[name] for name in ("on", "drops", "flying", "known", "address", "begun")
    )
    if FLASH_BITS.get(StoreKind(prefetcher.config.store_kind)) == 4:
        # The address moves a cycle behind its request.
        moves, restarts = s.inside["moves"], known & (address == s.inside["last"]) | ~begun
        s.claim(~moves | (flying == most), "moves")
        address, begun = Mux(moves, Mux(restarts, first, behind(address)), address), begun | moves
    # The stream says its length in its first word, and has some words behind that.
    length = word.p[: len(last)]
    s.assume(~taken | known | drops | (length >= first) & ((length[:6] != 63) | (not flash)))
    with m.If(taken & ~known & on & ~drops):
        m.d.sync += last.eq(word.p)
    fresh, previous, script = Signal(init=1), Signal.like(request.p), Signal.like(request.p, init=1)
    with m.If(~on):
        m.d.sync += fresh.eq(1)
    with m.Elif(asked):
        m.d.sync += [fresh.eq(0), previous.eq(request.p), script.eq(behind(script))]
    s.claim((owed == flying) & (owed <= most), "owed")
    s.claim((stale == Mux(drops, owed, 0)) | s.past(prefetcher.rewind, "rewound") & drops, "stale")
    s.claim(on | drops | (owed == 0), "rests")
    s.claim(~prefetcher.quiet | (owed == 0), "quiet")
    s.claim(~prefetcher.fill.valid | (stale == 0) & ~booting, "foreign")
    # What a board keeps comes from word 1 on, and ends somewhere; all else is about the stream.
    s.assume(~booting | (script != 0))
    s.claim(~booting | (s.inside["last"] == 0), "no_length")
    s.claim(~booting | on & known & begun & ~drops & (address == script), "script")
    s.claim(~booting | (script[:6] != 63), "script_sums")
    streams = on & ~booting
    is_last = (s.inside["last"] == last) & (last >= first) & ((last[:6] != 63) | (not flash))
    s.claim(~(known & streams) | is_last, "length")
    s.claim(~streams | known | fresh | (address == second) & (previous == 0), "waits")
    s.claim(~streams | drops | known | fresh & (owed == 0) | ~fresh & (owed == 1), "alone")
    s.claim(~streams | ~fresh | (address == 0) & ~known, "begins")
    s.claim(~streams | (begun == ~fresh), "begun")
    following = Mux(previous == last, first, Mux(previous == 0, second, behind(previous)))
    s.claim(~(streams & ~fresh & known) | (address == following), "follows")
    s.claim(~(streams & ~fresh & known) | (previous <= last), "inside")
    s.claim(~(streams & ~fresh) | (previous[:6] != 63) | (not flash), "sums")
    s.claim(~(on & drops) | fresh, "before")
    s.claim(~asked | booting | Mux(fresh, request.p == 0, request.p == following), "order")
    s.reach(asked & ~booting & (request.p == first) & ~fresh & (previous == first + 2), "round")
    s.reach(prefetcher.fill.valid, "fills")
    s.reach(drops & (stale == min(most, 2)) & on, "drops")
    return s


@pytest.mark.parametrize("config", some([CONFIG, FLASH], 1), ids=["ram", "flash"])
def test_each_word_is_asked_for_once_and_in_order(config: DeviceConfig, tmp_path: Path) -> None:
    requests_scenario(Prefetcher(config)).prove(tmp_path, steps=2, within=24)


class Forgetful(Prefetcher):
    """Takes words that come after a rewind for those of the new beginning."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self._writer.word.valid.eq(self.word.valid)
        return m


def test_the_proof_sees_words_of_before(tmp_path: Path) -> None:
    assert requests_scenario(Forgetful(CONFIG)).refuted(tmp_path, cycles=20)
