"""iCEBreaker: iCE40UP5K, FT2232H."""

from __future__ import annotations

from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind

from ..board import Board, StoreChip
from ..families.ice40 import UP5K_SG48


def _platform() -> Any:
    from amaranth_boards.icebreaker import ICEBreakerPlatform

    platform = ICEBreakerPlatform()
    platform.add_resources(platform.break_off_pmod)
    return platform


BOARD = Board(
    name="icebreaker",
    title="iCEBreaker",
    part=UP5K_SG48,
    platform=_platform,
    # Two SPRAMs hold the maps, two the queue behind the flash.
    config=DeviceConfig(
        Geometry(1, 8, 32),
        acc_width=14,
        weight_depth=256,
        threshold_depth=64,
        act_depth=16384,
        program_depth=498,
        fifo_bytes=512,
        column_group=8,
        line_bytes=512,
        counters=0,
        convolution=1,
        threshold_share=4,
        program_halves=1,
        whole_windows=1,
        act_ports=1,
        store_words=1 << 17,
        store_kind=StoreKind.QUEUED,
    ),
    clock_pin="clk12",
    clock_in_hz=12_000_000,
    clock_hz=36_000_000,
    baud=3_000_000,
    best_baud=6_000_000,
    programmers=(("iceprog", "{}"), ("openFPGALoader", "-b", "ice40_generic", "-f", "{}")),
    heartbeat=("led_g", 0),
    activity=("led_g", 1),  # on the part that breaks off, or on PMOD 2
    error=("led_r", 0),
    # The upper half of a W25Q128JV; the bitstream begins at 0.
    chips=(StoreChip(StoreKind.FLASH, "spi_flash_4x", 1 << 21, 1 << 23),),
)
