"""Measured builds: what `xnorcore build` reports, and how it is kept."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xnorcore import __version__
from xnorcore.files.userfile import write_file
from xnorcore.isa.device import DeviceConfig

from ..board import Board
from ..build.flow import Built
from .recorded import MEASURED, read_records

__all__ = ["record", "report"]


def report(board: Board, config: DeviceConfig, built: Built, seconds: float) -> dict[str, Any]:
    """Return what ``xnorcore build --json`` prints.

    Parameters
    ----------
    board : Board
    config : DeviceConfig
    built : Built
    seconds : float
        Of the whole command.
    """
    g, used, part = config.geometry, built.usage, board.part
    return {
        "board": board.name,
        "device": part.name,
        "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
        "macs_per_cycle": g.peak,
        "lut4": used.lut4,
        "lut4_available": part.lut4,
        "logic_cells": used.logic_cells,
        "ff": used.ff,
        "bram": used.bram,
        "bram_available": part.bram,
        "spram": used.spram,
        "spram_available": part.spram,
        "clock_mhz": round(built.timing.clock_mhz, 3),
        "fmax_mhz": round(built.timing.fmax_mhz, 2),
        "timing_met": built.timing.met,
        "lut4_per_mac": round(used.lut4 / g.peak, 3),
        "array_lut4_per_mac": round(used.array_lut4 / g.peak, 3),
        "array_logic_cells_per_mac": round(used.array_logic_cells / g.peak, 3),
        "bitstream": os.fspath(built.bitstream),
        "seconds": round(seconds, 1),
    }


def record(
    board: Board, config: DeviceConfig, built: Built, value: dict[str, Any], path: Path = MEASURED
) -> None:
    """Put a measured build into the file of records, in place of the board's last one.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    records = read_records(path)
    kept = {name: item for name, item in value.items() if name != "bitstream"}
    tools = json.loads((built.folder / "build.json").read_text())["tools"]
    records[board.name] = kept | {
        "config": asdict(config),
        "seed": built.seed,
        "seeds": len(built.fmax),
        "critical_path": built.timing.critical,
        "tools": tools,
        "xnorcore": __version__,
    }
    write_file(path, (json.dumps(dict(sorted(records.items())), indent=1) + "\n").encode())
