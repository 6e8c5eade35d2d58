"""Pads of an SDRAM that are no DDR registers: late by as much as the simulated device's are."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from amaranth import ClockDomain, Elaboratable, Module, Signal
from amaranth.lib import io
from amaranth.sim import Simulator

from xnorcore_boards.board import find_board
from xnorcore_boards.build.design import elaborate
from xnorcore_boards.families import gowin_sdram
from xnorcore_boards.gates.chips import chip_models
from xnorcore_hw.memory.stores.sdram_chips import M12L64322A_7
from xnorcore_hw.memory.stores.sdram_pins import PadRegisters, SdramPins

from .test_targets import SMALL

WIDTHS = {"clk": 1, "clk_en": 1, "cs": 1, "ras": 1, "cas": 1, "we": 1, "ba": 2, "a": 11, "dqm": 4, "dq": 32}
ACTIVE_LOW = {"cs", "ras", "cas", "we"}
"""The platform inverts these."""
OUT = {"command": 3, "bank": 2, "address": 11, "mask": 4, "o": 32, "oe": 1}


class Clock(Elaboratable):
    """In place of a DDR output."""

    def __init__(self, direction: str, port: Any) -> None:
        self.o = Signal(2)

    def elaborate(self, platform: object) -> Module:
        return Module()


def test_registers_are_those_of_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gowin_sdram.io, "DDRBuffer", Clock)
    ports = {name: io.SimulationPort("io" if name == "dq" else "o", width, invert=name in ACTIVE_LOW)
             for name, width in WIDTHS.items()}  # fmt: skip
    pins = SdramPins(M12L64322A_7).create()
    m, pads = Module(), Module()
    m.domains.sync = sync = ClockDomain("sync")
    m.submodules.pads, m.submodules.known = pads, (known := PadRegisters(M12L64322A_7))
    gowin_sdram.add_pads(pads, SimpleNamespace(**ports), pins, known.outer.command[0] | 1)
    rng = np.random.default_rng(0)
    count = 60
    values = {name: rng.integers(0, 1 << width, count) for name, width in OUT.items()}
    read = rng.integers(0, 1 << 32, count)

    async def bench(ctx: Any) -> None:
        driven = 0
        for n in range(count):
            ctx.set(sync.clk, 1)
            await ctx.delay(1e-9)
            for name in OUT:
                ctx.set(getattr(pins, name), int(values[name][n]))
                ctx.set(getattr(known.inner, name), int(values[name][n]))
            ctx.set(known.outer.i, int(read[n]))
            await ctx.delay(4e-9)
            # Just before the clock falls, the chip takes what is there, and what it has given is still there.
            ctx.set(ports["dq"].i, int(read[n]))
            await ctx.delay(1e-10)
            outer = known.outer
            shown = {name: ctx.get(port.o) for name, port in ports.items()}
            bits = [1 - shown[name] for name in ("ras", "cas", "we")]
            assert [1 - bit for bit in bits] == [ctx.get(outer.command) >> bit & 1 for bit in range(3)]
            assert (shown["ba"], shown["a"]) == (ctx.get(outer.bank), ctx.get(outer.address))
            assert (shown["dqm"], shown["dq"]) == (ctx.get(outer.mask), ctx.get(outer.o))
            assert ctx.get(ports["dq"].oe) == (0xFFFF_FFFF if ctx.get(outer.oe) else 0)
            assert shown["clk_en"] == 1 and shown["cs"] == 0
            # What is driven comes back.
            assert driven or ctx.get(pins.i) == ctx.get(known.inner.i)
            driven = ctx.get(outer.oe)
            ctx.set(sync.clk, 0)
            await ctx.delay(1e-9)
            ctx.set(ports["dq"].i, int(rng.integers(0, 1 << 32)))
            await ctx.delay(4e-9)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_every_pad_has_its_place() -> None:
    """Two pads are at one place in no design, and there is one for each bit."""
    config = replace(SMALL, store_words=1 << 21, store_kind=3)
    design = elaborate(find_board("tang-nano-20k"), config)
    places = [line.split()[-1].rstrip(";") for line in design.constraints.splitlines()
              if line.startswith("IO_LOC") and "sdram" in line]  # fmt: skip
    assert len(places) == len(set(places)) == sum(WIDTHS.values())


@pytest.mark.parametrize("name", ["ulx3s-25f", "tang-nano-20k"])
def test_the_chip_beside_a_netlist_is_as_large_as_the_board_s_store(name: str) -> None:
    board = find_board(name)
    chip, *_ = chip_models(board, board.config)
    (memory,) = (cell for cell in chip.modules()[chip.kind]["cells"].values() if cell["type"] == "$mem_v2")
    bits = int(memory["parameters"]["SIZE"], 2) * int(memory["parameters"]["WIDTH"], 2)
    assert bits == 32 * board.config.store_words
