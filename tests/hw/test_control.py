"""The command processor and the queue of its records, alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
from amaranth import Module, Signal
from amaranth.lib.memory import Memory
from amaranth.sim import Simulator

from xnorcore.compiler.compile import Program, compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import HEADER
from xnorcore.isa.protocol import Command, DeviceInfo, Space, Status
from xnorcore_hw.command.control import Control
from xnorcore_hw.command.identity import IDENTITY_WORDS, identity
from xnorcore_hw.command.records import RecordKind, RecordMemory, RecordQueue
from xnorcore_hw.interfaces import HeaderLayout
from xnorcore_hw.parts.selection import select

from .networks import random_network
from .streams import Stalls, assert_quiet, get, packet_values, put, simulate

CONFIG = DeviceConfig(
    Geometry(2, 4, 8), weight_depth=64, threshold_depth=64, act_depth=64, program_depth=64, line_bytes=0
)


def compiled() -> Program:
    return compile_network(random_network(np.random.default_rng(1), (12, 6, 3)), CONFIG)


def header_words(program: Program) -> list[int]:
    (data,) = (block.data for block in program.blocks if block.space == Space.PROGRAM)
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def check(words: list[int], baked: bool, command: Command) -> tuple[bytes, dict[str, int]]:
    """Answer one request with `words` in program memory; return the response and the header."""
    dut = Control(CONFIG, baked)
    bench = Module()
    contents = [*words, *[0] * (CONFIG.program_depth - len(words)), *identity(CONFIG, 0)]
    bench.submodules.dut = dut
    bench.submodules.program = program = Memory(shape=32, depth=len(contents), init=contents)
    port = program.read_port()
    bench.d.comb += [
        port.addr.eq(dut.program.addr),
        port.en.eq(dut.program.valid),
        dut.program.data.eq(port.data),
        dut.idle.eq(1),
    ]
    bench.d.sync += dut.program.ready.eq(dut.program.valid)
    response = bytearray()
    header: dict[str, int] = {}

    async def send(ctx) -> None:
        # Nobody has asked: nothing may be said.
        await assert_quiet(ctx, dut.record, 100)
        await put(ctx, dut.i, packet_values(bytes([command, 7, 0])))

    async def receive(ctx) -> None:
        kind = RecordKind.BYTE
        while kind != RecordKind.LAST:
            (record,) = await get(ctx, dut.record, 1)
            kind = record.kind
            response.append(record.value)
        header.update({name: ctx.get(dut.header[name]) for name in dut.header.shape().members})

    simulate(bench, send, receive, cycles=1000)
    return bytes(response), header


def test_baked_program_is_armed_at_power_up() -> None:
    program = compiled()
    words = header_words(program)
    response, header = check(words, True, Command.INFO)
    info = DeviceInfo.unpack(response[3:-1])
    assert info.armed and info.network_id == program.identifier and info.config == CONFIG
    wanted = HEADER.unpack(words)
    assert header == {name: wanted[name] for name in HeaderLayout(CONFIG).members}
    assert header["image_bytes"] == program.image_bytes


@pytest.mark.parametrize("baked, words", [(False, "good"), (True, "bad")])
def test_nothing_is_armed_at_power_up(baked: bool, words: str) -> None:
    contents = header_words(compiled())
    if words == "bad":
        contents[0] ^= 1
    response, _ = check(contents, baked, Command.INFO)
    info = DeviceInfo.unpack(response[3:-1])
    assert not info.armed and info.network_id == bytes(8) and info.config == CONFIG
    assert response[:3] == b"\x81\x07\x00" and response[-1] == Status.OK
    assert len(response) == 4 * IDENTITY_WORDS + 4


@pytest.mark.parametrize(
    ("queue", "depth"),
    [(RecordQueue, 1), (RecordQueue, 2), (RecordQueue, 8), (RecordMemory, 4), (RecordMemory, 16)],
)
@pytest.mark.parametrize("seed", range(3))
def test_records_keep_their_order(queue: type[RecordQueue | RecordMemory], depth: int, seed: int) -> None:
    dut = queue(depth)
    rng = random.Random(seed)
    sent = [{"value": rng.randrange(256), "kind": rng.randrange(4)} for _ in range(60)]
    received = []

    async def send(ctx) -> None:
        assert ctx.get(dut.empty)
        await put(ctx, dut.i, sent, Stalls(seed, 0.3))

    async def receive(ctx) -> None:
        received.extend(await get(ctx, dut.o, len(sent), Stalls(seed + 9, 0.5, 20)))
        assert ctx.get(dut.empty)

    simulate(dut, send, receive)
    assert [{"value": item.value, "kind": item.kind} for item in received] == sent


@pytest.mark.parametrize("count", range(1, 9))
def test_selection(count: int) -> None:
    bench = Module()
    words = [Signal(5, name=f"word{n}") for n in range(count)]
    index, chosen = Signal(range(max(count, 2))), Signal(5)
    bench.d.comb += chosen.eq(select(words, index))

    async def check_all(ctx) -> None:
        rng = random.Random(count)
        for _ in range(200):
            values = [rng.randrange(32) for _ in words]
            place = rng.randrange(count)
            for word, value in zip(words, values, strict=True):
                ctx.set(word, value)
            ctx.set(index, place)
            assert ctx.get(chosen) == values[place]

    sim = Simulator(bench)
    sim.add_testbench(check_all)  # type: ignore
    sim.run()


@pytest.mark.parametrize(("queue", "places"), [(RecordQueue, 8), (RecordMemory, 7)])
def test_records_wait_in_the_queue(queue: type[RecordQueue | RecordMemory], places: int) -> None:
    """The queue holds as many records as it has places, and none is lost there."""
    dut = queue(8)

    async def send(ctx) -> None:
        await put(ctx, dut.i, [{"value": n, "kind": 0} for n in range(places)])
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.i.ready)
        assert [item.value for item in await get(ctx, dut.o, places)] == list(range(places))

    simulate(dut, send)
