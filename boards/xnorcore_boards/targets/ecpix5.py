"""ECPIX-5: ECP5 of 45 or 85 thousand look-up tables, FT2232H."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xnorcore.geometry import DeviceConfig, Geometry

from ..board import Board
from ..ecp5 import LFE5UM5G_45F_BG554, LFE5UM5G_85F_BG554
from ..family import Part


def _45f() -> Any:
    from amaranth_boards.ecpix5 import ECPIX545Platform

    return ECPIX545Platform()


def _85f() -> Any:
    from amaranth_boards.ecpix5 import ECPIX585Platform

    return ECPIX585Platform()


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
    )


BOARDS = (
    _board(
        "45F", LFE5UM5G_45F_BG554, _45f, DeviceConfig(Geometry(1, 32, 64), weight_depth=512, act_depth=2048)
    ),
    _board("85F", LFE5UM5G_85F_BG554, _85f, DeviceConfig(Geometry(1, 64, 64), act_depth=4096)),
)
