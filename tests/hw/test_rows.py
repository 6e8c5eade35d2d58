"""Maps as kernel rows: the gateware against the golden model, layer by layer, and its cycles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.hw.layers import check_layers
from tests.hw.streams import simulate
from tests.hw.test_cycles import check
from tests.sw.rownets import DEVICES, networks
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.packed import PARTS, clears, parts_of
from xnorcore_hw.bench.held import held
from xnorcore_hw.memory.row_parts import RowParts


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=0))
def test_layers_and_cycles(number: int) -> None:
    config = DEVICES[number]
    with held(config) as device:
        for network in networks(config):
            program = compile_network(network, device.info.config)
            check(device, program)
    check_layers(config, networks(config))


@pytest.mark.parametrize("pairs", [0, 1])
def test_parts_of_results(pairs: int) -> None:
    """Rows of several lengths, with pauses; between layers one of other results, and some that break off."""
    dut, random = RowParts(), np.random.default_rng(pairs)
    words = 1 + pairs

    async def layer(ctx: Any, across: int, rows: int, packed: int, results: int = 100) -> None:
        ctx.set(dut.begin, 1)
        await ctx.tick()
        ctx.set(dut.begin, 0)
        for name, value in (("packed", packed), ("row_pairs", packed & pairs), ("x_last", across - 1)):
            ctx.set(getattr(dut, name), value)
        for x in (list(range(across)) * rows)[:results]:
            place = 0
            for number, part in enumerate(parts_of(words) if packed else [None]):
                ctx.set(dut.writing, 0)
                await ctx.tick().repeat(int(random.integers(1, 3)))
                ctx.set(dut.writing, 1)
                field = ctx.get(dut.field)
                assert (field.packed, field.halves) == (packed, packed & pairs)
                assert field.last == (number == PARTS - 1 or not packed)
                if part is not None:
                    assert place == (part.position - 1) * words + part.word
                    size = 1 if words == 1 else 2
                    assert field.quarters == ((1 << size) - 1) << size * part.field
                    assert field.skip == (not 0 <= x + part.position < across)
                    assert field.skip or field.clear == clears(words, number, x)
                    place -= ctx.get(dut.back) + 1
                await ctx.tick()
        ctx.set(dut.writing, 0)

    async def layers(ctx: Any) -> None:
        for across, rows, packed in ((4, 3, 1), (2, 2, 1), (3, 1, 0), (1 + pairs, 3, 1)):
            await layer(ctx, across, rows, packed)
        # A bad program ends a layer anywhere.
        for results in (1, 2):
            await layer(ctx, 4, 1, 1, results)
            ctx.set(dut.writing, 1)
            await ctx.tick()
            ctx.set(dut.writing, 0)
            await layer(ctx, 5, 2, 1)

    simulate(dut, layers)
