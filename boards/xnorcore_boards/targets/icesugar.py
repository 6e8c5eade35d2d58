"""iCESugar: iCE40UP5K, iCELink (STM32F1)."""

from __future__ import annotations

from typing import Any

from xnorcore.isa.stores import StoreKind

from ..board import Board, StoreChip
from ..families.ice40 import UP5K_SG48
from .icebreaker import BOARD as ICEBREAKER


def _platform() -> Any:
    from amaranth_boards.icesugar import ICESugarPlatform

    return ICESugarPlatform()


BOARD = Board(
    name="icesugar",
    title="iCESugar",
    part=UP5K_SG48,
    platform=_platform,
    config=ICEBREAKER.config,
    clock_pin="clk12",  # of the iCELink, as it is set when it is delivered
    clock_in_hz=12_000_000,
    clock_hz=30_000_000,
    # The usual rate of an iCELink; a faster one is untried.
    baud=115_200,
    best_baud=115_200,
    programmers=(("icesprog", "{}"),),
    heartbeat=("led_g", 0),
    activity=("led_b", 0),
    error=("led_r", 0),
    usb=("1d50", "602b"),
    # The upper half of a W25Q64; the bitstream begins at 0.
    chips=(StoreChip(StoreKind.FLASH, "spi_flash_4x", 1 << 20, 1 << 22),),
)
