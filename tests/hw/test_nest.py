from __future__ import annotations

import itertools
import random
from dataclasses import replace
from math import prod

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from tests.campaigns import some
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, LOOPS, levels_of
from xnorcore_hw.sequence.moves import BASE, DELTAS, PLACES, Moves
from xnorcore_hw.sequence.nest import LoopNest
from xnorcore_hw.sequence.padding import TapLayout, TapTracker, taps_moved

OFFSET_BITS = 4
CONFIG = DeviceConfig(
    Geometry(1, 16, 1 << OFFSET_BITS), act_depth=1 << 16, weight_depth=1 << 16, threshold_depth=1 << 16
)
CODES = replace(CONFIG, code_bits=2)
SUMS = replace(CODES, row_sums=1)
ROWS = replace(
    CODES, geometry=Geometry(1, 16, 32), column_align=2, result_lanes=2, value_depth=64, packed_rows=1
)


Loops = dict[str, int]


def expected(
    lasts: Loops, steps: Loops, bases: Loops, double: bool, single: int, near: int, edges: tuple[int, int]
) -> list[dict[str, int]]:
    """Walk the loops the plain way; `steps` are bits. The last copies, `single` and one, count once.

    All but `near` of the last ones count four times, if that is not 0. Where `edges` says so, the first
    position of a row, and the last one, have weights of their own.
    """
    beats = []
    read = bases["read_base"] << OFFSET_BITS
    count: dict[str, int] = dict.fromkeys(LOOPS, 0)
    inner = [loop for loop in LOOPS[:5] if loop != "plane"]
    words = prod(lasts[loop] + 1 for loop in inner)
    while True:
        at_end = {loop: count[loop] == lasts[loop] for loop in LOOPS}
        fresh = count["run"] == count["col"] == count["row"] == 0
        begins = count["plane"] == count["copy"] == 0
        doubles = double and lasts["copy"] - count["copy"] == single
        word = 0
        for loop in reversed(inner):
            word = word * (lasts[loop] + 1) + count[loop]
        kind = (edges[0] and count["x"] > 0) + (edges[1] and at_end["x"])
        word += (count["tile"] * (1 + sum(edges)) + kind) * words
        beats.append(
            {
                "raddr": (read >> OFFSET_BITS) & 0xFFFF,
                "offset": read % (1 << OFFSET_BITS),
                "waddr": (bases["weight_base"] + word) & 0xFFFF,
                "taddr": (bases["threshold_base"] + count["tile"]) & 0xFFFF,
                "tile_first": all(count[loop] == 0 for loop in LOOPS[:9]),
                "first": fresh and (begins or doubles),
                "doubles": fresh and not begins and doubles,
                "last": all(at_end[loop] for loop in LOOPS[:5]),
                "run_end": at_end["run"],
                "window_last": at_end["win_x"] and at_end["win_y"],
                "tile_end": all(at_end[loop] for loop in LOOPS[:9]),
                "layer_end": all(at_end.values()),
                "plane_first": count["plane"] == 0,
                "plane_last": at_end["plane"],
                "four": bool(near) and count["copy"] <= lasts["copy"] - near,
                "copy_last": at_end["copy"],
                "even": count["x"] % 2 == count["y"] % 2 == 0,
            }
        )
        if all(at_end.values()):
            return beats
        loop = next(loop for loop in LOOPS if not at_end[loop])
        for before in LOOPS[: LOOPS.index(loop)]:
            count[before] = 0
        count[loop] += 1
        read += steps[loop]


@pytest.mark.parametrize("seed", some(range(12), 4))
@pytest.mark.parametrize("config", [CONFIG, CODES, SUMS, ROWS], ids=["bits", "codes", "sums", "rows"])
def test_nest_against_plain_loops(config: DeviceConfig, seed: int) -> None:
    rng = random.Random(seed)
    dut, moves = LoopNest(config), Moves(config)
    m = Module()
    m.submodules += [dut, moves]
    m.d.comb += [moves.place.eq(dut.place), moves.en.eq(dut.load | dut.step), dut.distance.eq(moves.distance)]
    found, wanted = [], []

    async def testbench(ctx) -> None:
        for _ in range(3):
            lasts = dict.fromkeys(LOOPS, 0) | {loop: rng.choice([0, 0, 0, 1, 2]) for loop in dut.loops}
            edges = (rng.randrange(2), rng.randrange(2)) if config.packed_rows else (0, 0)
            if any(edges):
                lasts |= {"win_x": 0, "win_y": 0, "x": rng.randint(sum(edges), 3)}
            single, near = rng.randint(0, lasts["copy"]), rng.choice([0, 1, 2]) if config.row_sums else 0
            bases = {name: rng.randrange(1 << 16) for name in ("read_base", "weight_base", "threshold_base")}
            double = rng.random() < 0.5
            offset = rng.randrange(1 << 16)
            steps = {"base": offset << OFFSET_BITS}
            for loop in LOOPS:
                words = rng.randrange(1 << 16) if loop in DELTAS else 1
                bits = rng.randrange(1 << OFFSET_BITS) if f"bits_{loop}" in DESCRIPTOR.fields else 0
                steps[loop] = (words << OFFSET_BITS) + bits
                if loop in dut.loops:
                    ctx.set(dut.layer[f"{loop}_last"], lasts[loop])
            if "copy" in dut.loops:
                ctx.set(dut.layer.single_last, single)
            if config.row_sums:
                ctx.set(dut.layer.near, near)
            for name, place in {"base": BASE, **PLACES}.items():
                ctx.set(moves.write.place, place)
                ctx.set(moves.write.distance, steps[name])
                ctx.set(moves.write.valid, 1)
                await ctx.tick()
                ctx.set(moves.write.valid, 0)
            first = bases | {"read_base": bases["read_base"] + offset}
            if config.packed_rows:
                ctx.set(dut.layer.edge_left, edges[0])
                ctx.set(dut.layer.edge_right, edges[1])
            beats = expected(lasts, steps, first, double, single, near, edges)
            names = [name for name in beats[0] if name in dut.signature.members]
            wanted.append([{name: beat[name] for name in names} for beat in beats])
            for name, value in bases.items():
                ctx.set(dut.layer[name], value)
            ctx.set(dut.layer.double, double)
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
                    beats.append({name: ctx.get(getattr(dut, name)) for name in names})
            found.append(beats)

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
    assert found == wanted


@pytest.mark.parametrize("seed", some(range(8), 3))
@pytest.mark.parametrize("config", [CONFIG, CODES], ids=["bits", "codes"])
def test_taps_against_coordinates(config: DeviceConfig, seed: int) -> None:
    """Which taps are on the map, for a nest of random kernel, stride, padding and pooling window."""
    rng = random.Random(seed)
    nest, taps = LoopNest(replace(config, line_bytes=0)), TapTracker()
    kernel = [rng.randint(1, 4) for _ in range(2)]
    pads = [rng.randrange(side) for side in kernel]
    stride, window = ([rng.randint(1, 3) for _ in range(2)] for _ in range(2))
    pool = [rng.randint(2, 3) if side > 1 else 1 for side in window]
    size, places = ([rng.randint(1, 4) for _ in range(2)] for _ in range(2))
    lasts = {
        "run": rng.randrange(2), "col": kernel[1] - 1, "row": kernel[0] - 1, "plane": rng.randrange(2),
        "win_x": window[1] - 1, "win_y": window[0] - 1, "x": places[1] - 1, "y": places[0] - 1, "tile": 1,
    }  # fmt: skip
    if "copy" in nest.loops:
        lasts["copy"] = rng.randrange(3)
    levels = levels_of(config)
    wanted = []
    for at in itertools.product(*(range(lasts[loop] + 1) for loop in reversed(levels))):
        index = dict(zip(reversed(levels), at, strict=True))
        y = (index["y"] * pool[0] + index["win_y"]) * stride[0] + index["row"] - pads[0]
        x = (index["x"] * pool[1] + index["win_x"]) * stride[1] + index["col"] - pads[1]
        wanted.append(0 <= y < size[0] and 0 <= x < size[1])
    found = []
    m = Module()
    m.submodules += [nest, taps]
    moved = taps_moved(nest.moved, levels)
    m.d.comb += [taps.load.eq(nest.load), taps.step.eq(nest.step), taps.moved.eq(moved)]

    async def testbench(ctx) -> None:
        setup = {
            "pad_top": pads[0], "pad_left": pads[1], "stride_y": stride[0], "stride_x": stride[1],
            "step_y": stride[0] * pool[0], "step_x": stride[1] * pool[1],
            "map_height": size[0], "map_width": size[1],
        }  # fmt: skip
        setup |= {name: lasts[loop] for loop in lasts if (name := f"{loop}_last") in TapLayout().members}
        for name, value in setup.items():
            ctx.set(taps.layer[name], value)
        for loop, value in lasts.items():
            ctx.set(nest.layer[f"{loop}_last"], value)
        ctx.set(nest.load, 1)
        await ctx.tick()
        ctx.set(nest.load, 0)
        ctx.set(nest.step, 1)
        while ctx.get(nest.more):
            await ctx.tick()
            found.append(bool(ctx.get(taps.inside)))

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()
    assert found == wanted
