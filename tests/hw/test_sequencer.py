"""The sequencer alone, with a program memory."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import pack_descriptor
from xnorcore_hw.sequence.program_memory import ProgramMemory
from xnorcore_hw.sequence.sequencer import Sequencer

from .streams import simulate

CONFIG = DeviceConfig(
    Geometry(1, 8, 8), weight_depth=256, threshold_depth=64, act_depth=64, program_depth=64, line_bytes=0
)
LAYER = {"run_last": 3, "plane_last": 1, "tile_last": 24, "out_base": 10, "end": 1}
BEATS = 4 * 2 * 25


class Running(Elaboratable):
    """A sequencer that runs one layer, which is not where the first one of a program is."""

    def __init__(self, config: DeviceConfig) -> None:
        self.sequencer = Sequencer(config)
        words = pack_descriptor(LAYER)
        self.program = ProgramMemory(config, words + [0] * (config.program_depth - len(words)))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sequencer, m.submodules.program = s, p = self.sequencer, self.program
        m.d.comb += [
            p.read.addr.eq(s.program.addr),
            p.read.following.eq(s.program.following),
            p.read.jump.eq(s.program.jump),
            p.read.move.eq(s.program.move),
            s.program.data.eq(p.read.data),
            s.program.ready.eq(p.read.ready),
        ]
        return m


@pytest.mark.parametrize("halves", [0, 1])
def test_beats_go_before_readouts_for_at_most_16_cycles(halves: int) -> None:
    dut = Running(replace(CONFIG, program_halves=halves))
    s = dut.sequencer
    beats, grants = [], []

    async def run(ctx: Any) -> None:
        ctx.set(s.run, 1)
        ctx.set(s.readout_valid, 1)
        await ctx.tick()
        ctx.set(s.run, 0)
        for cycle in range(20 + 2 * BEATS):
            *_, beat, grant = await ctx.tick().sample(s.ctl.valid, s.readout_grant)
            assert not (beat and grant)
            beats.extend([cycle] * beat)
            grants.extend([cycle] * grant)

    simulate(dut, run)
    assert len(beats) == BEATS
    while_beats = [cycle for cycle in grants if beats[0] < cycle < beats[-1]]
    waits = {after - before for before, after in pairwise(while_beats)}
    assert waits == {17}  # 16 cycles, and that of the grant
