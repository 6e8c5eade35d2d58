"""What a board sees of the accelerator besides its bytes: dropped frames, and the reset from outside."""

from __future__ import annotations

from itertools import pairwise

from xnorcore.isa.protocol import Command, DeviceInfo
from xnorcore.link.frames import decode_response, encode_request
from xnorcore_hw.shells.framed import FramedCore
from xnorcore_hw.shells.uart import UartShell

from .streams import put, simulate
from .test_core import small_config

CONFIG = small_config(1, 8, 8, line_bytes=0, convolution=0)
INFO = encode_request(Command.INFO, 7, b"")


async def answer(ctx, dut: FramedCore) -> bytes:
    """Return what comes up to the next delimiter."""
    wire = bytearray()
    ctx.set(dut.o.ready, 1)
    while not wire or wire[-1]:
        (byte,) = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
        wire.append(byte)
    ctx.set(dut.o.ready, 0)
    return bytes(wire)


def test_a_dropped_frame_is_an_error_for_one_cycle() -> None:
    dut = FramedCore(CONFIG)
    damaged = bytes([INFO[0], INFO[1] ^ 0x40, *INFO[2:]])
    errors: list[int] = []

    async def send(ctx) -> None:
        await put(ctx, dut.i, [0, *INFO, *damaged, 0, 0, *INFO, *damaged, *INFO])
        await ctx.tick().repeat(20)

    async def watch(ctx) -> None:
        last, now = 0, 0
        for _ in range(600):
            await ctx.tick()
            last, now = now, ctx.get(dut.error)
            assert not (last and now)
            errors.append(now)

    async def receive(ctx) -> None:
        for _ in range(3):
            found = decode_response((await answer(ctx, dut))[:-1])
            assert found is not None and found[1] == 7 and len(found[2]) == len(DeviceInfo(CONFIG).pack())

    simulate(dut, send, watch, receive)
    assert sum(errors) == 2


def test_the_reset_from_outside_forgets_half_a_frame() -> None:
    dut = FramedCore(CONFIG)

    async def run(ctx) -> None:
        await put(ctx, dut.i, [0, *INFO[:4]])
        ctx.set(dut.rst, 1)
        await ctx.tick()
        ctx.set(dut.rst, 0)
        await put(ctx, dut.i, INFO)
        assert decode_response((await answer(ctx, dut))[:-1]) is not None
        assert not ctx.get(dut.error)
        # And half an answer.
        await put(ctx, dut.i, INFO)
        ctx.set(dut.o.ready, 1)
        await ctx.tick().until(dut.o.valid)
        ctx.set(dut.o.ready, 0)
        ctx.set(dut.rst, 1)
        await ctx.tick().repeat(2)
        ctx.set(dut.rst, 0)
        await ctx.tick().repeat(2)
        assert not ctx.get(dut.o.valid)
        await put(ctx, dut.i, INFO)
        assert decode_response((await answer(ctx, dut))[:-1]) is not None

    simulate(dut, run)


def test_the_lights_of_the_uart_shell() -> None:
    """It is active when a byte has come, and while the line out is not at rest; a frame is dropped."""
    divisor = 4
    dut = UartShell(CONFIG, 1_000_000, divisor)
    seen: list[tuple[int, int]] = []
    sent, errors = bytes([0, INFO[0], INFO[1] ^ 0x40, *INFO[2:], *INFO]), []

    async def send(ctx) -> None:
        for byte in sent:
            for bit in (0, *(byte >> place & 1 for place in range(8)), 1):
                ctx.set(dut.rx, bit)
                await ctx.tick().repeat(divisor)

    async def watch(ctx) -> None:
        for _ in range(20 * len(sent) * divisor):
            seen.append((ctx.get(dut.active), ctx.get(dut.tx)))
            errors.append(ctx.get(dut.error))
            await ctx.tick()

    simulate(dut, send, watch)
    first = [tx for _, tx in seen].index(0)
    before = [active for active, _ in seen[:first]]
    assert sum(now > last for last, now in pairwise(before)) == len(sent)
    assert sum(errors) == 1
    assert all(active for active, tx in seen if not tx)
    assert not all(active for active, _ in seen[first:])
