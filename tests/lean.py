"""A configuration for tests of a board: that of a board's file may change, and they hold all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from xnorcore.isa.device import DeviceConfig, Geometry, options

if TYPE_CHECKING:
    from xnorcore_boards.board import Board

LEAN = DeviceConfig(
    Geometry(3, 8, 32), 11, 256, 64, 256, 114, 512,
    column_group=8, line_bytes=0, counters=0, convolution=0, threshold_share=4, program_halves=1,
)  # fmt: skip
"""Dense and small: of the packaged networks it holds mnist-tfc, has mnist-sfc in six passes, and no other."""


def lean_board(patch: pytest.MonkeyPatch, config: DeviceConfig = LEAN) -> Board:
    """Give the iCEBreaker a configuration as its own, for all that runs in this process; return the board."""
    from dataclasses import replace

    from xnorcore_boards.board import all_boards
    from xnorcore_boards.targets import icebreaker

    all_boards()  # another one, which takes its configuration from this one's, has it from now on
    board = replace(icebreaker.BOARD, config=config)
    patch.setattr(icebreaker, "BOARD", board)
    return board


def build_options(config: DeviceConfig) -> tuple[str, ...]:
    """Return the options of ``build`` that make a configuration, whatever the board's own one is."""
    sizes = ("rows", "columns", "width")
    fields = [f"--set={name}={value}" for name, value in options(config).items() if name not in sizes]
    return (f"--geometry={config.geometry}", *fields)
