from __future__ import annotations

import random

import pytest
from amaranth.sim import Simulator

from xnorcore.program import LOOPS
from xnorcore_hw.nest import LoopNest


def expected(
    lasts: dict[str, int], deltas: dict[str, int], bases: dict[str, int], double: bool
) -> list[tuple]:
    """Walk the six loops the plain way."""
    beats = []
    read = bases["read_base"]
    weight = weight_tile = bases["weight_base"]
    start = start_tile = bases["threshold_base"]
    count = dict.fromkeys(LOOPS, 0)
    while True:
        at_end = [count[loop] == lasts[loop] for loop in LOOPS]
        beats.append(
            (
                read & 0xFFFF,
                weight & 0xFFFF,
                start & 0xFFFF,
                count["run"] == count["row"] == 0 and (count["plane"] == 0 or double),
                count["run"] == count["row"] == 0 and count["plane"] > 0 and double,
                all(at_end[:3]),
                all(at_end[:5]),
                all(at_end),
            )
        )
        if all(at_end):
            return beats
        level = at_end.index(False)
        loop = LOOPS[level]
        for inner in LOOPS[:level]:
            count[inner] = 0
        count[loop] += 1
        read += 1 if loop == "run" else deltas[loop]
        if loop in ("run", "row"):
            weight += 1
        elif loop == "tile":
            weight = weight_tile = weight + 1
            start = start_tile = start + 1
        else:
            weight = weight_tile
            start = start + double if loop == "plane" else start_tile


@pytest.mark.parametrize("seed", range(12))
def test_nest_against_plain_loops(seed: int) -> None:
    rng = random.Random(seed)
    dut = LoopNest()
    found: list[list[tuple]] = []
    wanted = []

    async def testbench(ctx) -> None:
        for _ in range(3):
            lasts = {loop: rng.choice([0, 0, 1, 2, 3]) for loop in LOOPS}
            deltas = {loop: rng.randrange(1 << 16) for loop in LOOPS[1:]}
            bases = {name: rng.randrange(1 << 16) for name in ("read_base", "weight_base", "threshold_base")}
            double = rng.random() < 0.5
            wanted.append(expected(lasts, deltas, bases, double))
            for loop in LOOPS:
                ctx.set(getattr(dut, f"{loop}_last"), lasts[loop])
            for loop, value in deltas.items():
                ctx.set(getattr(dut, f"delta_{loop}"), value)
            for name, value in bases.items():
                ctx.set(getattr(dut, name), value)
            ctx.set(dut.double, double)
            ctx.set(dut.load, 1)
            await ctx.tick()
            ctx.set(dut.load, 0)
            beats = []
            while ctx.get(dut.more):
                step = rng.random() < 0.7
                ctx.set(dut.step, step)
                await ctx.tick()
                ctx.set(dut.step, 0)
                if step:
                    names = ("raddr", "waddr", "taddr", "first", "doubles", "last", "tile_end", "layer_end")
                    beats.append(tuple(ctx.get(getattr(dut, name)) for name in names))
            found.append(beats)

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
    assert found == wanted
