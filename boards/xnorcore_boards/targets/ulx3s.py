"""ULX3S: ECP5 of 25 or 85 thousand look-up tables, FT231X."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import SDRAM_WORDS, StoreKind

from ..board import Board, StoreChip
from ..families.ecp5 import LFE5U_25F_BG381, LFE5U_85F_BG381, with_flash
from ..families.family import Part

_FLASH = "R2", "W2 V2 Y2 W1"
"""Pins of the flash."""


def _25f() -> Any:
    from amaranth_boards.ulx3s import ULX3S_25F_Platform

    return with_flash(ULX3S_25F_Platform(), *_FLASH)


def _85f() -> Any:
    from amaranth_boards.ulx3s import ULX3S_85F_Platform

    return with_flash(ULX3S_85F_Platform(), *_FLASH)


def _board(size: str, part: Part, platform: Callable[[], Any], config: DeviceConfig, clock_hz: int) -> Board:
    return Board(
        name=f"ulx3s-{size.lower()}",
        title=f"ULX3S {size}",
        part=part,
        platform=platform,
        config=config,
        clock_pin="clk25",
        clock_in_hz=25_000_000,
        clock_hz=clock_hz,
        baud=3_000_000,
        best_baud=3_000_000,
        programmers=(("openFPGALoader", "-b", "ulx3s", "{}"), ("fujprog", "{}")),
        heartbeat=("led", 0),
        activity=("led", 1),
        error=("led", 2),
        usb=("0403", "6015"),
        chips=(
            StoreChip(StoreKind.SDRAM, "sdram", SDRAM_WORDS),
            # The upper half of the smallest that one is fitted with, 4 MiB; the bitstream begins at 0.
            StoreChip(StoreKind.FLASH2, "flash", 1 << 19, 1 << 21, every=2),
        ),
    )


# Maps take most of the block RAM; weights that exceed their buffers come from the SDRAM.
_25F = DeviceConfig(
    Geometry(1, 16, 64),
    acc_width=16,
    column_group=4,
    weight_depth=512,
    threshold_depth=256,
    act_depth=4096,
    program_depth=498,
    fifo_bytes=2048,
    line_bytes=2048,
    threshold_share=4,
    column_align=4,
    store_words=1 << 22,
    store_kind=StoreKind.SDRAM,
    kept_words=1 << 19,
)
_85F = replace(_25F, geometry=Geometry(3, 64, 64), program_depth=512, fifo_bytes=4096)

BOARDS = (
    _board("25F", LFE5U_25F_BG381, _25f, _25F, 75_000_000),
    _board("85F", LFE5U_85F_BG381, _85f, _85F, 75_000_000),
)
