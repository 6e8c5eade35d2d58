"""The model of a serial flash: every command gives what the datasheet says, every rule of it is checked."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from amaranth.sim import Simulator, SimulatorContext

from xnorcore_hw.sim.models.flash import FlashModel
from xnorcore_hw.sim.models.flash_protection import protected
from xnorcore_hw.sim.models.flash_table import W25Q128JV, Opcode

FIRST, WORDS = 0x200000, 2048
CLOCK = 40_000_000
KNOWN = tuple(0x9E3779B9 * (n + 1) & 0xFFFFFFFF for n in range(WORDS // 2))
"""First half of the region; the other one is erased."""
BYTES = b"".join(word.to_bytes(4, "little") for word in KNOWN)
_FREE = {1: 0b1101, 2: 0b1100, 4: 0}
"""What may be driven while data come, by their lines."""


class Bus:
    """What drives the pins of a model, a clock pulse a cycle."""

    def __init__(self, ctx: SimulatorContext, dut: FlashModel, every: int = 1) -> None:
        self.ctx, self.pins, self.every = ctx, dut.chip, every

    async def pause(self, cycles: int) -> None:
        for _ in range(cycles):
            await self.ctx.tick()

    async def pulse(self, o: int = 0b1100, drive: int = 0b1101) -> int:
        """Give a pulse, and return what is on the lines at its rising edge."""
        ctx, pins = self.ctx, self.pins
        ctx.set(pins.o, o)
        ctx.set(pins.drive, drive)
        for _ in range(self.every - 1):
            await ctx.tick()
        ctx.set(pins.clock, 1)
        _, _, found = await ctx.tick().sample(pins.i)
        ctx.set(pins.clock, 0)
        return int(found)

    async def out(self, *values: int, bits: int = 8, lanes: int = 1) -> None:
        for value in values:
            for low in range(bits - lanes, -1, -lanes):
                part = value >> low & (1 << lanes) - 1
                await self.pulse(part | (0b1100 if lanes == 1 else 0), 0b1101 if lanes == 1 else 0b1111)

    async def read(self, count: int, lanes: int = 1) -> bytes:
        found = 0
        for _ in range(8 * count // lanes):
            got = await self.pulse(drive=_FREE[lanes])
            found = found << lanes | (got >> 1 & 1 if lanes == 1 else got & (1 << lanes) - 1)
        return found.to_bytes(count, "big")

    async def select(self) -> None:
        self.ctx.set(self.pins.select, 1)

    async def end(self, cycles: int = 3) -> None:
        self.ctx.set(self.pins.select, 0)
        await self.pause(cycles)

    async def say(self, *values: int, address: int | None = None) -> None:
        """Say a whole command."""
        await self.select()
        await self.out(values[0])
        if address is not None:
            await self.out(address, bits=24)
        await self.out(*values[1:])
        await self.end()

    async def ask(self, opcode: int, count: int, address: int | None = None, lanes: int = 1) -> bytes:
        """Say a command that reads."""
        await self.select()
        await self.out(opcode)
        if address is not None:
            if opcode == Opcode.QUAD_IO:
                await self.out(address, bits=24, lanes=4)
                await self.out(0xFF, bits=8, lanes=4)
                for _ in range(4):
                    await self.pulse(drive=0)
            else:
                await self.out(address, bits=24)
                for _ in range(0 if opcode == Opcode.READ else 8):
                    await self.pulse(drive=_FREE[lanes])
        found = await self.read(count, lanes)
        await self.end()
        return found

    async def wake(self, quad: bool = False) -> None:
        await self.say(Opcode.RELEASE)
        await self.pause(200)
        if quad:
            await self.say(Opcode.VOLATILE_ENABLE)
            await self.say(Opcode.WRITE_STATUS_2, 2)

    async def settle(self) -> int:
        """Wait until it is no longer busy, and return the cycles of that."""
        cycles = 0
        while (await self.ask(Opcode.STATUS_1, 1))[0] & 1:
            cycles += 20
        return cycles

    async def change(self, *values: int, address: int) -> int:
        await self.say(Opcode.WRITE_ENABLE)
        await self.say(*values, address=address)
        return await self.settle()


Work = Callable[[Bus], Coroutine[Any, Any, None]]


AT_ONCE = replace(W25Q128JV, up_s=0.0, change_s=0.0)
"""Has had its power for long."""


def run(work: Work, every: int = 1, clock_hz: int = CLOCK, **options: Any) -> None:
    options = {"pace": 0.0, "table": AT_ONCE, "contents": KNOWN, **options}
    dut = FlashModel(clock_hz, FIRST, WORDS, **options)
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)

    async def testbench(ctx: SimulatorContext) -> None:
        await work(Bus(ctx, dut, every))

    simulator.add_testbench(testbench)
    simulator.run()


READINGS = {
    Opcode.READ: 1, Opcode.FAST_READ: 1, Opcode.DUAL_OUTPUT: 2, Opcode.QUAD_OUTPUT: 4, Opcode.QUAD_IO: 4,
}  # fmt: skip


@pytest.mark.parametrize("opcode", READINGS)
def test_every_read_goes_on_and_on(opcode: Opcode) -> None:
    async def work(bus: Bus) -> None:
        await bus.wake(quad=True)
        for at in (0, 3, 253, len(BYTES) - 5):
            wanted = (BYTES + b"\xff" * 20)[at : at + 9]
            assert await bus.ask(opcode, 9, FIRST + at, READINGS[opcode]) == wanted

    run(work)


def test_it_says_who_it_is_and_how() -> None:
    async def work(bus: Bus) -> None:
        await bus.wake()
        assert await bus.ask(Opcode.IDENTITY, 3) == bytes(W25Q128JV.identity)
        assert await bus.ask(Opcode.STATUS_1, 2) == b"\0\0" and await bus.ask(Opcode.STATUS_2, 1) == b"\0"
        await bus.say(Opcode.WRITE_ENABLE)
        assert await bus.ask(Opcode.STATUS_1, 1) == b"\2"
        await bus.say(Opcode.WRITE_DISABLE)
        assert await bus.ask(Opcode.STATUS_1, 1) == b"\0"
        await bus.say(Opcode.VOLATILE_ENABLE)
        await bus.say(Opcode.WRITE_STATUS_2, 2)
        assert await bus.ask(Opcode.STATUS_2, 1) == b"\2"

    run(work)


def test_program_and_erase() -> None:
    async def work(bus: Bus) -> None:
        await bus.wake()
        empty = FIRST + len(BYTES)
        await bus.change(Opcode.PROGRAM, 1, 2, 3, address=empty + 5)
        assert await bus.ask(Opcode.READ, 5, empty + 4) == b"\xff\1\2\3\xff"
        # Bits may still go to 0; a page goes round.
        await bus.change(Opcode.PROGRAM, 0, address=empty + 6)
        await bus.change(Opcode.PROGRAM, 7, 8, 9, address=empty + 255)
        assert await bus.ask(Opcode.READ, 2, empty + 255) == b"\x07\xff"
        assert await bus.ask(Opcode.READ, 8, empty) == b"\x08\x09\xff\xff\xff\1\0\3"
        await bus.change(Opcode.ERASE_SECTOR, address=empty + 77)
        assert await bus.ask(Opcode.READ, 2, empty - 1) == BYTES[-1:] + b"\xff"
        assert await bus.ask(Opcode.READ, 2, empty + 255) == b"\xff\xff"

    run(work)


def test_times_are_those_of_the_table() -> None:
    async def work(bus: Bus) -> None:
        await bus.wake()
        took = await bus.change(Opcode.PROGRAM, 0, address=FIRST + len(BYTES))
        assert 0.9 < took / (0.1 * W25Q128JV.program_s * CLOCK) < 1.1

    run(work, pace=0.1)


def test_power_comes_before_commands_and_those_before_changes() -> None:
    """W25Q128JV: tVSL, 20 us, and tPUW, 5 ms, of which all but 30 us are over when the clock begins."""

    async def reads(bus: Bus, cycles: int = 801) -> None:
        await bus.pause(cycles)
        await bus.wake()
        assert await bus.ask(Opcode.IDENTITY, 3) == bytes(W25Q128JV.identity)

    async def programs(bus: Bus, cycles: int = 1200) -> None:
        await bus.pause(cycles - 220)
        await bus.wake()
        await bus.change(Opcode.PROGRAM, 0, address=FIRST + len(BYTES))

    async def sets(bus: Bus, cycles: int = 1200) -> None:
        await bus.pause(cycles - 220)
        await bus.wake(quad=True)

    options = {"table": W25Q128JV, "configured_s": W25Q128JV.change_s - 30e-6}
    for work in (reads, programs, sets):
        run(work, **options)
    with pytest.raises(AssertionError, match="selected before it is up"):
        run(partial(reads, cycles=795), **options)
    for work in (programs, sets):
        with pytest.raises(AssertionError, match="a change too soon behind power-up"):
            run(partial(work, cycles=1180), **options)


def test_a_status_that_is_set_for_good_takes_its_time() -> None:
    """W25Q128JV: tW, 10 ms; none that is gone with the power."""

    async def work(bus: Bus, waits: bool = True) -> None:
        await bus.wake()
        await bus.say(Opcode.VOLATILE_ENABLE)
        await bus.say(Opcode.WRITE_STATUS_2, 0)
        assert await bus.ask(Opcode.STATUS_1, 1) == b"\0"
        await bus.say(Opcode.WRITE_ENABLE)
        await bus.say(Opcode.WRITE_STATUS_2, 2)
        if waits:
            took = await bus.settle()
            assert 0.9 < took / (0.01 * W25Q128JV.status_s * CLOCK) < 1.1
        assert await bus.ask(Opcode.QUAD_OUTPUT, 1, FIRST, 4) == BYTES[:1]

    run(work, pace=0.01)
    with pytest.raises(AssertionError, match="a command while it is busy"):
        run(partial(work, waits=False), pace=0.01)


def test_what_does_not_end_behind_a_byte_does_nothing() -> None:
    async def work(bus: Bus) -> None:
        await bus.wake()
        await bus.select()
        await bus.out(Opcode.WRITE_ENABLE)
        await bus.pulse()
        await bus.end()
        assert await bus.ask(Opcode.STATUS_1, 1) == b"\0"
        await bus.say(Opcode.WRITE_ENABLE)
        await bus.select()
        await bus.out(Opcode.PROGRAM)
        await bus.out(FIRST + len(BYTES), bits=24)
        await bus.out(0)
        await bus.pulse()
        await bus.end()
        assert await bus.ask(Opcode.STATUS_1, 1) == b"\2"
        assert await bus.ask(Opcode.READ, 1, FIRST + len(BYTES)) == b"\xff"

    run(work)


async def _asleep(bus: Bus) -> None:
    await bus.ask(Opcode.IDENTITY, 1)


async def _down(bus: Bus) -> None:
    await bus.wake()
    await bus.say(Opcode.POWER_DOWN)
    await bus.ask(Opcode.STATUS_1, 1)


async def _woken_too_soon(bus: Bus) -> None:
    await bus.say(Opcode.RELEASE)
    await bus.say(Opcode.WRITE_ENABLE)


async def _selected_too_soon(bus: Bus) -> None:
    await bus.wake()
    await bus.select()
    await bus.out(Opcode.WRITE_ENABLE)
    await bus.end(1)
    await bus.ask(Opcode.STATUS_1, 1)


async def _busy(bus: Bus) -> None:
    await bus.wake()
    await bus.say(Opcode.WRITE_ENABLE)
    await bus.say(Opcode.ERASE_SECTOR, address=FIRST)
    await bus.ask(Opcode.READ, 1, FIRST)


async def _no_quad(bus: Bus) -> None:
    await bus.wake()
    await bus.ask(Opcode.QUAD_OUTPUT, 1, FIRST, 4)


async def _no_quad_io(bus: Bus) -> None:
    await bus.wake()
    await bus.ask(Opcode.QUAD_IO, 1, FIRST, 4)


async def _no_enable(bus: Bus) -> None:
    await bus.wake()
    await bus.say(Opcode.ERASE_SECTOR, address=FIRST)


async def _one_enable_for_two(bus: Bus) -> None:
    await bus.wake()
    await bus.change(Opcode.PROGRAM, 0, address=FIRST + len(BYTES))
    await bus.say(Opcode.PROGRAM, 0, address=FIRST + len(BYTES))


async def _status_without_enable(bus: Bus) -> None:
    await bus.wake()
    await bus.say(Opcode.WRITE_STATUS_2, 2)


async def _to_one(bus: Bus) -> None:
    await bus.wake()
    await bus.change(Opcode.PROGRAM, 0xFF, address=FIRST + 9)


async def _outside(bus: Bus) -> None:
    await bus.wake()
    await bus.change(Opcode.ERASE_SECTOR, address=FIRST - 1)


async def _behind(bus: Bus) -> None:
    await bus.wake()
    await bus.change(Opcode.PROGRAM, 0, address=FIRST + 4 * WORDS)


async def _block_over_the_end(bus: Bus) -> None:
    await bus.wake()
    await bus.change(Opcode.ERASE_BLOCK, address=FIRST)


async def _unknown(bus: Bus) -> None:
    await bus.wake()
    await bus.say(0xC7)


async def _both_drive(bus: Bus) -> None:
    await bus.wake()
    await bus.select()
    await bus.out(Opcode.STATUS_1)
    await bus.pulse(drive=0b1111)


async def _both_drive_two(bus: Bus) -> None:
    await bus.wake()
    await bus.select()
    await bus.out(Opcode.DUAL_OUTPUT)
    await bus.out(FIRST, bits=24)
    for _ in range(8):
        await bus.pulse(drive=0b1100)
    await bus.pulse(drive=0b1101)


async def _nobody_drives(bus: Bus) -> None:
    await bus.wake()
    await bus.select()
    await bus.pulse(drive=0)


async def _no_address(bus: Bus) -> None:
    await bus.wake()
    await bus.select()
    await bus.out(Opcode.READ)
    await bus.pulse(drive=0b1100)


async def _half_an_address(bus: Bus) -> None:
    await bus.wake(quad=True)
    await bus.select()
    await bus.out(Opcode.QUAD_IO)
    await bus.pulse(0, 0b0111)


async def _no_data_to_write(bus: Bus) -> None:
    await bus.wake()
    await bus.say(Opcode.WRITE_ENABLE)
    await bus.select()
    await bus.out(Opcode.PROGRAM)
    await bus.out(FIRST, bits=24)
    await bus.pulse(drive=0b1100)


async def _not_selected(bus: Bus) -> None:
    await bus.wake()
    await bus.pulse()


async def _cut(bus: Bus, opcode: Opcode, pulses: int, drive: int) -> None:
    """Read with dummy clocks that are too few, or with lines that are driven in them."""
    await bus.wake(quad=True)
    await bus.select()
    await bus.out(opcode)
    await bus.out(FIRST, bits=24)
    for _ in range(pulses):
        await bus.pulse(drive=drive)
    await bus.end()


async def _no_data(bus: Bus) -> None:
    await _cut(bus, Opcode.QUAD_OUTPUT, 7, 0)


async def _drives_data(bus: Bus) -> None:
    await _cut(bus, Opcode.FAST_READ, 8, 0b0010)


async def _drives_data_of_two(bus: Bus) -> None:
    await _cut(bus, Opcode.DUAL_OUTPUT, 8, 0b1101)


async def _drives_data_of_four(bus: Bus) -> None:
    await _cut(bus, Opcode.QUAD_OUTPUT, 8, 0b1000)


async def _mode(bus: Bus, *pulses: tuple[int, int]) -> None:
    await bus.wake(quad=True)
    await bus.select()
    await bus.out(Opcode.QUAD_IO)
    await bus.out(FIRST, bits=24, lanes=4)
    for o, drive in pulses:
        await bus.pulse(o, drive)


async def _continuous(bus: Bus) -> None:
    await _mode(bus, (0b1110, 0b1111))


async def _no_mode(bus: Bus) -> None:
    await _mode(bus, (0b1111, 0b1111), (0b1111, 0b0111))


async def _drives_data_of_quad_io(bus: Bus) -> None:
    await _mode(bus, *6 * [(0b1111, 0b1111)])


BROKEN: list[tuple[Work, str]] = [
    (_asleep, "a command in power-down"),
    (_down, "a command in power-down"),
    (_woken_too_soon, "selected too soon"),
    (_selected_too_soon, "selected too soon"),
    (_busy, "a command while it is busy"),
    (_no_quad, "four lines without quad enable"),
    (_no_quad_io, "four lines without quad enable"),
    (_no_enable, "a change without write enable"),
    (_one_enable_for_two, "a change without write enable"),
    (_status_without_enable, "status without write enable"),
    (_to_one, "a bit that is 0 is to become 1 without erase"),
    (_outside, "a change outside of the region that is there"),
    (_behind, "a change outside of the region that is there"),
    (_block_over_the_end, "a change outside of the region that is there"),
    (_unknown, "an unknown command"),
    (_both_drive, "both ends drive a line"),
    (_both_drive_two, "both ends drive a line"),
    (_nobody_drives, "nobody drives the line of commands"),
    (_no_address, "nobody drives an address"),
    (_half_an_address, "nobody drives an address"),
    (_no_data_to_write, "nobody drives the line of data"),
    (_not_selected, "a clock pulse without select"),
    (_no_data, "a command ends before its first data"),
    (_drives_data, "a line is driven on which data come next"),
    (_drives_data_of_two, "a line is driven on which data come next"),
    (_drives_data_of_four, "a line is driven on which data come next"),
    (_drives_data_of_quad_io, "a line is driven on which data come next"),
    (_continuous, "mode bits that start continuous read"),
    (_no_mode, "nobody drives the mode bits"),
]


@pytest.mark.parametrize(("work", "says"), BROKEN, ids=[work.__name__ for work, _ in BROKEN])
def test_a_broken_rule_ends_the_run(work: Work, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        run(work)


@pytest.mark.parametrize(("hz", "opcode"), [(60_000_000, Opcode.READ), (140_000_000, Opcode.FAST_READ)])
def test_a_clock_that_is_too_fast(hz: int, opcode: Opcode) -> None:
    async def work(bus: Bus) -> None:
        await bus.say(Opcode.RELEASE)
        await bus.pause(600)
        assert await bus.ask(opcode, 3, FIRST) == BYTES[:3]

    with pytest.raises(AssertionError, match="a clock above"):
        run(work, clock_hz=hz)
    run(work, clock_hz=hz, every=2)


def test_an_address_behind_the_chip() -> None:
    async def work(bus: Bus) -> None:
        await bus.wake()
        await bus.ask(Opcode.READ, 1, 1 << 21)

    with pytest.raises(AssertionError, match="an address behind its end"):
        run(work, table=replace(AT_ONCE, size=1 << 21))


@pytest.mark.parametrize(
    ("status", "first", "count"),
    [
        (0b0000_0000, 0, 0),
        (0b0000_0100, 0xFC0000, 0x40000),
        (0b0001_1000, 0x800000, 0x800000),
        (0b0010_0100, 0, 0x40000),
        (0b0011_1000, 0, 0x800000),
        (0b0101_0000, 0xFF8000, 0x8000),
        (0b0100_0100, 0xFFF000, 0x1000),
        (0b0110_1000, 0, 0x2000),
        (0b0111_0100, 0, 0x8000),
        (0b0101_1100, 0, 0x1000000),
        (0b0001_1100, 0, 0x1000000),
    ],
)
def test_what_is_protected(status: int, first: int, count: int) -> None:
    """Rows of the datasheet's table of status register memory protection (WPS = 0, CMP = 0)."""
    assert protected(status, W25Q128JV.size) == (first, first + count)


def test_a_protected_place_is_not_changed() -> None:
    """Of a chip of 4 MiB the halves, the region begins the upper one; all of it can be read."""
    table = replace(AT_ONCE, size=1 << 22)
    lower, upper, last = 0b0011_1000, 0b0001_1000, 0b0100_0100

    async def free(bus: Bus) -> None:
        await bus.wake()
        assert await bus.ask(Opcode.STATUS_1, 1) == bytes([lower])
        assert await bus.ask(Opcode.READ, 2, FIRST - 1) == b"\xff" + BYTES[:1]
        await bus.change(Opcode.ERASE_SECTOR, address=FIRST)

    run(free, table=table, status=lower)
    for status, opcode, address in (
        (upper, Opcode.ERASE_SECTOR, FIRST + 5),
        (upper, Opcode.ERASE_BLOCK, FIRST),
        (upper, Opcode.PROGRAM, FIRST + len(BYTES)),
        (lower, Opcode.PROGRAM, FIRST - 1),
        (last, Opcode.ERASE_BLOCK, (1 << 22) - (1 << 16)),  # of whose sectors one is protected
    ):

        async def taken(bus: Bus, opcode: Opcode = opcode, address: int = address) -> None:
            await bus.wake()
            await bus.change(opcode, *[0] * (opcode == Opcode.PROGRAM), address=address)

        with pytest.raises(AssertionError, match="a change of what is protected"):
            run(taken, table=table, status=status)


def test_registers_that_are_protected_stay() -> None:
    async def work(bus: Bus, high: int = 0) -> None:
        await bus.wake()
        await bus.say(Opcode.VOLATILE_ENABLE)
        await bus.select()
        for bit in f"{Opcode.WRITE_STATUS_2:08b}00000010":
            await bus.pulse(int(bit) | 0b1000 | high)
        await bus.end()
        assert await bus.ask(Opcode.STATUS_2, 1) == b"\2"

    async def high(bus: Bus) -> None:
        await work(bus, 0b0100)

    run(work)
    run(high, status=0x80)
    with pytest.raises(AssertionError, match="status that is protected"):
        run(work, status=0x80)
