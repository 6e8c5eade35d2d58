"""Arrays of families that keep weights in their own ways, against one that keeps whole words as they come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from amaranth.hdl import Fragment, Module

from tests.draws import RNG
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Space
from xnorcore_hw.array.array import Array, array_latency
from xnorcore_hw.array.carry.generic import Carry, GenericCarry
from xnorcore_hw.array.popcount import lane_delays, lanes_apart

from .streams import simulate


class Inverted(GenericCarry):
    """Weights are stored inverted, as on an ECP5."""

    inverted = True


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


@pytest.mark.parametrize("family", [Tables, Inverted])
def test_bits_are_those_of_whole_words(family: type[Carry]) -> None:
    """Of words that were written, and of words that are there from power-up on."""
    width, sums = 32, family is Inverted
    options = {"code_bits": 2, "row_sums": 1} if sums else {"threshold_share": 2}
    config = DeviceConfig(
        Geometry(1, 4, width), weight_depth=64, threshold_depth=16, column_group=2, **options
    )
    weights = [[int(word) for word in RNG.integers(0, 1 << width, config.weight_depth)] for _ in range(4)]
    bake: Any = SimpleNamespace(
        contents=lambda space, bank: weights[bank] if space == Space.WEIGHTS else [0] * config.threshold_depth
    )
    families: list[Carry] = [family(), GenericCarry()]
    arrays = [Array(config, bake) for _ in families]
    m = Module()
    for number, (array, carry) in enumerate(zip(arrays, families, strict=True)):
        m.submodules[f"array{number}"] = Fragment.get(array, SimpleNamespace(carry=carry))
    ones, late = 0, array_latency(config)

    async def run(ctx) -> None:
        nonlocal ones
        for bank, addr, lane in ((b, a, n) for b in range(4) for a in range(2) for n in range(width // 8)):
            place, value = {"bank": bank, "addr": addr}, int(RNG.integers(0, 256))
            for array in arrays:
                ctx.set(array.write.valid, 1)
                ctx.set(array.write.p, {"space": Space.WEIGHTS, "place": place, "lane": lane, "data": value})
            await ctx.tick()
        for array in arrays:
            ctx.set(array.write.valid, 0)
        for beat in range(100):
            place = beat % 5
            x = int.from_bytes(RNG.bytes(width // 4), "little")
            ctl = {"valid": place < 4, "load": place == 0, "first": place == 0, "clear": place == 4}
            ctl |= {"waddr": int(RNG.integers(0, 4)), "taddr": int(RNG.integers(0, 2))}
            if sums:
                ctl |= {"shared": place < 2, "first": place in (0, 4), "adds": place == 4}
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
