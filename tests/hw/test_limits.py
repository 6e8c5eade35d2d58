"""Comparison with a constant, for all values and limits."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal

from xnorcore_hw.parts.limits import at_least

from .streams import simulate


def test_at_least() -> None:
    m, value = Module(), Signal(5)
    reached = [Signal(name=f"reached{limit}") for limit in range(70)]
    m.d.comb += [signal.eq(at_least(value, limit)) for limit, signal in enumerate(reached)]

    async def check(ctx: Any) -> None:
        for number in range(32):
            ctx.set(value, number)
            await ctx.delay(1e-7)
            assert [ctx.get(signal) for signal in reached] == [number >= limit for limit in range(70)]

    m.d.sync += Signal().eq(0)
    simulate(m, check)
