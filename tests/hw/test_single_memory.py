"""Memories of one port, of any FPGA and of SPRAM, hold what is written into them."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from xnorcore_hw.memory.single.generic import Access, GenericSingle, SingleMemory, single_of
from xnorcore_hw.memory.single.ice40 import Ice40Spram
from xnorcore_hw.sim.models.single import SIMULATED, HostileSingle

from .streams import simulate


class Block(Elaboratable):
    """What is known of SB_SPRAM256KA: behind a write its output is anything."""

    def __init__(self, *signals: Value) -> None:
        self.address, self.write, self.mask, self.data, self.select, self.word = signals

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=16, depth=1 << 14, init=[])
        read, write = memory.read_port(), memory.write_port(granularity=4)
        wrote = Signal()
        assert len(self.address) == 14 and len(self.mask) == 4
        with m.If(self.select):
            m.d.sync += wrote.eq(self.write)
        m.d.comb += [
            read.addr.eq(self.address),
            read.en.eq(self.select),
            write.addr.eq(self.address),
            write.data.eq(self.data),
            write.en.eq(Mux(self.select & self.write, self.mask, 0)),
            Value.cast(self.word).eq(Mux(wrote, 0x5A5A, read.data)),
        ]
        return m


class Spram(Ice40Spram):
    """Of such blocks."""

    def __init__(self) -> None:
        self.blocks = 0

    def block(self, *signals: Value) -> Any:
        self.blocks += 1
        return Block(*signals)


def test_a_block_is_never_switched_off() -> None:
    """Its inputs are those of Lattice's SB_SPRAM256KA: POWEROFF is active low, the others are active high."""
    signals = [Signal(width, name=f"s{place}") for place, width in enumerate((14, 1, 4, 16, 1, 16))]
    m = Module()
    m.submodules.block = Ice40Spram().block(*signals)
    text = rtlil.convert(m, name="top", ports=signals)
    tied = dict(re.findall(r"connect \\(STANDBY|SLEEP|POWEROFF) 1'([01])", text))
    assert tied == {"STANDBY": "0", "SLEEP": "0", "POWEROFF": "1"}


class Dut(wiring.Component):
    def __init__(self, single: SingleMemory, depth: int, width: int, lane: int) -> None:
        self.single, self.depth = single, depth
        super().__init__(
            {
                "addr": In(range(depth)),
                "write": In(1),
                "mask": In(width // lane),
                "data": In(width),
                "word": Out(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        access = Access(self.addr, self.write, self.mask, self.data)
        m.d.comb += self.word.eq(self.single.add(m, access, self.depth))
        return m


@pytest.mark.parametrize(
    ("depth", "width", "lane", "blocks"),
    [(64, 8, 4, 1), (16384, 24, 8, 2), (16385, 32, 8, 4), (40000, 16, 4, 3), (3000, 40, 8, 3)],
)
@pytest.mark.parametrize("kind", [GenericSingle, HostileSingle, Spram])
def test_words_are_kept(kind: type[SingleMemory], depth: int, width: int, lane: int, blocks: int) -> None:
    single = kind()
    dut = Dut(single, depth, width, lane)
    r = random.Random(depth)
    # Few addresses, some of them of each block and at its ends.
    places = sorted({min(at, depth - 1) for at in (0, 1, 63, 16383, 16384, 32767, 32768, depth - 1)})
    words: dict[int, int] = {}

    async def run(ctx: Any) -> None:
        for place in places:  # at power-up they hold anything
            words[place] = r.getrandbits(width)
            await access(ctx, place, (1 << width // lane) - 1, words[place])
        for _ in range(600):
            place, mask, data = r.choice(places), r.getrandbits(width // lane), r.getrandbits(width)
            if r.random() < 0.4:
                await access(ctx, place, mask, data)
                bits = sum(((1 << lane) - 1) << (lane * at) for at in range(width // lane) if mask >> at & 1)
                words[place] = words[place] & ~bits | data & bits
            else:
                await access(ctx, place, 0, data)
                ctx.set(dut.addr, r.choice(places))  # the word is that of the cycle before
                assert ctx.get(dut.word) == words[place]

    async def access(ctx: Any, place: int, mask: int, data: int) -> None:
        ctx.set(dut.addr, place)
        ctx.set(dut.mask, mask)
        ctx.set(dut.write, int(mask != 0))
        ctx.set(dut.data, data)
        await ctx.tick()

    simulate(dut, run)
    if isinstance(single, Spram):
        assert single.blocks == blocks


@pytest.mark.parametrize("width", [8, 40])
def test_a_simulated_one_gives_no_word_where_none_is_promised(width: int) -> None:
    """Words at power-up are not 0, and behind a write comes neither what was there nor what is now."""
    dut = Dut(HostileSingle(), 64, width, 4)

    async def run(ctx: Any) -> None:
        for place in range(64):
            ctx.set(dut.addr, place)
            ctx.set(dut.mask, 0)
            ctx.set(dut.write, 0)
            await ctx.tick()
            before = ctx.get(dut.word)
            ctx.set(dut.data, place * 0x7654321 & (1 << width) - 1)
            ctx.set(dut.mask, (1 << width // 4) - 1)
            ctx.set(dut.write, 1)
            await ctx.tick()
            behind = ctx.get(dut.word)
            assert before and behind not in (before, ctx.get(dut.data))

    simulate(dut, run)


def test_a_platform_says_which() -> None:
    assert isinstance(single_of(None), GenericSingle)
    assert isinstance(single_of(SIMULATED), HostileSingle)
    single = Ice40Spram()
    assert single_of(type("Platform", (), {"single": single})) is single
