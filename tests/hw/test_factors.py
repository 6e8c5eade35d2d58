"""The memory of numbers K gives each position its own, in the cycle in which its sums are multiplied."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.scaling import FACTOR_BITS, Scaling
from xnorcore_hw.array.factors import FactorMemory
from xnorcore_hw.array.lane import LANE_STAGES

from .streams import simulate

ROWS, DEPTH = 2, 64
CONFIG = DeviceConfig(Geometry(ROWS, 8, 16), code_bits=3, result_lanes=2, scale_depth=DEPTH)
# What a layer has to do with K, its positions and its tiles.
LAYERS = (
    (Scaling.KEPT, DEPTH, 1), (Scaling.MULTIPLIED, DEPTH, 2), (Scaling.FOLDED, 3, 2), (Scaling.FOLDED, 1, 1),
    (Scaling.NONE, 2, 2), (Scaling.KEPT, 5, 1), (Scaling.MULTIPLIED, 5, 3), (Scaling.FOLDED, 2, 1),
)  # fmt: skip


def schedule(steps: int) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, int]], int]:
    """Return what comes in and what is to come out by cycles, and how many these are; a sum takes `steps`."""
    rng, late = np.random.default_rng(steps), LANE_STAGES
    given: dict[int, dict[str, Any]] = defaultdict(dict)
    wanted: dict[int, dict[str, int]] = defaultdict(dict)
    cycle, kept = 0, []
    for scaling, positions, tiles in LAYERS:
        # A layer waits for all results of the one before.
        cycle += late + 2 if scaling == Scaling.MULTIPLIED else 0
        numbers = [int(number) for number in rng.integers(0, 1 << ROWS * FACTOR_BITS, positions)]
        kept = numbers if scaling == Scaling.KEPT else kept
        for position in [*range(positions)] * tiles:
            given[cycle] |= {"begins": 1, "ends": int(position == positions - 1)}
            for sums in range(cycle + 1, cycle + steps + 1):
                given[sums] |= {"scaling": scaling, "last": int(sums == cycle + steps)}
                given[sums + late]["numbers"] = numbers[position] ^ int(sums != cycle + steps)
                wanted[sums + 1]["multiplied"] = int(scaling == Scaling.MULTIPLIED)
                wanted[sums + late + 1]["folded"] = int(scaling == Scaling.FOLDED)
                if scaling == Scaling.MULTIPLIED:
                    wanted[sums + 1]["factors"] = kept[position]
            cycle += steps + int(rng.integers(0, 2))
    return given, wanted, cycle + late + 2


def check(steps: int) -> None:
    dut, (given, wanted, cycles) = FactorMemory(CONFIG, LANE_STAGES), schedule(steps)

    async def run(ctx: Any) -> None:
        for cycle in range(cycles):
            for name in ("begins", "ends", "last"):
                ctx.set(getattr(dut, name), given[cycle].get(name, 0))
            for name in ("scaling", "numbers"):
                if name in given[cycle]:
                    ctx.set(getattr(dut, name), given[cycle][name])
            found = {name: int(ctx.get(getattr(dut, name))) for name in wanted[cycle]}
            assert found == wanted[cycle], cycle
            await ctx.tick()

    simulate(dut, run)


def test_every_position_has_its_number() -> None:
    for steps in (1, 4):
        check(steps)
