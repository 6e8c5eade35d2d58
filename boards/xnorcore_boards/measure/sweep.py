"""Synthesis of a spread of configurations, which the area estimate is fitted to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from xnorcore.isa.device import DeviceConfig, Geometry

from ..board import Board, all_boards, find_board
from ..build import flow
from ..build.design import elaborate
from ..build.tools import require_tools, run_tool
from .estimate import estimate_area, write_area

__all__ = ["FAMILIES", "sweep"]

FAMILIES = {"ice40": "ice40-hx8k-b-evn", "ecp5": "ulx3s-25f", "gowin": "tang-nano-9k"}
"""Board whose part stands for its family."""

_SMALL = DeviceConfig(
    Geometry(1, 4, 8), 12, 256, 64, 256, 128, 512,
    column_group=8, line_bytes=0, counters=0, convolution=0, threshold_share=1, program_halves=1,
)  # fmt: skip


def _points() -> Iterator[DeviceConfig]:
    for rows, columns, width, share in (
        (1, 4, 8, 1), (1, 8, 32, 4), (4, 8, 16, 4), (3, 8, 32, 4), (3, 8, 32, 1), (2, 16, 32, 4),
        (2, 8, 64, 4),
    ):  # fmt: skip
        yield replace(_SMALL, geometry=Geometry(rows, columns, width), threshold_share=share)
    for rows, columns, width in ((1, 4, 8), (2, 8, 32), (1, 8, 64)):
        geometry = Geometry(rows, columns, width)
        yield replace(_SMALL, geometry=geometry, acc_width=16, convolution=1, line_bytes=512)
    yield replace(_SMALL, geometry=Geometry(2, 8, 32), convolution=1)
    yield replace(_SMALL, counters=1)
    yield replace(_SMALL, geometry=Geometry(4, 8, 16), acc_width=20)


def sweep(family: str, folder: Path, say: Callable[[str], None]) -> list[tuple[DeviceConfig, int, int]]:
    """Synthesize a spread of configurations and fit the family's model to them.

    Parameters
    ----------
    family : str
    folder : Path
        For the tools' files.
    say : callable
        Takes lines about the progress.

    Returns
    -------
    list of (DeviceConfig, int, int)
        Configuration, its logic cells, and what the fitted model says.
    """
    points = [(find_board(FAMILIES[family]), config) for config in _points()]
    points += [(board, board.config) for board in all_boards().values() if board.part.family.name == family]
    results: list[tuple[DeviceConfig, int]] = []
    for board, config in points:
        cells = synthesize(board, config, folder / f"{config.digest().hex()}")
        say(f"{family} {config.geometry}: {cells:,} logic cells")
        results.append((config, cells))
    write_area(family, results)
    return [(config, cells, estimate_area(family, config)) for config, cells in results]


def synthesize(board: Board, config: DeviceConfig, folder: Path) -> int:
    """Return the logic cells of a configuration, synthesized and packed, but not placed."""
    family = board.part.family
    design = elaborate(board, config)
    yosys, nextpnr, _ = require_tools(family.tools)
    flow.synthesize(design, folder, yosys)
    run_tool(nextpnr, [*family.inputs(board.part), "--pack-only"], folder, "pack.log")
    found = re.findall(r"^Info:\s+(\w+):\s*(\d+)/", (folder / "pack.log").read_text(), re.MULTILINE)
    return family.utilisation({name: int(used) for name, used in found})[0]
