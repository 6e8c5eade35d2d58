"""The queue of words in memory of one port: all come out, once and in order, whoever is late."""

from __future__ import annotations

import random
from typing import Any

import pytest
from amaranth.hdl import Fragment

from xnorcore_hw.memory.queue import WordQueue

from .streams import simulate
from .test_single_memory import Spram


class Reader:
    """Is ready, or not, for some time; that it has taken a word makes it change its mind two cycles later."""

    def __init__(self, dut: WordQueue, chance: float, words: list[int], seed: int) -> None:
        self.dut, self.chance, self.words, self.random = dut, chance, words, random.Random(seed)
        self.done = False

    async def run(self, ctx: Any) -> None:
        """Compare what comes until all words have come."""
        dut, since, ready = self.dut, 2, False
        place = 0
        while place < len(self.words):
            # Once it is ready, it stays so until a word comes.
            ready = ready or (since >= 2 and self.random.random() >= self.chance)
            ctx.set(dut.o.ready, ready)
            *_, valid, word = await ctx.tick().sample(dut.o.valid, dut.o.p)
            since += 1
            if valid:
                assert ready and word == self.words[place], place
                place, since = place + 1, 0
            # What it says one cycle behind a word is still about the one before.
            if since == 1:
                ready = self.random.random() >= self.chance
        self.done = True


@pytest.mark.parametrize(("late", "slow", "fills"), [(0.0, 0.0, False), (0.0, 0.9, False), (0.9, 0.5, True)])
def test_words_come_out_as_they_came(late: float, slow: float, fills: bool) -> None:
    """With a memory that shows anything behind a write, and a queue of 8 that fills and is empty."""
    dut, r = WordQueue(8), random.Random(7)
    words = [r.getrandbits(32) for _ in range(200)]
    reader = Reader(dut, late, words, 11)
    longest = 0

    async def write(ctx: Any) -> None:
        nonlocal longest
        for word in words:
            while r.random() < slow:
                await ctx.tick()
            ctx.set(dut.i.p, word)
            ctx.set(dut.i.valid, 1)
            *_, ready = await ctx.tick().sample(dut.i.ready)
            held = 0
            while not ready:
                held += 1
                *_, ready = await ctx.tick().sample(dut.i.ready)
            longest = max(longest, held)
            ctx.set(dut.i.valid, 0)

    simulate(Fragment.get(dut, type("Platform", (), {"single": Spram()})), write, reader.run)
    assert reader.done and (longest > 3) == fills


def test_nothing_is_left_behind_clear() -> None:
    """Whatever the queue is doing, a word of before never comes; eight new ones have room."""
    dut = WordQueue(8)

    async def run(ctx: Any) -> None:
        for cycles in range(1, 12):
            ctx.set(dut.o.ready, cycles % 3 != 1)
            ctx.set(dut.i.valid, 1)
            ctx.set(dut.i.p, 99)
            await ctx.tick().repeat(cycles)
            ctx.set(dut.clear, 1)
            ctx.set(dut.i.valid, 0)
            assert not ctx.get(dut.o.valid)
            await ctx.tick()
            ctx.set(dut.clear, 0)
            ctx.set(dut.o.ready, 0)
            for word in range(8):
                ctx.set(dut.i.valid, 1)
                ctx.set(dut.i.p, word)
                assert not ctx.get(dut.o.valid)
                await ctx.tick().until(dut.i.ready)
            for _ in range(5):
                assert not ctx.get(dut.i.ready)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            ctx.set(dut.o.ready, 1)
            for word in range(8):
                found = await ctx.tick().sample(dut.o.p).until(dut.o.valid)
                assert found == (word,)
            ctx.set(dut.o.ready, 0)
            await ctx.tick().repeat(4)

    simulate(dut, run)
