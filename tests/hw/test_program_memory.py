"""Program memory alone: what is ready is the word that was asked for."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Space
from xnorcore_hw.sequence.program_memory import ProgramMemory

from ..campaigns import some
from .streams import simulate

CONFIG = DeviceConfig(Geometry(1, 8, 8), line_bytes=0)
WORDS = 16


@pytest.mark.parametrize("halves", [0, 1])
@pytest.mark.parametrize("seed", some(range(3), 1))
def test_what_is_ready_is_the_word_of_the_cycle_before(halves: int, seed: int) -> None:
    """Addresses stay, change and move on, and bytes are written, also at the address that is being read."""
    rng = random.Random(seed)
    words = [rng.getrandbits(32) for _ in range(WORDS)]
    dut = ProgramMemory(replace(CONFIG, program_halves=halves), list(words))
    ready_cycles, waits = 0, []

    async def run(ctx: Any) -> None:
        nonlocal ready_cycles
        addr, asked, waited, written = 0, 0, 0, 0
        instead, held, place_instead = False, False, 0
        for _ in range(3000):
            ready, data = ctx.get(dut.read.ready), ctx.get(dut.read.data)
            # A word that has just been written is nobody's in the next cycle.
            if ready and written > 0:
                assert data == words[asked]
                ready_cycles += 1
            move = bool(ready) and not held and rng.random() < 0.5
            waited = 0 if ready else waited + 1
            waits.append(waited)
            following = rng.randrange(WORDS)
            jump, later = rng.random() < 0.1, rng.randrange(WORDS)
            # Another reader comes and goes, and takes whole words; one that comes with a move waits for it.
            if not rng.randrange(8):
                instead, place_instead = not instead, place_instead if instead else rng.randrange(WORDS)
                waited = 0
            write = rng.random() < 0.1
            place, lane, byte = rng.choice([addr, rng.randrange(WORDS)]), rng.randrange(4), rng.getrandbits(8)
            ctx.set(dut.read.addr, addr)
            ctx.set(dut.read.following, following)
            ctx.set(dut.read.move, move)
            ctx.set(dut.read.jump, jump)
            ctx.set(dut.instead, instead)
            ctx.set(dut.instead_addr, place_instead)
            ctx.set(dut.write.valid, write)
            ctx.set(dut.write.p.space, rng.choice([Space.PROGRAM, Space.PROGRAM, Space.WEIGHTS]))
            ctx.set(dut.write.p.place.addr, place)
            ctx.set(dut.write.p.lane, lane)
            ctx.set(dut.write.p.data, byte)
            chosen = write and ctx.get(dut.write.p.space) == Space.PROGRAM
            await ctx.tick()
            held = instead and not move
            addr = following if move else addr
            asked = place_instead if instead and not move else addr
            waited = 0 if move and instead else waited
            written = 0 if chosen else written + 1
            if jump:
                addr, waited = later, 0
            if chosen:
                words[place] = words[place] & ~(0xFF << 8 * lane) | byte << 8 * lane
                waited = 0

    simulate(dut, run)
    assert ready_cycles > 500
    assert max(waits) <= (2 if halves else 1)
