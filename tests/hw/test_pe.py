from __future__ import annotations

import itertools
import random

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from xnorcore_hw.array.carry.generic import GenericCarry
from xnorcore_hw.array.pe import ProcessingElement, count_latency
from xnorcore_hw.array.popcount import lane_delays, popcount, popcount_stages


class Counter(wiring.Component):
    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({"x": In(width), "w": In(width), "count": Out(9)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count, last = popcount(m, GenericCarry(), list(self.x), list(self.w))
        m.d.comb += self.count.eq(count.as_signed() + self.width // 2 + last)
        return m


@pytest.mark.parametrize("width", [8, 16, 24, 32, 56, 64, 128])
def test_popcount(width: int) -> None:
    dut = Counter(width)
    rng = random.Random(width)
    words = list(range(256)) if width <= 8 else [rng.getrandbits(width) for _ in range(200)]
    words = [word & ((1 << width) - 1) for word in words] + [0, (1 << width) - 1]
    weights = [rng.choice([rng.getrandbits(width), 0, (1 << width) - 1]) for _ in words]
    latency = popcount_stages(width) - 1
    delays = lane_delays(width, GenericCarry())
    found = []

    async def testbench(ctx) -> None:
        for cycle in range(len(words) + latency):
            ctx.set(dut.x, staggered(words, delays, cycle))
            ctx.set(dut.w, staggered(weights, delays, cycle))
            found.append(ctx.get(dut.count))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
    mask = (1 << width) - 1
    assert found[latency:] == [(~(x ^ w) & mask).bit_count() for x, w in zip(words, weights, strict=True)]


def staggered(words: list[int], delays: list[int], cycle: int) -> int:
    """Operand of a cycle whose bits are late by `delays`."""
    word = 0
    for lane, delay in enumerate(delays):
        at = cycle - delay
        if 0 <= at < len(words):
            word |= words[at] & (1 << lane)
    return word


@pytest.mark.parametrize("width", [8, 16, 24, 40, 64, 128])
def test_pe_against_naive_model(width: int) -> None:
    """Random beats, with every flag at random, against the equation of the class's documentation."""
    acc_width = 14
    dut = ProcessingElement(width, acc_width)
    rng = random.Random(width)
    latency = count_latency(width)
    delays = lane_delays(width, GenericCarry())
    beats = []
    for _ in range(400):
        clear = rng.random() < 0.3
        beats.append(
            {
                "x": rng.choice([rng.getrandbits(width), 0, (1 << width) - 1]),
                "w": rng.getrandbits(width),
                "valid": rng.random() < 0.8,
                "double": rng.random() < 0.2,
                "clear": clear,
                "start": 0,
            }
        )
    for previous, beat in itertools.pairwise(beats):
        if previous["clear"]:
            beat["start"] = rng.randrange(-2000, 2000) & ((1 << acc_width) - 1)
            beat["double"] = 0
        elif beat["double"]:
            beat["start"] = rng.getrandbits(1)
    found = []

    async def testbench(ctx) -> None:
        idle = dict.fromkeys(beats[0], 0)
        pad = [idle] * (latency + 1)
        timeline = beats + pad
        xs, ws = [beat["x"] for beat in timeline], [beat["w"] for beat in timeline]
        for cycle in range(len(timeline)):
            ctx.set(dut.x, staggered(xs, delays, cycle))
            ctx.set(dut.w, staggered(ws, delays, cycle))
            ctx.set(dut.valid, timeline[cycle - latency + 1]["valid"] if cycle >= latency - 1 else 0)
            late = timeline[cycle - latency] if cycle >= latency else {**idle, "clear": 1}
            for name in ("start", "double", "clear"):
                ctx.set(getattr(dut, name), int(late[name]))
            found.append(ctx.get(dut.bit))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()

    acc = 0
    for index, beat in enumerate(beats):
        start = beat["start"] - (1 << acc_width if beat["start"] >> (acc_width - 1) else 0)
        match = ~(beat["x"] ^ beat["w"]) & ((1 << width) - 1)
        count = match.bit_count() - width // 2 if beat["valid"] else 0
        total = (2 * acc if beat["double"] else acc) + start + count
        total = (total + (1 << (acc_width - 1))) % (1 << acc_width) - (1 << (acc_width - 1))
        assert found[index + latency + 1] == (total >= 0), f"beat {index}"
        acc = 0 if beat["clear"] else total
