"""iCE40-HX8K breakout board: iCE40HX8K, FT2232H."""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind

from ..board import Board, StoreChip
from ..families.ice40 import HX8K_CT256


def _platform() -> Any:
    from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

    return ICE40HX8KBEVNPlatform()


BOARD = Board(
    name="ice40-hx8k-b-evn",
    title="iCE40-HX8K Breakout Board",
    part=HX8K_CT256,
    platform=_platform,
    config=DeviceConfig(
        Geometry(2, 4, 16),
        acc_width=14,
        weight_depth=256,
        threshold_depth=64,
        act_depth=2048,
        program_depth=128,
        fifo_bytes=2048,
        column_group=4,
        line_bytes=512,
        counters=0,
        threshold_share=4,
        program_halves=1,
        column_align=2,
        store_words=1 << 17,
        store_kind=StoreKind.FLASH2,
    ),
    clock_pin="clk12",
    clock_in_hz=12_000_000,
    clock_hz=84_000_000,
    baud=3_000_000,
    best_baud=12_000_000,
    programmers=(("iceprog", "{}"), ("openFPGALoader", "-b", "ice40_generic", "-f", "{}")),
    heartbeat=("led", 0),
    activity=("led", 1),
    error=("led", 2),
    # The upper half of an N25Q032; the bitstream begins at 0.
    chips=(StoreChip(StoreKind.FLASH2, "spi_flash_2x", 1 << 19, 1 << 21),),
)
