"""The controller of an SDRAM: its commands keep their distances for ever, and every word has its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal, Value

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.memory.stores.sdram import SdramStore
from xnorcore_hw.memory.stores.sdram_chips import M12L64322A_7, ULX3S, SdramChip, cycles_of
from xnorcore_hw.memory.stores.sdram_pins import SdramCommand
from xnorcore_hw.parts.sizes import STORE_PLACES

from ..yosys import prove_always
from .scenario import Scenario

CONFIG = DeviceConfig(
    Geometry(1, 4, 8), weight_depth=64, threshold_depth=16, store_words=2048, line_bytes=0, act_depth=64
)
CLOSED, OPEN, CLOSING = 1, 2, 3
LONG = 15
"""Cycles that are enough for everything."""


def store_of(chip: SdramChip, clock_hz: int) -> SdramStore:
    """Return a controller with little to do at power-up, and many refreshes."""
    store = SdramStore(CONFIG, replace(chip, first_refreshes=1), clock_hz)
    store.times.interval, store.times.pause = 12, 1
    return store


def scenario(store: SdramStore, clock_hz: int) -> Scenario:
    s = Scenario(store)
    m, bus, chip, inside = s.m, store.bus, store.part, s.inside
    s.drive(bus.request.valid, bus.request.p, bus.word.ready, bus.write.valid, bus.write.p, store.chip.i)
    command, state, wait, hit = (inside[name] for name in ("command", "state", "wait", "hit"))
    reads, writes, link, open_row = (inside[name] for name in ("reads", "writes", "link", "open_row"))
    given = {one: Signal(name=f"given_{one.name.lower()}") for one in SdramCommand}
    m.d.comb += [signal.eq(command == one) for one, signal in given.items()]

    def since(one: SdramCommand) -> Signal:
        count = Signal(5, init=LONG, name=f"since_{one.name.lower()}")
        m.d.sync += count.eq(Mux(given[one], 1, Mux(count == LONG, LONG, count + 1)))
        return count

    def least(nanoseconds: float) -> int:
        return max(cycles_of(nanoseconds, clock_hz), 1)

    act, pre, ref, mode = (
        since(one)
        for one in (
            SdramCommand.ACTIVE,
            SdramCommand.PRECHARGE,
            SdramCommand.REFRESH,
            SdramCommand.LOAD_MODE,
        )
    )
    read, written = since(SdramCommand.READ), since(SdramCommand.WRITE)
    row_of = Value.cast(link)[store.part.column_bits - store.times.beats + 1 : 11]
    is_open, row = Signal(name="is_open"), Signal(len(row_of), name="chip_row")
    with m.If(given[SdramCommand.ACTIVE]):
        m.d.sync += [is_open.eq(1), row.eq(row_of)]
    with m.If(given[SdramCommand.PRECHARGE]):
        m.d.sync += is_open.eq(0)
    rested = (pre >= least(chip.rp)) & (ref >= least(chip.rfc)) & (mode >= max(least(chip.mrd), 2))
    moves = given[SdramCommand.READ] | given[SdramCommand.WRITE]
    # What the chip asks for.
    s.claim(~moves | is_open & (row == row_of) & (act >= least(chip.rcd)), "transfer")
    s.claim(~given[SdramCommand.ACTIVE] | ~is_open & rested & (act >= least(chip.rc)), "active")
    whole = store.times.latency + store.times.beats - 2
    held = (act >= least(chip.ras)) & (written >= least(chip.wr)) & (read >= whole)
    s.claim(~given[SdramCommand.PRECHARGE] | held, "precharge")
    s.claim(~(given[SdramCommand.REFRESH] | given[SdramCommand.LOAD_MODE]) | ~is_open & rested, "refresh")
    s.claim(~given[SdramCommand.TERMINATE], "terminate")
    s.claim(~given[SdramCommand.READ] | (read >= store.times.beats), "beats")
    # What the controller knows of it.
    times = store.times
    s.claim(is_open == (state == OPEN) | (state == CLOSING), "open")
    s.claim(~is_open | (open_row == row), "row")
    s.claim(~(is_open & (reads | writes) & hit) | (row_of == open_row), "hit")
    opened = times.activate + times.close
    for name, count, cycles in (
        ("activate", act, {OPEN: times.activate, CLOSING: opened, CLOSED: opened + times.precharge}),
        ("precharged", pre, {CLOSED: times.precharge}),
        ("refreshed", ref, dict.fromkeys((CLOSED, OPEN, CLOSING), times.refresh)),
        ("loaded", mode, dict.fromkeys((CLOSED, OPEN, CLOSING), times.mode)),
        ("read", read, {OPEN: times.beats, CLOSING: times.beats + times.close}),
        ("written", written, {OPEN: 1, CLOSING: 1 + times.close}),
    ):
        for when, cycle in cycles.items():
            s.claim((state != when) | (count + wait >= cycle), f"{name}_{when}")
        s.claim((count >= 1) & (count <= LONG) & ((state != 0) | (count == LONG)), f"{name}_counts")
    alive, rests = inside["alive"], inside["rests"]
    s.claim(Mux(alive, rests <= 1, rests == 0), "alive")
    # Every word that was asked for has its place, until it is taken.
    coming, level, used = inside["coming"], inside["words.level"], inside["used"]
    flying = sum((coming[bit] for bit in range(len(coming))), start=Value.cast(reads))
    s.claim(used == flying + level, "places")
    s.claim((used <= STORE_PLACES) & ~(coming[-1] & (level == STORE_PLACES)), "room")
    s.claim(~(reads & writes), "one")
    s.reach(given[SdramCommand.READ] & (read == times.beats), "reads")
    s.reach(given[SdramCommand.WRITE] & (written == 1), "writes")
    s.reach(given[SdramCommand.ACTIVE] & (act != LONG) & (ref > pre), "next_row")
    s.reach(given[SdramCommand.REFRESH] & (read != LONG), "refreshes")
    s.reach(Cat(bus.word.valid, bus.word.ready).all(), "gives")
    return s


@pytest.mark.campaign
def test_distances_and_places(tmp_path: Path) -> None:
    scenario(store_of(ULX3S, 25_000_000), 25_000_000).prove(tmp_path, steps=2, within=50)


@pytest.mark.parametrize(
    ("chip", "clock_hz"),
    some([(ULX3S, 87_500_000), (M12L64322A_7, 100_000_000), (ULX3S, 133_000_000)], 2, many=True),
    ids=lambda one: str(getattr(one, "name", one)),
)
def test_distances_at_other_clocks(chip: SdramChip, clock_hz: int, tmp_path: Path) -> None:
    """What the other one reaches takes these too many cycles."""
    prove_always(scenario(store_of(chip, clock_hz), clock_hz).rtlil(), tmp_path, steps=2)


@pytest.mark.parametrize(
    ("time", "claims"),
    [("activate", {"transfer"}), ("precharge", {"active", "refresh"}), ("refresh", {"active", "refresh"})],
    ids=["activate", "precharge", "refresh"],
)
def test_the_proof_sees_commands_that_come_too_early(time: str, claims: set[str], tmp_path: Path) -> None:
    store = store_of(ULX3S, 87_500_000)
    setattr(store.times, time, getattr(store.times, time) - 1)
    assert scenario(store, 87_500_000).refuted(tmp_path, cycles=60) & claims


class Greedy(SdramStore):
    """Asks for a word without a place for it."""

    def _words(self, m: Module, read: Value) -> Value:
        super()._words(m, read)
        return Value.cast(1)


def test_the_proof_sees_a_word_without_a_place(tmp_path: Path) -> None:
    store = Greedy(CONFIG, ULX3S, 87_500_000)
    with pytest.raises(AssertionError, match="proof did fail"):
        scenario(store, 87_500_000).prove(tmp_path, steps=2, within=1)
