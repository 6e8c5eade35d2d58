"""The model of an SDRAM: right commands pass, and each rule of the datasheets fails what breaks it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
from amaranth.sim import Simulator

from xnorcore_hw.memory.stores.sdram_chips import (
    AS4C16M16SA_7,
    IS42S16160G_7,
    M12L64322A_7,
    ULX3S,
    SdramChip,
    cycles_of,
)
from xnorcore_hw.memory.stores.sdram_pins import SdramCommand
from xnorcore_hw.sim.models.sdram import SdramModel

HZ = 100_000_000
CHIP = replace(IS42S16160G_7, pause=1000, ras_most=3000, refreshes=8 * 8192)
"""With shorter pauses; refreshes are due every 97 cycles."""
ALL, AUTO = 1 << 10, 1 << 10
MODE2, MODE3 = 0x221, 0x231
NOTHING = 0x5A5A


@dataclass(frozen=True)
class Step:
    """A command, and the cycles since the one before."""

    command: SdramCommand
    gap: int = 10
    address: int = 0
    bank: int = 0
    mask: int = 0
    data: int | None = None


def precharge(gap: int = 10, address: int = ALL, bank: int = 0) -> Step:
    return Step(SdramCommand.PRECHARGE, gap, address, bank)


def refresh(gap: int = 10) -> Step:
    return Step(SdramCommand.REFRESH, gap)


def load(mode: int = MODE2, gap: int = 10, bank: int = 0) -> Step:
    return Step(SdramCommand.LOAD_MODE, gap, mode, bank)


def active(row: int, gap: int = 10, bank: int = 0) -> Step:
    return Step(SdramCommand.ACTIVE, gap, row, bank)


def read(column: int, gap: int = 10, bank: int = 0, mask: int = 0) -> Step:
    return Step(SdramCommand.READ, gap, column, bank, mask)


def write(column: int, data: int | None, gap: int = 10, bank: int = 0, mask: int = 0) -> Step:
    return Step(SdramCommand.WRITE, gap, column, bank, mask, data)


def nothing(gap: int, **pins: Any) -> Step:
    return Step(SdramCommand.NOP, gap, **pins)


def started(mode: int = MODE2) -> list[Step]:
    """Return the commands at power-up."""
    return [precharge(102), *[refresh() for _ in range(8)], load(mode)]


def run(steps: list[Step], chip: SdramChip = CHIP, hz: int = HZ, behind: int = 8) -> list[int]:
    """Return what is on the data lines in each cycle from the last command's on."""
    dut = SdramModel(chip, hz, 1 << 12)
    seen: list[int] = []

    async def bench(ctx: Any) -> None:
        pins, quiet = dut.pins, Step(SdramCommand.NOP)
        cycles = [one for step in steps for one in [quiet] * (step.gap - 1) + [step]]
        for step in [*cycles, *[quiet] * behind]:
            ctx.set(pins.command, step.command)
            ctx.set(pins.address, step.address)
            ctx.set(pins.bank, step.bank)
            ctx.set(pins.mask, step.mask)
            ctx.set(pins.oe, step.data is not None)
            ctx.set(pins.o, step.data or 0)
            seen.append(ctx.get(pins.i))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return seen[-behind - 1 :]


OPEN = [*started(), active(1)]
WRITTEN = [*OPEN, write(0, 0x1234), write(1, 0xABCD, 1), write(3, 0x5678, 1)]

TIMES = [
    ("tRCD", 2, lambda gap: [*OPEN, read(0, gap)]),
    ("tRCD", 2, lambda gap: [*OPEN, write(0, 7, gap)]),
    ("earlier than tRP behind PRECHARGE", 2, lambda gap: [*OPEN, precharge(), active(0, gap)]),
    ("AUTO REFRESH earlier than tRP", 2, lambda gap: [*OPEN, precharge(), refresh(gap)]),
    ("LOAD MODE REGISTER earlier than tRP", 2, lambda gap: [*OPEN, precharge(), load(gap=gap)]),
    ("tRAS", 4, lambda gap: [*OPEN, precharge(gap)]),
    ("tRAS", 4, lambda gap: [*OPEN, active(1, bank=3), precharge(gap)]),
    ("tRC", 6, lambda gap: [*OPEN, precharge(4), active(1, gap - 4)]),
    ("tRRD", 2, lambda gap: [*OPEN, active(1, gap, bank=1)]),
    ("tWR", 2, lambda gap: [*OPEN, write(0, 1), precharge(gap)]),
    ("tWR", 2, lambda gap: [*OPEN, write(0, 1), precharge(gap, address=0)]),
    ("cuts a burst", 2, lambda gap: [*OPEN, read(0), precharge(gap)]),
    ("cuts a burst", 3, lambda gap: [*started(MODE3), active(1), read(0), precharge(gap)]),
    ("tRFC", 6, lambda gap: [*started(), refresh(), active(0, gap)]),
    ("tRFC", 6, lambda gap: [*started(), refresh(), refresh(gap)]),
    ("tMRD", 2, lambda gap: [*started(), active(0, gap)]),
    ("pause", 101, lambda gap: [precharge(gap), *started()[1:]]),
    ("both sides drive", 5, lambda gap: [*WRITTEN, read(0), write(0, 5, gap)]),
    ("both sides drive", 6, lambda gap: [*started(MODE3), active(1), read(0), write(0, 5, gap)]),
]


@pytest.mark.parametrize(
    ("message", "least", "steps"), TIMES, ids=[f"{number}-{one[0]}" for number, one in enumerate(TIMES)]
)
def test_times(message: str, least: int, steps: Any) -> None:
    """What comes in time passes; a cycle earlier, it fails."""
    run(steps(least))
    with pytest.raises(AssertionError, match=re.escape(message)):
        run(steps(least - 1))


WRONG = [
    ("AUTO REFRESH before all banks", [refresh(102)]),
    ("AUTO REFRESH before all banks", [precharge(102, address=0), refresh()]),
    ("LOAD MODE REGISTER before the refreshes", [precharge(102), *[refresh() for _ in range(7)], load()]),
    ("ACTIVE before the mode register", [precharge(102), *[refresh() for _ in range(8)], active(0)]),
    ("a mode", started(0x222)),  # bursts of four
    ("a mode", started(0x211)),  # CAS latency 1
    ("a mode", started(0x229)),  # interleaved
    ("a mode", started(0x021)),  # bursts are written
    ("a mode", [*started()[:-1], load(bank=1)]),
    ("BURST TERMINATE", [*OPEN, Step(SdramCommand.TERMINATE)]),
    ("AUTO REFRESH while a row is open", [*OPEN, refresh()]),
    ("AUTO REFRESH while a row is open", [*OPEN, precharge(address=0, bank=1), refresh()]),
    ("LOAD MODE REGISTER while a row is open", [*OPEN, load()]),
    ("ACTIVE of a bank that has a row open", [*OPEN, active(2)]),
    ("a row that is not modelled", [*started(), active(4)]),
    ("no row open", [*OPEN, read(0, bank=1)]),
    ("no row open", [*OPEN, precharge(), write(0, 3)]),
    ("auto precharge", [*OPEN, read(AUTO)]),
    ("auto precharge", [*OPEN, write(512, 3)]),
    ("WRITE without data", [*OPEN, write(0, None)]),
    ("longer than tRAS allows", [*OPEN, nothing(301)]),
    ("more refreshes are owed", [*started(), nothing(9 * 97 + 1)]),
]


@pytest.mark.parametrize(("message", "steps"), WRONG, ids=[f"{n}-{one[0]}" for n, one in enumerate(WRONG)])
def test_wrong_commands(message: str, steps: list[Step]) -> None:
    with pytest.raises(AssertionError, match=re.escape(message)):
        run(steps)


def test_what_is_just_allowed() -> None:
    run([*OPEN, precharge(299), nothing(9 * 97 - 300 - 12)], behind=0)
    run([*started(), *[step for _ in range(20) for step in (nothing(80), refresh(17))]])
    run([*OPEN, precharge(address=0), active(3)])
    run([*OPEN, write(0, None, mask=3)])
    run([*OPEN, active(2, bank=2), read(0), read(0, bank=2), precharge(), active(0, bank=3)])


@pytest.mark.parametrize(
    ("chip", "hz", "message"),
    [
        (replace(AS4C16M16SA_7, pause=1000), 101_000_000, "too fast for a CAS latency of 2"),
        (replace(AS4C16M16SA_7, pause=1000), 143_000_000, "too fast for the chip"),
    ],
    ids=str,
)
def test_clocks(chip: SdramChip, hz: int, message: str) -> None:
    steps = [precharge(202), *[refresh(20) for _ in range(8)], load()]
    run([*steps[:-1], load(MODE3)], chip, 142_000_000)
    with pytest.raises(AssertionError, match=message):
        run(steps, chip, hz)


def test_data_come_in_their_cycles() -> None:
    """CAS latency 2 and 3; bursts of two, which a further READ may cut; what others get is nothing."""
    found = run([*WRITTEN, read(0)])
    assert found[:6] == [NOTHING, NOTHING, 0x1234, 0xABCD, NOTHING, NOTHING]
    written = [*started(MODE3), *WRITTEN[len(started()) :]]
    found = run([*written, read(1)])
    assert found[:6] == [NOTHING, NOTHING, NOTHING, 0xABCD, 0x1234, NOTHING]
    found = run([*WRITTEN, read(0), read(3, 1)])
    assert found[:5] == [NOTHING, 0x1234, 0x5678, 0, NOTHING]
    found = run([*WRITTEN, read(0), read(2, 2)])
    assert found[:6] == [0x1234, 0xABCD, 0, 0x5678, NOTHING, NOTHING]
    found = run([*WRITTEN, precharge(), active(2), write(0, 9), precharge(), active(1), read(0)])
    assert found[2:4] == [0x1234, 0xABCD]


def test_masks() -> None:
    """DQM keeps bytes as they are at once, and off the lines two cycles later."""
    found = run([*WRITTEN, write(0, 0xFFFF, mask=1), write(1, 0, mask=2), read(0)])
    assert found[2:4] == [0xFF34, 0xAB00]
    assert run([*WRITTEN, read(0, mask=1)])[2:4] == [0x125A, 0xABCD]
    assert run([*WRITTEN, read(0), nothing(1, mask=3)])[1:3] == [0x1234, NOTHING]


def test_chips() -> None:
    assert [chip.words for chip in (IS42S16160G_7, AS4C16M16SA_7, M12L64322A_7)] == [
        1 << 23,
        1 << 23,
        1 << 21,
    ]
    assert (ULX3S.rcd, ULX3S.ras, ULX3S.ras_most, ULX3S.pause) == (21, 42, 100_000, 200_000)
    assert [cycles_of(15, hz) for hz in (66_000_000, 67_000_000, 133_400_000)] == [1, 2, 3]
    assert [IS42S16160G_7.latency(hz) for hz in (133_000_000, 134_000_000)] == [2, 3]
