"""Two sources of bytes on their way into activation memory, while results go before them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Space
from xnorcore_hw.memory.write_stage import WriteStage

from .streams import Stalls, simulate

COUNT = 60
EVERYWHERE = 9


def bytes_of(source: int, seed: int) -> list[tuple[int, int, int, int, int]]:
    """Return writes to places of the source's own: space, bank, address, lane, byte."""
    r = random.Random(seed)
    return [
        (Space.ACTIVATIONS, r.randrange(3), 2 * number + source, r.randrange(2), r.randrange(256))
        for number in range(COUNT)
    ]


@pytest.mark.parametrize("line_bytes", [0, 256])
@pytest.mark.parametrize("chance", [0.0, 0.3, 0.8])
def test_every_byte_that_is_taken_gets_into_memory(line_bytes: int, chance: float) -> None:
    dut = WriteStage(DeviceConfig(Geometry(3, 8, 16), line_bytes=line_bytes))
    memory: dict[tuple[int, int, int], int] = {}
    taken: dict[tuple[int, int, int], int] = {}
    sources = (dut.control, bytes_of(0, 1)), (dut.loader, bytes_of(1, 2))
    finished: list[int] = []

    def feeder(number: int) -> Any:
        port, writes = sources[number]

        async def feed(ctx: Any) -> None:
            stalls = Stalls(number, chance, 3)
            for space, bank, addr, lane, data in writes:
                await stalls.pause(ctx)
                if not number and stalls.random.random() < 0.3:  # for another memory
                    ctx.set(port.p.space, Space.WEIGHTS)
                    ctx.set(port.valid, 1)
                    *_, ready = await ctx.tick().sample(port.ready)
                    assert ready, "the other memory takes it at once"
                first = ("everywhere", addr % 5 == 1) if number else ("space", space)
                place = {"bank": bank, "addr": addr}
                ctx.set(port.p, dict([first], place=place, lane=lane, data=data))
                ctx.set(port.valid, 1)
                await ctx.tick().until(port.ready)
                ctx.set(port.valid, 0)
                taken[EVERYWHERE if number and addr % 5 == 1 else bank, addr, lane] = data
            finished.append(number)

        return feed

    async def memories(ctx: Any) -> None:
        r = random.Random(7)
        flushes = 0
        o = dut.o
        while len(finished) < 2 or len(memory) < 2 * COUNT:
            busy = r.random() < chance
            ctx.set(o.ready, not busy)
            before = dict(taken)
            *_, valid, byte, flushed = await ctx.tick().sample(o.valid, o.p, dut.flushed)
            if valid and not busy:
                bank = EVERYWHERE if byte.everywhere else byte.place.bank
                memory[bank, byte.place.addr, byte.lane] = byte.data
            if flushed:
                flushes += 1
                assert before.items() <= memory.items()
        assert flushes

    simulate(dut, feeder(0), feeder(1), memories)
    assert memory == taken and len(taken) == 2 * COUNT
