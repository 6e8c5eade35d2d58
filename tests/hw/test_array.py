"""The array of a family whose weights come in two parts, the second one a cycle late, against one word."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from amaranth.hdl import Fragment, Module

from tests.draws import RNG
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Space
from xnorcore_hw.array.array import Array, array_latency
from xnorcore_hw.array.carry.generic import Carry, GenericCarry
from xnorcore_hw.array.popcount import lane_delays, lanes_apart

from .streams import simulate


class Tables(GenericCarry):
    """Three products are added in look-up tables, as on an iCE40."""

    block = 16

    def __init__(self) -> None:
        super().__init__(tables=True)


@pytest.mark.parametrize(("width", "late"), [(8, 0), (16, 0), (24, 8), (32, 16), (40, 8), (64, 32)])
def test_late_bits_have_blocks_of_their_own(width: int, late: int) -> None:
    assert lanes_apart(width, Tables()) == late
    for carry in (GenericCarry(), GenericCarry(tables=True)):
        assert lanes_apart(width, carry) == 0
    delays = lane_delays(width, Tables())
    assert min(delays[width - late :], default=1) == 1
    assert late == 0 or max(delays[: width - late]) == 0


def test_bits_are_those_of_whole_words() -> None:
    width = 32
    config = DeviceConfig(
        Geometry(1, 4, width), weight_depth=64, threshold_depth=16, column_group=2, threshold_share=2
    )
    families: list[Carry] = [Tables(), GenericCarry()]
    arrays = [Array(config) for _ in families]
    m = Module()
    for number, (array, carry) in enumerate(zip(arrays, families, strict=True)):
        m.submodules[f"array{number}"] = Fragment.get(array, SimpleNamespace(carry=carry))
    ones, late = 0, array_latency(config)

    async def run(ctx) -> None:
        nonlocal ones
        for space, depth, lanes in ((Space.WEIGHTS, 4, width // 8), (Space.THRESHOLDS, 2, 2)):
            for bank, addr, lane in ((b, a, n) for b in range(4) for a in range(depth) for n in range(lanes)):
                value = int(RNG.integers(0, 256)) if space == Space.WEIGHTS else 0
                for array in arrays:
                    ctx.set(array.write.valid, 1)
                    place = {"bank": bank, "addr": addr}
                    ctx.set(array.write.p, {"space": space, "place": place, "lane": lane, "data": value})
                await ctx.tick()
        for array in arrays:
            ctx.set(array.write.valid, 0)
        for beat in range(100):
            start = beat % 4 == 0
            x = int.from_bytes(RNG.bytes(width // 4), "little")
            ctl = {"valid": 1, "load": start, "first": start, "clear": beat % 4 == 3}
            ctl |= {"waddr": int(RNG.integers(0, 4)), "taddr": int(RNG.integers(0, 2))}
            for array in arrays:
                ctx.set(array.ctl, ctl)
            await ctx.tick()
            for array in arrays:
                ctx.set(array.x, x)
            bits, others = (ctx.get(array.bits) for array in arrays)
            if beat > late:
                assert bits == others, beat
                ones += bits.bit_count()

    simulate(m, run)
    assert 50 < ones < 350
