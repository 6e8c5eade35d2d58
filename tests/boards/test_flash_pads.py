"""Pads of a serial flash whose clock is no DDR register: as late as the simulated device's are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth import ClockDomain, Module
from amaranth.lib import io
from amaranth.sim import Simulator

from xnorcore.errors import BuildError
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import FLASHES, StoreKind
from xnorcore_boards.board import StoreChip, all_boards, find_board
from xnorcore_boards.families.gowin import GW1NR_9C_QN88P
from xnorcore_boards.flash_pads import flash_pads, flash_place
from xnorcore_boards.gates.chips import chip_models
from xnorcore_hw.memory.stores.flash_pins import FlashSignature
from xnorcore_hw.sim.models.flash_table import W25Q128JV
from xnorcore_hw.sim.models.flash_wired import CONFIGURED_S

COUNT = 60


@pytest.mark.parametrize("every", [1, 2])
def test_a_clock_out_of_the_fabric(every: int) -> None:
    """It is low in the first half of a cycle, as everything is a cycle late; what comes is later still."""
    place = flash_place(StoreChip(StoreKind.FLASH2, "flash", 1 << 11, 1 << 13, every))
    lines = place.lanes
    assert (lines, place.lag) == (2 * every, 1 + every)
    ports = {
        "cs": io.SimulationPort("o", 1, invert=True),
        "clk": io.SimulationPort("o", 1),
        "dq": io.SimulationPort("io", lines),
    }
    m, pads, chip = Module(), Module(), FlashSignature().create()
    m.domains.sync = sync = ClockDomain("sync", reset_less=True)
    m.submodules.pads = pads
    flash_pads(pads, GW1NR_9C_QN88P.family, place, SimpleNamespace(**ports), chip)
    rng, whole = np.random.default_rng(0), (1 << lines) - 1
    widths = {"select": 1, "clock": 1, "o": 4, "drive": 4}
    sent = {name: rng.integers(0, 1 << width, COUNT) for name, width in widths.items()}
    read = rng.integers(0, 1 << lines, COUNT)

    async def bench(ctx: Any) -> None:
        bus: list[int] = []
        for n in range(COUNT):
            ctx.set(sync.clk, 1)
            await ctx.delay(1e-9)
            for name, values in sent.items():
                ctx.set(getattr(chip, name), int(values[n]))
            ctx.set(ports["dq"].i, int(read[n]))
            before = {name: int(values[n - 1]) for name, values in sent.items()}
            for half in range(2):
                await ctx.delay(4e-9)
                if n:
                    assert ctx.get(ports["clk"].o) == half * before["clock"]
                    assert ctx.get(ports["cs"].o) == 1 - before["select"]
                    assert ctx.get(ports["dq"].o) == before["o"] & whole
                    assert ctx.get(ports["dq"].oe) == before["drive"] & whole
                if n > place.lag:
                    assert ctx.get(chip.i) & whole == bus[n - place.lag + 1]
                ctx.set(sync.clk, 0)
            driven = before["drive"] & whole if n else 0
            bus.append(before["o"] & driven | int(read[n]) & ~driven)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_a_flash_beside_a_netlist_needs_a_clock_from_a_pad() -> None:
    config = DeviceConfig(store_words=1 << 12, store_kind=StoreKind.FLASH2)
    with pytest.raises(BuildError, match="tang-nano-9k: its flash cannot be beside a netlist"):
        chip_models(find_board("tang-nano-9k"), config)
    assert chip_models(find_board("ice40-hx8k-b-evn"), config)


SMALLEST = {"ice40": 104_090, "ecp5": 172_700}
"""Bytes of a configuration: all of an UP5K have so many; the least of an ECP5 that was built for a board."""


@pytest.mark.parametrize("name", all_boards())
def test_a_flash_has_power_for_long_enough(name: str) -> None:
    """Before it is selected: the gateware waits. Before its status is set: its FPGA was configured by it."""
    board, slowest_s = find_board(name), 10e-3
    for place in (flash_place(chip) for chip in board.chips if chip.kind in FLASHES):
        assert place.wake / board.true_hz >= W25Q128JV.up_s
        if place.lanes == 4:
            options = dict(zip(board.pack[::2], board.pack[1::2], strict=True))
            assert "--spimode" not in options, "it is read on one line"
            mhz = 40 if board.part.family.name == "ice40" else float(options.get("--freq", "2.4"))
            taken = 8 * SMALLEST[board.part.family.name] / (mhz * 1e6)
            assert taken >= CONFIGURED_S >= slowest_s > W25Q128JV.change_s
