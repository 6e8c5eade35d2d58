"""ECPIX-5: ECP5 of 45 or 85 thousand look-up tables, FT2232H."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind

from ..board import Board, StoreChip
from ..families.ecp5 import LFE5UM5G_45F_BG554, LFE5UM5G_85F_BG554, with_flash
from ..families.family import Part

_FLASH = "AA2", "AD2 AE2 AF2 AE1"
"""Pins of the flash."""


def _45f() -> Any:
    from amaranth_boards.ecpix5 import ECPIX545Platform

    return with_flash(ECPIX545Platform(), *_FLASH)


def _85f() -> Any:
    from amaranth_boards.ecpix5 import ECPIX585Platform

    return with_flash(ECPIX585Platform(), *_FLASH)


def _board(size: str, part: Part, platform: Callable[[], Any], config: DeviceConfig) -> Board:
    return Board(
        name=f"ecpix5-{size.lower()}",
        title=f"ECPIX-5 {size}",
        part=part,
        platform=platform,
        config=config,
        clock_pin="clk100",
        clock_in_hz=100_000_000,
        clock_hz=100_000_000,
        baud=3_000_000,
        best_baud=5_000_000,
        programmers=(("openFPGALoader", "-b", "ecpix5", "{}"),),
        heartbeat=("rgb_led", 0, "g"),
        activity=("rgb_led", 1, "b"),
        error=("rgb_led", 2, "r"),
        # The upper half of what 24 bits of address reach of an IS25LP256D; the bitstream begins at 0. Nobody
        # says how late USRMCLK is: at half the clock there is time for it.
        chips=(StoreChip(StoreKind.FLASH2, "flash", 1 << 21, 1 << 23, every=2),),
    )


# Room for maps of 32 by 32 pixels with 64 channels, and for two images: one comes while the other one runs.
_45F = DeviceConfig(
    Geometry(3, 32, 32),
    acc_width=16,
    column_group=8,
    weight_depth=512,
    threshold_depth=256,
    act_depth=8192,
    program_depth=498,
    fifo_bytes=4096,
    line_bytes=2048,
    threshold_share=4,
    store_words=1 << 17,
    store_kind=StoreKind.FLASH2,
)
_85F = replace(_45F, geometry=Geometry(3, 64, 64), act_depth=4096, column_align=4)

BOARDS = (
    _board("45F", LFE5UM5G_45F_BG554, _45f, _45F),
    _board("85F", LFE5UM5G_85F_BG554, _85f, _85F),
)
