"""The prefetcher alone: whatever the store's pace and that of beats, each finds its word."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.scales import unit_words
from xnorcore.isa.stream import (
    FIRST_BLOCK,
    Tile,
    block_of_tile,
    most_words,
    packed_columns,
    store_blocks,
    word_parts,
)
from xnorcore_hw.array.pe import count_latency
from xnorcore_hw.memory.activation import operand_latency
from xnorcore_hw.memory.prefetch import Prefetcher, flight

from .streams import simulate

SHAPES = [(4, 8), (4, 64), (8, 32), (8, 16), (4, 40)]


class Beats:
    """Beats of one tile after the other, as the sequencer lets them go, and what they find in the rings."""

    def __init__(self, dut: Prefetcher, config: DeviceConfig, tiles: list[Tile], seed: int) -> None:
        self.dut, self.config, self.tiles = dut, config, tiles
        self.random = random.Random(seed)
        g = config.geometry
        self.weights = np.zeros((config.weight_depth, g.columns, g.width // 8), np.uint8)
        # Behind the columns' start values, words of the results unit.
        self.starts = np.zeros((config.threshold_depth, 2 * g.columns), np.int64)
        self.waited, self.done, self.now = 0, False, 0
        self.late = operand_latency(config) - 1 + count_latency(g.width)
        # Start values that are read in a cycle to come: which cycle, place, values.
        self.due: list[tuple[int, int, np.ndarray]] = []
        self.last = config.latency + (unit_words(config) if config.result_lanes else 0)

    async def fill(self, ctx) -> None:
        """Write into the rings what comes, as the array's memories do."""
        dut, shared, size = self.dut, packed_columns(self.config), self.config.geometry.width // 8
        while not self.done:
            *_, valid, word = await ctx.tick().sample(dut.fill.valid, dut.fill.p)
            self.now += 1
            while self.due and self.due[0][0] <= self.now:
                _, place, values = self.due.pop(0)
                assert (self.starts[place, : len(values)] == values).all(), place
            if not valid:
                continue
            if word.starts:
                self.starts[word.addr, word.bank] = np.int64(np.int32(np.uint32(word.data)))
                continue
            data = np.frombuffer(int(word.data).to_bytes(4, "little"), np.uint8)
            if shared > 1:
                self.weights[word.addr, word.bank : word.bank + shared] = data.reshape(shared, size)
            else:
                part = self.weights[word.addr, word.bank, 4 * word.part : 4 * word.part + 4]
                part[:] = data[: len(part)]

    def _later(self, cycles: int, start: int, values: np.ndarray) -> None:
        self.due.append((self.now + cycles, start, values))
        self.due.sort(key=lambda one: one[0])

    async def run(self, ctx, tiles: int) -> None:
        """Use so many tiles from the stream's beginning, and rewind."""
        dut, ring, config = self.dut, self.dut.ring, self.config
        word, start = ctx.get(ring.next_word), ctx.get(ring.next_start)
        await ctx.tick().repeat(self.random.randint(1, 20))
        # The layer's first tile is the present one from the next cycle on.
        ctx.set(ring.go, 1)
        await ctx.tick()
        ctx.set(ring.go, 0)
        for number in range(tiles):
            tile = self.tiles[number % len(self.tiles)]
            weights, starts = tile.weights, tile.starts[:, 0]
            if tile.scales is not None:
                starts = np.concatenate([starts, tile.scales.view(np.int32)])
            base, length = word, weights.shape[1]
            for position in range(self.random.randint(1, 3)):
                for place in range(length):
                    word = (base + place) % config.weight_depth
                    before = ctx.get(ring.arrived)
                    ctx.set(ring.base, base)
                    ctx.set(ring.start, start)
                    ctx.set(ring.next_word, (word + 1) % config.weight_depth)
                    ctx.set(ring.next_start, (start + 1) % config.threshold_depth)
                    await ctx.tick()
                    while before in (word, (word + 1) % config.weight_depth):
                        before = ctx.get(ring.arrived)
                        await ctx.tick()
                        self.waited += 1
                    assert (self.weights[word] == weights[:, place]).all(), (number, position, place)
                    if not place:
                        assert (self.starts[start, : len(starts)] == starts).all(), number
                        self._later(self.late, start, starts[: len(weights)])
                if number % 19 == 13:  # long enough for the rings to fill; small tiles follow without pauses
                    await ctx.tick().repeat(600)
                elif self.random.random() < 0.2 and number % 19 < 13:
                    await ctx.tick().repeat(self.random.randint(1, 60))
            if tile.scales is not None:
                self._later(self.last, start, starts)
            word, start = (base + length) % config.weight_depth, (start + 1) % config.threshold_depth
        ctx.set(dut.rewind, 1)
        await ctx.tick()
        ctx.set(dut.rewind, 0)
        await ctx.tick().until(dut.quiet)


class Store:
    """A store that takes requests and gives words when it likes; it knows what it was asked for."""

    def __init__(self, dut: Prefetcher, words: np.ndarray, chance: float, seed: int) -> None:
        self.dut, self.words, self.chance = dut, words, chance
        self.random = random.Random(seed)
        self.asked: list[int] = []
        self.given = 0

    async def run(self, ctx, beats: Beats) -> None:
        """Serve until the beats are through."""
        dut, shown = self.dut, False
        while not beats.done:
            ctx.set(dut.request.ready, self.random.random() >= self.chance)
            if not shown and self.given < len(self.asked) and self.random.random() >= self.chance:
                ctx.set(dut.word.p, int(self.words[self.asked[self.given]]))
                shown = True
            ctx.set(dut.word.valid, shown)
            signals = dut.request.valid, dut.request.ready, dut.request.p, dut.word.ready
            *_, valid, ready, address, taken = await ctx.tick().sample(*signals)
            if shown and taken:
                self.given, shown = self.given + 1, False
            if valid and ready:
                self.asked.append(address)
                assert len(self.asked) - self.given <= flight(dut.config)


def test_start_values_are_read_before_they_are_written_over() -> None:
    """On every array: the next block but one comes after them, whose first start value may go there."""
    for columns, width in itertools.product(range(4, 129, 4), range(8, 129, 8)):
        if columns % width and width % columns:
            continue
        config = DeviceConfig(Geometry(1, columns, width))
        block = 1 + columns + columns // packed_columns(config) * word_parts(config)
        # From the beat to the array, and to the flags that stand beside the count.
        assert operand_latency(config) - 1 + count_latency(width) <= block + 2


@pytest.mark.parametrize("shape", some(SHAPES, always=2), ids=str)
@pytest.mark.parametrize(("chance", "lanes"), [(0.0, 0), (0.6, 0), (0.0, 4), (0.6, 1)])
def test_every_beat_finds_its_word(shape: tuple[int, int], chance: float, lanes: int) -> None:
    columns, width = shape
    config = DeviceConfig(
        Geometry(1, columns, width), weight_depth=64, threshold_depth=16, store_words=1 << 14,
        result_lanes=lanes, code_bits=8 if lanes else 1,
    )  # fmt: skip
    rng = np.random.default_rng(columns + width)
    tiles = []
    for length in (*rng.integers(1, 9, 12), *[1] * 20, most_words(config), *rng.integers(1, 30, 6)):
        starts = rng.integers(-(2**31), 2**31, columns)
        scales = rng.integers(0, 2**32, columns, np.uint32) if lanes and rng.random() < 0.5 else None
        weights = rng.integers(0, 256, (columns, length, width // 8)).astype(np.uint8)
        tiles.append(Tile(weights, starts[:, np.newaxis], scales))
    blocks = store_blocks([block_of_tile(tile, config) for tile in tiles], config)
    words = np.concatenate([np.frombuffer(block.data, "<u4") for block in blocks])
    dut = Prefetcher(config)
    beats = Beats(dut, config, tiles, columns)
    store = Store(dut, words, chance, width)

    async def run(ctx) -> None:
        for tiles_used in (60, 3, 0, 40):
            await beats.run(ctx, tiles_used)
            # One after the other, from the first on; then again from the first block's.
            expected = list(range(len(words)))
            while len(expected) < len(store.asked):
                expected += range(FIRST_BLOCK, len(words))
            assert store.asked == expected[: len(store.asked)]
            assert store.given == len(store.asked)
            store.asked.clear()
            store.given = 0
        assert beats.waited
        beats.done = True

    async def serve(ctx) -> None:
        await store.run(ctx, beats)

    simulate(dut, run, beats.fill, serve, cycles=60_000)
