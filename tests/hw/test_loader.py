"""The loader's writes against a plain model: packed bytes, bit planes, padding, batches."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.input.loader import Loader

from .streams import Stalls, put, simulate

CONFIG = DeviceConfig(Geometry(3, 8, 24), act_depth=200, line_bytes=512)
BASES, STRIDE = (0, 90), 20


def packed(values: list[int]) -> list[int]:
    return np.packbits(np.array(values, dtype=np.uint8), bitorder="little").tolist()


def expected(image: list[int], base: int, bits: int, config: DeviceConfig) -> dict[tuple[int, int], int]:
    """Return the bytes of activation memory, by word and lane."""
    lanes = config.geometry.width // 8
    planes = [image] if bits == 1 else [packed([v >> b & 1 for v in image]) for b in range(bits)]
    return {
        (base + STRIDE * plane + index // lanes, index % lanes): byte
        for plane, data in enumerate(planes)
        for index, byte in enumerate(data)
    }


async def collect(ctx, dut: Loader, memory: dict, batches: list, over: list, stalls: Stalls) -> None:
    """Take writes and batches until it is `over`; a region is free again as soon as its batch is taken."""
    while not over:
        await stalls.pause(ctx)
        ctx.set(dut.write.ready, 1)
        ctx.set(dut.flushed, 1)
        ctx.set(dut.batch.ready, 1)
        w, batch = dut.write, dut.batch
        *_, valid, bank, addr, lane, data, done, size, parity = await ctx.tick().sample(
            w.valid, w.p.place.bank, w.p.place.addr, w.p.lane, w.p.data, batch.valid, batch.p, dut.parity
        )
        ctx.set(dut.write.ready, 0)
        ctx.set(dut.flushed, 0)
        ctx.set(dut.batch.ready, 0)
        if valid:
            assert (bank, addr, lane) not in memory
            memory[bank, addr, lane] = data
        if done:
            batches.append((size, parity, dict(memory)))
            memory.clear()


def run(config: DeviceConfig, images: list[list[int]], bits: int, chance: float, spread: bool = False):
    """Load `images`, close the last batch, and return the batches."""
    dut = Loader(config)
    batches: list = []

    async def feed(ctx):
        ctx.set(dut.header.image_bytes, len(images[0]))
        ctx.set(dut.header.in_bits_last, bits - 1)
        ctx.set(dut.header.in_base1, BASES[1])
        ctx.set(dut.header.plane_stride, STRIDE)
        ctx.set(dut.header.spread, spread)
        stalls = Stalls(1, chance)
        await put(ctx, dut.i, images[0] + images[0][:1], stalls)  # a group that is given up
        while ctx.get(dut.busy):
            await ctx.tick()
        ctx.set(dut.restart, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.restart, 0)
        memory.clear()
        batches.clear()
        for image in images:
            await put(ctx, dut.i, image, stalls)
            while ctx.get(dut.busy):
                await ctx.tick()
            assert ctx.get(dut.boundary)
        ctx.set(dut.close, 1)
        await ctx.tick()
        ctx.set(dut.close, 0)
        await ctx.tick().repeat(20)
        over.append(True)

    memory: dict = {}
    over: list = []

    async def sink(ctx):
        await collect(ctx, dut, memory, batches, over, Stalls(2, chance))

    simulate(dut, feed, sink, cycles=40_000)
    assert not memory
    return batches


@pytest.mark.parametrize("line_bytes", [0, 512])
@pytest.mark.parametrize(("bits", "size"), some([(1, 25), (3, 5), (2, 64), (8, 41)], 2, many=True))
def test_images_lie_in_memory_as_the_model_says(line_bytes, bits, size):
    config = replace(CONFIG, line_bytes=line_bytes)
    r = random.Random(bits)
    images = [[r.randrange(256 if bits == 1 else 1 << bits) for _ in range(size)] for _ in range(5)]
    batches = run(config, images, bits, 0.2)
    assert [(count, parity) for count, parity, _ in batches] == [(3, 0), (2, 1)]
    for number, image in enumerate(images):
        memory = batches[number // 3][2]
        mine = {key[1:]: byte for key, byte in memory.items() if key[0] == number % 3}
        assert mine == expected(image, BASES[number // 3], bits, config), number


def test_with_spread_every_image_is_a_batch():
    images = [[1, 2, 3], [4, 5, 6]]
    batches = run(CONFIG, images, 1, 0.0, spread=True)
    # The image before the restart was a batch, too: the regions go on in turn.
    assert [(count, parity) for count, parity, _ in batches] == [(1, 1), (1, 0)]
    assert [list(memory.values()) for *_, memory in batches] == images


def test_the_region_must_be_free():
    dut = Loader(CONFIG)

    async def test(ctx):
        ctx.set(dut.header.image_bytes, 3)
        ctx.set(dut.full, 0b01)
        ctx.set(dut.i.valid, 1)
        ctx.set(dut.write.ready, 1)
        ctx.set(dut.flushed, 1)
        for _ in range(5):
            *_, ready = await ctx.tick().sample(dut.i.ready)
            assert not ready
        ctx.set(dut.full, 0b10)
        await ctx.tick().until(dut.i.ready)

    simulate(dut, test)


def test_values_take_a_cycle_each_with_a_line_buffer_and_sixteen_without():
    cycles = []
    for line_bytes in (512, 0):
        dut = Loader(replace(CONFIG, line_bytes=line_bytes))

        async def test(ctx, dut=dut):
            ctx.set(dut.header.image_bytes, 64)
            ctx.set(dut.header.in_bits_last, 3)
            ctx.set(dut.write.ready, 1)
            ctx.set(dut.flushed, 1)
            count = 0
            ctx.set(dut.i.valid, 1)
            while not ctx.get(dut.batch.valid) and count < 5000:
                if count > 2 and ctx.get(dut.boundary):
                    break
                count += 1
                await ctx.tick()
            cycles.append(count)

        simulate(dut, test)
    assert cycles[0] <= 64 + 8 * (4 + 1) + 3
    assert cycles[1] <= 64 * 16 + 8 * 4 * 2 + 3
