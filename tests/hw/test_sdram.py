"""The controller of an SDRAM on the chip's model, which fails where a datasheet would not have it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from amaranth import Module, ResetInserter, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.memory.stores.port import StoreSignature
from xnorcore_hw.memory.stores.sdram import SdramStore, SdramTimes
from xnorcore_hw.memory.stores.sdram_chips import (
    AS4C16M16SA_7,
    IS42S16160G_7,
    M12L64322A_7,
    REFRESHED_NS,
    ULX3S,
    SdramChip,
)
from xnorcore_hw.memory.stores.sdram_pins import SdramCommand
from xnorcore_hw.sim.models.sdram import SdramBoard

from .streams import simulate

CONFIG = DeviceConfig(
    Geometry(1, 4, 8), weight_depth=64, threshold_depth=16, store_words=1 << 13, line_bytes=0, act_depth=64
)
CLOCKS = [25_000_000, 50_000_000, 87_500_000, 100_000_000, 133_000_000]
CHIPS = [replace(chip, pause=2000) for chip in (ULX3S, M12L64322A_7)]
"""With a short pause at power-up."""


class Stored(wiring.Component):
    """Controller and chip; `rst` is the core's reset, `off` switches both off."""

    rst: Signal
    off: Signal

    def __init__(self, chip: SdramChip, clock_hz: int) -> None:
        self.store = SdramStore(CONFIG, chip, clock_hz)
        self.board = SdramBoard(chip, clock_hz, CONFIG.store_words)
        super().__init__({"bus": In(StoreSignature(CONFIG)), "rst": In(1), "off": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        store, board = self.store, self.board
        m.submodules.store = ResetInserter(self.rst)(store)
        m.submodules.board = ResetInserter(self.off)(board)
        connect(m, flipped(self.bus), store.bus)
        connect(m, store.chip, board.chip)
        return m


async def until(ctx: Any, flag: Any, value: Any = 0) -> int:
    """Return a value in the first cycle with `flag` set; to be left alone when the simulation fails."""
    while True:
        *_, holds, found = await ctx.tick().sample(flag, Value.cast(value))
        if holds:
            return found


async def write(ctx: Any, bus: Any, place: int, lane: int, value: int) -> None:
    """Write a byte."""
    ctx.set(bus.write.p, {"addr": place, "lane": lane, "data": value})
    ctx.set(bus.write.valid, 1)
    await until(ctx, bus.write.ready)
    ctx.set(bus.write.valid, 0)


async def ask(ctx: Any, bus: Any, places: list[int], pause: Any) -> None:
    """Ask for words, one after the other."""
    for place in places:
        for _ in range(pause()):
            await ctx.tick()
        ctx.set(bus.request.p, place)
        ctx.set(bus.request.valid, 1)
        await until(ctx, bus.request.ready)
        ctx.set(bus.request.valid, 0)


async def take(ctx: Any, bus: Any, count: int, pause: Any) -> list[int]:
    """Take words."""
    found = []
    for _ in range(count):
        for _ in range(pause()):
            await ctx.tick()
        ctx.set(bus.word.ready, 1)
        word = await until(ctx, bus.word.valid, bus.word.p)
        ctx.set(bus.word.ready, 0)
        found.append(word)
    return found


@pytest.mark.parametrize("clock_hz", some(CLOCKS, always=1), ids=str)
@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_words_come_in_order(chip: SdramChip, clock_hz: int) -> None:
    """Bytes anywhere, then words in any order, at any pace of both sides; writes again; and again."""
    dut = Stored(chip, clock_hz)
    rng = random.Random(clock_hz)
    known: dict[int, int] = {}

    def pause() -> int:
        return rng.choice((0, 0, 0, 0, 1, 2, 30 if rng.random() < 0.1 else 3))

    asked: list[int] = []
    turn = 0

    async def feed(ctx: Any) -> None:
        nonlocal turn
        for _ in range(2):
            for _ in range(60):
                place = rng.choice((rng.randrange(16), 250 + rng.randrange(10), rng.randrange(1 << 13)))
                lanes = rng.sample(range(4), 4) if place not in known else [rng.randrange(4)]
                for lane in lanes:
                    value = rng.randrange(256)
                    await write(ctx, dut.bus, place, lane, value)
                    old = known.get(place, 0) & ~(0xFF << 8 * lane)
                    known[place] = old | value << 8 * lane
            asked[:] = [rng.choice(list(known)) for _ in range(150)]
            turn += 1
            await ask(ctx, dut.bus, asked, pause)
            while turn:
                await ctx.tick()

    async def collect(ctx: Any) -> None:
        nonlocal turn
        for _ in range(2):
            while not turn:
                await ctx.tick()
            assert await take(ctx, dut.bus, len(asked), pause) == [known[place] for place in asked]
            turn = 0

    simulate(dut, feed, collect, cycles=80_000)


@pytest.mark.parametrize("clock_hz", some(CLOCKS, always=1), ids=str)
@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_a_stream_has_the_bandwidth(chip: SdramChip, clock_hz: int) -> None:
    """Rows and refreshes take less than 4 % of it."""
    dut, cycles = Stored(chip, clock_hz), list[int]()
    places = [place % (1 << 13) for place in range(7000, 10_000)]

    async def feed(ctx: Any) -> None:
        await ask(ctx, dut.bus, places, lambda: 0)

    async def collect(ctx: Any) -> None:
        ctx.set(dut.bus.word.ready, 1)
        now = 0
        while len(cycles) < len(places):
            *_, valid = await ctx.tick().sample(dut.bus.word.valid)
            now += 1
            if valid:
                cycles.append(now)

    simulate(dut, feed, collect, cycles=60_000)
    first = 500
    assert (len(cycles) - 1 - first) * 32 // chip.width / (cycles[-1] - cycles[first]) >= 0.96


def test_a_reset_forgets_what_was_asked_for() -> None:
    """At any moment; the words stay, but for one that is being written, and the chip sees nothing of it."""
    dut, rng = Stored(CHIPS[0], 50_000_000), random.Random(5)
    known = {place: [rng.randrange(256) for _ in range(4)] for place in (0, 1, 2, 255, 256, 257, 5000)}

    async def run(ctx: Any) -> None:
        for place, data in known.items():
            for lane, value in enumerate(data):
                await write(ctx, dut.bus, place, lane, value)
        for turn in range(120):
            ctx.set(dut.bus.write.valid, turn % 5 == 4)
            ctx.set(dut.bus.write.p, {"addr": 77, "lane": 0, "data": 1})
            ctx.set(dut.bus.request.valid, 1)
            for _ in range(rng.randrange(30)):
                ctx.set(dut.bus.request.p, rng.choice(list(known)))
                await ctx.tick()
            ctx.set(dut.rst, 1)
            await ctx.tick().repeat(rng.choice((1, 1, 2)))
            for signal in (dut.rst, dut.bus.request.valid, dut.bus.write.valid):
                ctx.set(signal, 0)
            for _ in range(12):
                *_, valid = await ctx.tick().sample(dut.bus.word.valid)
                assert not valid
            place = rng.choice(list(known))
            await ask(ctx, dut.bus, [place], lambda: 0)
            (word,) = await take(ctx, dut.bus, 1, lambda: 0)
            assert list(word.to_bytes(4, "little")) == known[place]

    simulate(dut, run, cycles=40_000)


def test_power_that_comes_again() -> None:
    """A reset as long as one at power-up begins with the pause, whatever state it comes in."""
    dut = Stored(CHIPS[1], 25_000_000)

    async def run(ctx: Any) -> None:
        for cycles in (3, 40, 700):
            await write(ctx, dut.bus, 9, 1, cycles % 256)
            await ask(ctx, dut.bus, [9, 1000], lambda: 0)
            (word, _) = await take(ctx, dut.bus, 2, lambda: 0)
            assert word >> 8 & 0xFF == cycles % 256
            await ctx.tick().repeat(cycles)
            ctx.set(dut.rst, 1)
            await ctx.tick().repeat(20)
            ctx.set(dut.off, 1)
            await ctx.tick().repeat(20)
            ctx.set(dut.rst, 0)
            ctx.set(dut.off, 0)

    simulate(dut, run, cycles=40_000)


BROKEN = [
    ("activate", 1, "earlier than tRCD"),
    ("precharge", 1, "earlier than tRP"),
    ("refresh", 1, "earlier than tRFC"),
    ("mode", 1, "earlier than tMRD"),
    ("close", 2, "earlier than tRAS"),
    ("pause", 2, "before the pause"),
]


@pytest.mark.parametrize(("time", "fewer", "message"), BROKEN, ids=[one[0] for one in BROKEN])
def test_the_chip_sees_times_that_are_too_short(time: str, fewer: int, message: str) -> None:
    dut = Stored(CHIPS[0], 133_000_000)
    setattr(dut.store.times, time, getattr(dut.store.times, time) - fewer)

    async def run(ctx: Any) -> None:
        for place in (0, 5000, 0):
            await write(ctx, dut.bus, place, 0, 5)

    with pytest.raises(AssertionError, match=message):
        simulate(dut, run, cycles=40_000)


def test_the_chip_sees_too_few_refreshes() -> None:
    dut = Stored(CHIPS[0], 25_000_000)
    dut.store.times.interval *= 2

    async def run(ctx: Any) -> None:
        for _ in range(4_500):
            await ctx.tick()

    with pytest.raises(AssertionError, match="refreshes are owed"):
        simulate(dut, run, cycles=40_000)


@pytest.mark.parametrize(
    "chip", [IS42S16160G_7, AS4C16M16SA_7, M12L64322A_7, ULX3S], ids=lambda one: one.name
)
def test_times_at_any_clock(chip: SdramChip) -> None:
    """What follows from the order of commands, in nanoseconds."""
    for clock_hz in range(5_000_000, 142_000_000, 100_000):
        times, cycle = SdramTimes(chip, clock_hz), 1e9 / clock_hz
        assert cycle >= (chip.ck2 if times.latency == 2 else chip.ck3)
        opened = times.activate + times.close
        for cycles, least in [
            (times.activate, chip.rcd),
            (times.precharge, chip.rp),
            (opened, chip.ras),
            (opened + times.precharge, chip.rc),
            (1 + times.close, chip.wr),
            (times.refresh, chip.rfc),
            (times.mode, chip.mrd),
            ((times.pause - 1) * times.interval, chip.pause),
        ]:
            assert cycles * cycle >= least - 1e-6, (clock_hz, cycles, least)
        assert times.close >= times.latency - 2
        assert times.interval * (chip.refreshes + 8) * 1_000_000_000 <= REFRESHED_NS * clock_hz
        # Half of those that may be owed is time enough for a row to close, and before it is too old.
        assert (times.beats + times.close + times.precharge + 4 * times.refresh) < 4 * times.interval
        assert 5 * times.interval * cycle <= chip.ras_most
    # No more cycles than that takes.
    assert vars(SdramTimes(ULX3S, 87_500_000)) == {
        "latency": 2, "beats": 2, "interval": 682, "pause": 27,
        "activate": 2, "precharge": 2, "refresh": 6, "mode": 2, "close": 2,
    }  # fmt: skip


def test_a_row_stays_open_and_refreshes_come_in_time_where_nobody_asks() -> None:
    """Words of one row with pauses between open it once; then each interval has its refresh."""
    clock_hz = CLOCKS[0]
    dut = Stored(CHIPS[0], clock_hz)
    interval, opened, refreshed, done = SdramTimes(CHIPS[0], clock_hz).interval, 0, 0, False

    async def watch(ctx: Any) -> None:
        nonlocal opened, refreshed
        while not done:
            *_, command = await ctx.tick().sample(dut.store.chip.command)
            opened += command == SdramCommand.ACTIVE.value
            refreshed += command == SdramCommand.REFRESH.value

    async def work(ctx: Any) -> None:
        nonlocal done
        await write(ctx, dut.bus, 0, 0, 1)
        for place in range(4):
            await ask(ctx, dut.bus, [place], lambda: 20)
            await take(ctx, dut.bus, 1, lambda: 0)
        assert opened <= 2, opened  # a refresh may come between
        before = refreshed
        while refreshed == before:
            await ctx.tick()
        first = refreshed
        for _ in range(150 * interval):
            await ctx.tick()
        done = True
        assert refreshed - first >= 149

    simulate(dut, work, watch, cycles=60_000)
