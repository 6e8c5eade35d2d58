"""iCEstick: iCE40HX1K, FT2232H."""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry

from ..board import Board
from ..families.ice40 import HX1K_TQ144


def _platform() -> Any:
    from amaranth_boards.icestick import ICEStickPlatform

    return ICEStickPlatform()


BOARD = Board(
    name="icestick",
    title="iCEstick",
    part=HX1K_TQ144,
    platform=_platform,
    config=DeviceConfig(
        Geometry(1, 4, 8),
        acc_width=12,
        weight_depth=256,
        threshold_depth=64,
        act_depth=256,
        program_depth=128,
        fifo_bytes=512,
        column_group=8,
        line_bytes=0,
        counters=0,
        convolution=0,
        threshold_share=1,
        program_halves=1,
    ),
    clock_pin="clk12",
    clock_in_hz=12_000_000,
    clock_hz=12_000_000,
    baud=3_000_000,
    best_baud=3_000_000,
    programmers=(("iceprog", "{}"), ("openFPGALoader", "-b", "ice40_generic", "-f", "{}")),
    heartbeat=("led", 4),
    activity=("led", 0),
    error=("led", 1),
)
