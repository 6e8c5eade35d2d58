"""Operands cut out of two words, against the same in integers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore_hw.memory.cutter import OperandCutter

from ..campaigns import some
from .streams import simulate

_COUNT = 300


def cut(width: int, align: int, first: int, second: int, fields: dict[str, int]) -> int:
    """Return the operand that begins in the first of two words."""
    value = (second << width | first) >> fields["offset"] * align
    if fields["pad"]:
        value = -1 if fields["pad_one"] else 0
    lanes = fields["lanes"] if fields["masked"] else width
    return value & ((1 << lanes) - 1) | fields["balance"] << (width - 1)


@pytest.mark.parametrize(
    ("width", "align"), some([(8, 1), (16, 8), (32, 1), (64, 1), (32, 2), (64, 4), (64, 8)], 2, many=True)
)
def test_operands(width: int, align: int) -> None:
    dut = OperandCutter(DeviceConfig(Geometry(1, 8, width), line_bytes=64, column_align=align))
    r = random.Random(width)
    words = [(r.getrandbits(width), r.getrandbits(width)) for _ in range(_COUNT)]
    cuts = [
        {
            **{name: r.getrandbits(1) for name in ("masked", "pad", "pad_one", "balance")},
            "offset": r.randrange(width // align),
            "lanes": r.randrange(1, width + 1),
        }
        for _ in range(_COUNT)
    ]
    odd = [r.getrandbits(1) for _ in range(_COUNT)]
    wanted = [cut(width, align, *pair, fields) for pair, fields in zip(words, cuts, strict=True)]
    found: list[int] = []

    async def drive(ctx: Any) -> None:
        for number in range(_COUNT + 4):
            if number < _COUNT:
                ctx.set(dut.odd, odd[number])
                ctx.set(dut.cut, cuts[number])
            if 0 < number <= _COUNT:
                pair = words[number - 1][:: -1 if odd[number - 1] else 1]
                ctx.set(dut.even_word, pair[0])
                ctx.set(dut.odd_word, pair[1])
            *_, x = await ctx.tick().sample(dut.x)
            if number >= 4:
                found.append(x)

    simulate(dut, drive)
    assert found == wanted
