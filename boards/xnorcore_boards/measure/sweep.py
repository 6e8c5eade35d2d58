"""Synthesis of a spread of configurations, which the area estimate is fitted to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import FLASHES

from ..board import Board, all_boards, find_board
from ..build import flow
from ..build.design import elaborate
from ..build.tools import require_tools, run_tool
from .estimate import estimate_area, write_area

__all__ = ["FAMILIES", "points", "sweep"]

FAMILIES = {
    "ice40": "ice40-hx8k-b-evn",
    "ecp5": "ulx3s-25f",
    "gowin": "tang-nano-9k",
    "gatemate": "gatemate-a1-evb",
}
"""Board whose part stands for its family."""
ONE_PORT = {"ice40": "icebreaker"}
"""Board with memories of one port, in families that have some."""

_SMALL = DeviceConfig(
    Geometry(1, 4, 8), 12, 256, 64, 256, 128, 512,
    column_group=8, line_bytes=0, counters=0, convolution=0, threshold_share=1, program_halves=1,
)  # fmt: skip


def points(family: str) -> Iterator[tuple[Board, DeviceConfig]]:
    """Return what is synthesized for a family: a spread of configurations, and those of its boards."""
    board = find_board(FAMILIES[family])
    for config in (*_dense(), *_convolutions(), *_few_bits()):
        yield board, config
    if one_port := ONE_PORT.get(family):
        for config in _one_port():
            yield find_board(one_port), config
        for config in _flash(find_board(one_port)):
            yield find_board(one_port), config
    own = {board.config: board for board in all_boards().values() if board.part.family.name == family}
    for config, named in own.items():
        yield named, config


def _dense() -> Iterator[DeviceConfig]:
    for rows, columns, width, share in (
        (1, 4, 8, 1), (1, 8, 32, 4), (4, 8, 16, 4), (3, 8, 32, 4), (3, 8, 32, 1), (2, 16, 32, 4),
        (2, 8, 64, 4), (2, 16, 32, 1),
    ):  # fmt: skip
        yield replace(_SMALL, geometry=Geometry(rows, columns, width), threshold_share=share)
    yield replace(_SMALL, geometry=Geometry(3, 8, 32), threshold_share=4, threshold_depth=256)
    yield replace(_SMALL, counters=1)
    yield replace(_SMALL, geometry=Geometry(4, 8, 16), acc_width=20)


def _convolutions() -> Iterator[DeviceConfig]:
    with_lines = replace(_SMALL, acc_width=16, convolution=1, line_bytes=512)
    for rows, columns, width, whole in (
        (1, 4, 8, 0), (2, 8, 32, 0), (1, 8, 64, 0), (1, 8, 32, 1), (3, 8, 32, 1), (2, 16, 64, 1),
    ):  # fmt: skip
        yield replace(with_lines, geometry=Geometry(rows, columns, width), whole_windows=whole)
    yield replace(_SMALL, geometry=Geometry(2, 8, 32), convolution=1)


def _few_bits() -> Iterator[DeviceConfig]:
    """Yield configurations for values and weights of several bits, and with a results unit."""
    base = replace(_SMALL, acc_width=20, convolution=1, line_bytes=512, whole_windows=1, weight_depth=512)
    for rows, columns, width, more in (
        (1, 8, 32, {"code_bits": 2}),
        (2, 8, 16, {"code_bits": 3}),
        (1, 8, 32, {"code_bits": 3, "row_sums": 1}),
        (1, 8, 16, {"code_bits": 4, "result_lanes": 1}),
        (1, 16, 16, {"code_bits": 8, "result_lanes": 4, "value_depth": 512}),
    ):
        yield replace(base, geometry=Geometry(rows, columns, width), **more)


def _one_port() -> Iterator[DeviceConfig]:
    one = replace(_SMALL, acc_width=16, act_ports=1, act_depth=8192)
    for rows, lines in ((1, 0), (2, 0), (1, 512), (2, 512)):
        windows = {"convolution": 1, "whole_windows": 1, "line_bytes": lines} if lines else {}
        yield replace(one, geometry=Geometry(rows, 8, 32), **windows)


def _flash(board: Board) -> Iterator[DeviceConfig]:
    """Yield configurations whose weights come from a board's flash, with maps in memories of one port."""
    (chip,) = (chip for chip in board.chips if chip.kind in FLASHES)
    for columns, width in ((8, 16), (4, 32), (8, 32)):
        array = replace(board.config, geometry=Geometry(1, columns, width), weight_depth=256)
        yield replace(array, store_words=chip.words, store_kind=chip.kind)


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
    results: list[tuple[DeviceConfig, int]] = []
    with flow.building(folder):
        for board, config in points(family):
            cells = synthesize(board, config, folder / f"{config.digest().hex()}")
            say(f"{family} {config.geometry}: {cells:,} logic cells")
            results.append((config, cells))
    write_area(family, results)
    return [(config, cells, estimate_area(family, config)) for config, cells in results]


def synthesize(board: Board, config: DeviceConfig, folder: Path) -> int:
    """Return the logic cells that a configuration takes once it is placed: it is synthesized and packed."""
    family = board.part.family
    design = elaborate(board, config)
    yosys, nextpnr, _ = require_tools(family.tools)
    flow.synthesize(design, folder, yosys)
    run_tool(nextpnr, [*family.inputs(board.part), "--pack-only"], folder, "pack.log")
    found = re.findall(r"^Info:\s+(\w+):\s*(\d+)/", (folder / "pack.log").read_text(), re.MULTILINE)
    return round(family.packed * family.logic_cells({name: int(used) for name, used in found}))
