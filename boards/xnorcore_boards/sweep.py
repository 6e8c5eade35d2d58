"""Synthesis of a spread of configurations, which the area estimate is fitted to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from xnorcore.geometry import DeviceConfig, Geometry

from .board import Board, find_board
from .design import elaborate
from .estimate import add_area, estimate_area
from .flow import find_array, synthesis_script
from .netlist import count_cells
from .tools import require_tools, run_tool

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
    # The largest that fits.
    largest = Geometry(6, 8, 32)
    yield replace(_SMALL, geometry=largest, acc_width=11, program_depth=114, threshold_share=4)


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
    board = find_board(FAMILIES[family])
    results = []
    for config in _points():
        cells = synthesize(board, config, folder / f"{config.digest().hex()}")
        say(f"{family} {config.geometry}: {cells:,} logic cells")
        add_area(family, config, cells)
        results.append((config, cells))
    return [(config, cells, estimate_area(family, config)) for config, cells in results]


def synthesize(board: Board, config: DeviceConfig, folder: Path) -> int:
    """Return the logic cells of a configuration, synthesized and packed, but not placed."""
    family = board.part.family
    design = elaborate(board, config)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "top.il").write_text(design.rtlil)
    (folder / f"top.{family.constraints}").write_text(design.constraints)
    (folder / "synth.ys").write_text(synthesis_script(board.part, find_array(design.modules)))
    yosys, nextpnr, _ = require_tools(family.tools)
    run_tool(yosys, ["-q", "-l", "yosys.log", "synth.ys"], folder, "yosys.out")
    if not family.shared_cells:
        return sum(family.luts(cells) for cells in count_cells(folder / "stat.json").values())
    # Registers and carries that need a logic cell of their own show only after packing.
    arguments = [*board.part.place, "--json", "top.json", "--pcf", "top.pcf", "--pack-only"]
    run_tool(nextpnr, arguments, folder, "pack.log")
    found = re.search(r"ICESTORM_LC:\s*(\d+)/", (folder / "pack.log").read_text())
    return int(found.group(1)) if found else 0
