"""The store in flash, with the model of the chip: words, pages, programs and erases, however it is wired."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator, SimulatorContext

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.pages import PAGE_WORDS, checksums, paged, paged_place, unpaged
from xnorcore_hw.memory.stores.flash import FlashStore
from xnorcore_hw.memory.stores.flash_pins import FlashPlace
from xnorcore_hw.sim.models.flash_wired import WiredFlash

CONFIG = DeviceConfig(store_words=1 << 11, store_kind=2, weight_depth=64, threshold_depth=16)
STREAM = np.random.default_rng(0).integers(0, 1 << 32, 1000, dtype=np.uint32)
CONTENT = paged(STREAM)
PLACES = [
    FlashPlace(1 << 23, 4, 2, 1, 1000), FlashPlace(1 << 21, 2, 3, 1, 1000),
    FlashPlace(1 << 21, 1, 0, 2, 1000), FlashPlace(1 << 23, 4, 1, 2, 1000),
]  # fmt: skip


def test_checksums_are_what_is_left_of_a_division() -> None:
    """Against the polynomial, bit by bit, and zlib's, which takes each byte the other way round."""
    import zlib

    page = STREAM[:63].astype("<u4").tobytes()
    turned = bytes(int(f"{byte:08b}"[::-1], 2) for byte in page)
    other = int(f"{zlib.crc32(turned) ^ 0xFFFFFFFF:032b}"[::-1], 2)
    (found,) = checksums(STREAM[:63].reshape(1, -1))
    assert int(found) == int.from_bytes(other.to_bytes(4, "big"), "little")
    pages = CONTENT.reshape(-1, PAGE_WORDS)
    assert not checksums(pages).any() and (unpaged(CONTENT)[:1000] == STREAM).all()
    assert all(CONTENT[paged_place(n)] == STREAM[n] for n in (0, 62, 63, 999))
    for bit in (0, 31, 32 * 62 + 5, 32 * 63 + 31):
        wrong = pages.copy()
        wrong[2, bit // 32] ^= np.uint32(1 << bit % 32)
        assert (checksums(wrong) != 0).tolist() == [n == 2 for n in range(len(pages))]


class Dut(wiring.Component):
    def __init__(
        self, place: FlashPlace, contents: Iterable[int] = (), fitted: bool = True, **options: Any
    ) -> None:
        super().__init__({})
        self.fitted, self.store = fitted, FlashStore(CONFIG, place)
        self.flash = WiredFlash(CONFIG, 50_000_000, place, 0.0, **options)
        self.flash.model._content._contents = [int(word) ^ 0xFFFFFFFF for word in contents]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store, m.submodules.flash = self.store, self.flash
        if self.fitted:
            connect(m, self.store.chip, self.flash.chip)
        else:
            m.d.comb += self.store.chip.i.eq(0b1111)  # lines that nobody drives are pulled up
        return m


class Bus:
    """What asks a store."""

    def __init__(self, ctx: SimulatorContext, dut: Dut) -> None:
        self.ctx, self.store = ctx, dut.store
        self.damaged = 0

    async def read(self, addresses: Sequence[int], hurry: float = 1.0) -> tuple[list[int], int]:
        """Return words, asked for as fast as they are taken, and the cycles from the first to the last."""
        ctx, bus, rng = self.ctx, self.store.bus, np.random.default_rng(1)
        found: list[int] = []
        asked, first, cycle, self.damaged = 0, 0, 0, 0
        while len(found) < len(addresses):
            ctx.set(bus.request.valid, asked < len(addresses))
            ctx.set(bus.request.p, int(addresses[min(asked, len(addresses) - 1)]))
            ctx.set(bus.word.ready, bool(rng.random() < hurry))
            _, _, asks, takes, comes, word, damaged = await ctx.tick().sample(
                bus.request.valid,
                bus.request.ready,
                bus.word.valid & bus.word.ready,
                bus.word.p,
                self.store.damaged,
            )
            asked += asks & takes
            self.damaged += damaged
            if comes:
                first = first or cycle
                found.append(word)
            cycle += 1
        ctx.set(bus.request.valid, 0)
        return found, cycle - first

    async def about_chip(self, chip: int) -> None:
        """Let the link's request be about the chip, which is known a cycle before it asks."""
        self.ctx.set(self.store.link.chip, chip)
        await self.ctx.tick()

    async def write(
        self, place: int, words: Iterable[int], chip: bool = False, count: int | None = None
    ) -> None:
        """Write as a WRITE of the link does; `count`: bytes, of a request that is cut short."""
        ctx, write, link = self.ctx, self.store.bus.write, self.store.link
        data = b"".join(int(word).to_bytes(4, "little") for word in words)[:count]
        ctx.set(link.chip, chip)
        ctx.set(link.writes, not chip)
        for index, byte in enumerate(data):
            ctx.set(self.store.bus.request.p, place + index // 4)
            ctx.set(write.p.addr, place + index // 4)
            ctx.set(write.p.lane, index % 4)
            ctx.set(write.p.data, byte)
            ctx.set(write.valid, 1)
            await ctx.tick().until(write.ready)
            ctx.set(write.valid, 0)
            for _ in range(index % 3):
                await ctx.tick()
        ctx.set(link.writes, 0)
        ctx.set(link.chip, 0)
        await ctx.tick()


def run(
    place: FlashPlace,
    work: Callable[[Bus], Coroutine[Any, Any, None]],
    contents: Iterable[int] = (),
    fitted: bool = True,
    **options: Any,
) -> None:
    dut = Dut(place, contents, fitted, **options)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def testbench(ctx: SimulatorContext) -> None:
        await work(Bus(ctx, dut))

    simulator.add_testbench(testbench)
    simulator.run()


@pytest.mark.parametrize("place", some(PLACES, 1), ids=str)
def test_words_at_the_speed_of_the_flash(place: FlashPlace) -> None:
    async def work(bus: Bus) -> None:
        places = [paged_place(n) for n in range(70)]
        found, cycles = await bus.read(places)
        assert found == STREAM[:70].tolist() and not bus.damaged
        least = 69 * 32 / place.lanes * place.every
        assert least / cycles > 0.9, f"{least / cycles:.3f} of the bandwidth"

    run(place, work, CONTENT)


@pytest.mark.campaign
def test_jumps_and_pauses() -> None:
    async def work(bus: Bus) -> None:
        places = [paged_place(n) for n in (*range(60, 68), *range(1, 5), 5, 999, 998, 0, 64, 64)]
        for hurry in (0.03, 0.5):
            found, _ = await bus.read(places, hurry)
            assert found == CONTENT[places].tolist() and not bus.damaged

    run(PLACES[0], work, CONTENT)


def test_a_flipped_bit_is_seen_with_its_page_and_no_other() -> None:
    wrong = CONTENT.copy()
    wrong[PAGE_WORDS * 3 + 17] ^= np.uint32(1 << 9)

    async def work(bus: Bus) -> None:
        for page in (2, 3, 4):
            places = range(page * PAGE_WORDS, page * PAGE_WORDS + 2)
            await bus.read(places)
            assert bus.damaged == (2 if page == 3 else 0)

    run(PLACES[0], work, wrong)


@pytest.mark.parametrize("place", some(PLACES[:2], 1), ids=str)
def test_what_is_written_is_read(place: FlashPlace) -> None:
    async def work(bus: Bus) -> None:
        words = CONTENT
        # In pieces that begin and end anywhere, and one that is cut in the middle of a word.
        for first, last in ((0, 3), (3, 68), (128, 130)):
            await bus.write(first, words[first:last])
        await bus.write(600, [0x12345678], count=2)
        places = [*range(68), 128, 129]
        assert (await bus.read(places))[0] == words[places].tolist()
        assert (await bus.read([600]))[0] == [0xFFFF5678]
        # The erase of a sector, from a word in it, and what it leaves.
        await bus.write(1024, [0x77777777])
        await bus.write(700, [0], chip=True)
        found, _ = await bus.read([0, 67, 600, 1023, 1024])
        assert found == [0xFFFFFFFF] * 4 + [0x77777777]

    run(place, work)


def test_the_chip_says_who_it_is() -> None:
    async def work(bus: Bus) -> None:
        assert (await bus.read([3]))[0] == [CONTENT[3]]
        found = []
        for place in (0, 1, 3, 7):
            await bus.about_chip(1)
            found += (await bus.read([place]))[0]
        await bus.about_chip(0)
        assert found[0] & 0xFFFFFF == 0x1870EF and found[1] == 0
        assert found[2:] == [PLACES[0].lanes << 24 | PLACES[0].first] * 2
        assert (await bus.read([3]))[0] == [CONTENT[3]]

    run(PLACES[0], work, CONTENT)


def test_what_is_done_at_power_up() -> None:
    """Nothing until the chip is up; a change only with four lines: `CONFIGURED_S` says why that may be."""

    async def work(bus: Bus) -> None:
        assert (await bus.read([5]))[0] == [CONTENT[5]]

    two, four = PLACES[1], PLACES[0]
    run(two, work, CONTENT, configured_s=0.0)
    for place, says in (
        (replace(two, wake=500), "selected before it is up"),
        (four, "a change too soon behind power-up"),
    ):
        with pytest.raises(AssertionError, match=says):
            run(place, work, CONTENT, configured_s=0.0)


def test_a_request_about_the_chip_is_withdrawn() -> None:
    """The link asks for a word behind the last one that it wants, for a cycle."""

    async def work(bus: Bus) -> None:
        await bus.about_chip(1)
        assert (await bus.read([1]))[0] == [0]
        bus.ctx.set(bus.store.link.chip, 0)
        bus.ctx.set(bus.store.bus.request.valid, 1)
        await bus.ctx.tick()
        bus.ctx.set(bus.store.bus.request.valid, 0)
        await bus.ctx.tick().repeat(100)
        await bus.write(0, [0], chip=True)
        assert (await bus.read([3]))[0] == [0xFFFFFFFF]

    run(PLACES[0], work)


def test_a_chip_that_is_not_there_is_never_busy() -> None:
    """Whoever asks hears ones, and waits for nobody; no page of ones has the right checksum."""

    async def work(bus: Bus) -> None:
        await bus.about_chip(1)
        assert (await bus.read([0]))[0] == [0xFFFFFFFF]
        await bus.about_chip(0)
        assert (await bus.read([5]))[0] == [0xFFFFFFFF] and bus.damaged == 1

    run(PLACES[0], work, fitted=False)
