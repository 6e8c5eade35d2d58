"""The UART on ideal, fast, slow, noisy and broken lines."""

from __future__ import annotations

import random

import pytest
from amaranth.hdl import Module

from xnorcore_hw.link import UartReceiver, UartTransmitter

from ..campaigns import some
from .streams import Stalls, get, put, simulate


def line(data: bytes, bit: float, phase: float = 0.0, idle: int = 20) -> list[int]:
    """Return the line level at each clock cycle for back-to-back bytes of `bit` cycles per bit."""
    bits = [b for byte in data for b in (0, *((byte >> i) & 1 for i in range(8)), 1)]
    cycles = int(len(bits) * bit + phase) + 1
    samples = [1] * idle
    for cycle in range(cycles):
        index = int((cycle - phase) / bit)
        samples.append(1 if cycle < phase or index >= len(bits) else bits[index])
    return [*samples, *([1] * idle)]


def receive(levels: list[int], divisor: int, ready: bool = True, fixed: bool = False) -> bytes:
    dut = UartReceiver(divisor if fixed else None)
    received = bytearray()

    async def drive(ctx):
        if not fixed:
            ctx.set(dut.divisor, divisor)
        ctx.set(dut.o.ready, ready)
        for level in levels:
            ctx.set(dut.rx, level)
            *_, valid, value = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                received.append(value)
        if not ready:
            received.extend(await get(ctx, dut.o, 1))

    simulate(dut, drive, cycles=len(levels) + 100)
    return bytes(received)


DATA = bytes([0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, 0xFE, 0x7F, *random.Random(1).randbytes(24)])


@pytest.mark.parametrize("divisor", some([4, 7, 5, 6, 16, 104], 2))
@pytest.mark.parametrize("off", some([-0.02, 0.02, 0.0], 2))
@pytest.mark.parametrize("fixed", [False, True])
def test_receiver_tolerates_two_percent_without_gaps(divisor, off, fixed):
    data = DATA if divisor < 20 else DATA[-2:]
    for phase in (0.0, 0.3, 0.7, 0.99) if divisor < 6 else (0.5,):
        assert receive(line(data, divisor * (1 + off), phase), divisor, fixed=fixed) == data


def test_receiver_tolerates_three_percent_with_five_or_more_clocks_per_bit():
    for divisor in (8, 16):
        for off in (-0.03, 0.03):
            assert receive(line(DATA, divisor * (1 + off), 0.4), divisor) == DATA


def test_receiver_gives_nothing_for_a_break_and_recovers():
    levels = [1] * 10 + [0] * 1000 + [1] * 3 + line(DATA, 4)
    assert receive(levels, 4) == DATA


def test_receiver_ignores_glitches_and_reset_on_an_idle_line():
    assert receive([1] * 20 + ([0] * 3 + [1] * 20) * 5 + line(b"ok", 16), 16) == b"ok"
    assert receive([1] * 300, 4) == b""


def test_receiver_drops_a_byte_without_a_stop_bit():
    good = line(b"\x55", 8)
    no_stop = [1] * 20 + [0] * 8 + [1] * 64 + [0] * 8
    assert receive([*no_stop, *good], 8) == b"\x55"


def test_receiver_keeps_the_first_byte_when_nobody_takes_it():
    assert receive(line(b"abc", 4), 4, ready=False) == b"a"


@pytest.mark.parametrize("divisor", [4, 5, 13])
@pytest.mark.parametrize("fixed", [False, True])
def test_transmitter_bits_and_timing(divisor, fixed):
    dut = UartTransmitter(divisor if fixed else None)
    levels = []

    async def feed(ctx):
        if not fixed:
            ctx.set(dut.divisor, divisor)
        await put(ctx, dut.i, DATA[:6])

    async def watch(ctx):
        for _ in range(6 * 10 * divisor + 30):
            *_, tx = await ctx.tick().sample(dut.tx)
            levels.append(tx)

    simulate(dut, feed, watch)
    start = levels.index(0)
    expected = line(DATA[:6], divisor, idle=0)[:-1]
    assert levels[start : start + len(expected)] == expected
    assert set(levels[start + len(expected) :]) == {1}


def test_transmitter_knows_the_longest_bit():
    dut = UartTransmitter()

    async def drive(ctx):
        ctx.set(dut.divisor, 65535)
        await put(ctx, dut.i, [0xFF])
        if ctx.get(dut.tx):
            await ctx.tick().until(~dut.tx)
        await ctx.tick().repeat(65533)
        assert ctx.get(dut.tx) == 0
        await ctx.tick().repeat(2)
        assert ctx.get(dut.tx) == 1

    simulate(dut, drive, cycles=70_000)


@pytest.mark.parametrize("divisor", [4, 9])
@pytest.mark.parametrize("chance", [0.0, 0.5])
def test_transmitter_to_receiver(divisor, chance):
    m = Module()
    m.submodules.tx = tx = UartTransmitter()
    m.submodules.rx = rx = UartReceiver()
    m.d.comb += [rx.rx.eq(tx.tx), rx.divisor.eq(divisor), tx.divisor.eq(divisor)]

    async def feed(ctx):
        await put(ctx, tx.i, DATA, Stalls(1, chance, 100))

    async def check(ctx):
        assert bytes(await get(ctx, rx.o, len(DATA), Stalls(2, chance, 20))) == DATA

    simulate(m, feed, check)
