"""What is known of a board's build: usage, clock, critical path, and where the placer put each module."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from xnorcore.errors import BuildError

from ..board import all_boards
from .records import measured

__all__ = ["build_facts", "floorplan"]

MOST_BYTES = 1 << 30
"""Largest placed netlist that is read."""
MODULES = ("array", "sequencer", "rows", "writer", "input", "control", "responder", "program")
_SHOWN = (
    "device", "lut4", "lut4_available", "logic_cells", "ff", "bram", "bram_available", "clock_mhz",
    "fmax_mhz", "critical_path", "seed", "tools", "xnorcore",
)  # fmt: skip
_PLACE = re.compile(r"X(\d+)/?Y(\d+)")


def build_facts(name: str, folder: str | None) -> dict[str, Any] | None:
    """Return what is known of a board's own design: the figures kept of it, and a floorplan of a build.

    Parameters
    ----------
    name : str
    folder : str, optional
        Of a build; default ``build/BOARD-RxCxW``, if it is there.

    Returns
    -------
    dict or None
        ``figures`` by name; ``floorplan`` as of `floorplan`, or None. None if nothing is known.

    Raises
    ------
    BuildError
        If the build cannot be read.
    """
    board = all_boards().get(name)
    if board is None:
        return None
    place = Path(folder) if folder else Path(f"build/{name}-{board.config.geometry}")
    record = measured(board)
    figures: dict[str, Any] = {"clock_mhz": round(board.true_hz / 1e6, 3), "baud": board.best_baud}
    if record:
        figures |= {key: record[key] for key in _SHOWN if key in record}
    if isinstance(figures.get("tools"), dict):
        figures["tools"] = ", ".join(f"{tool} {version}" for tool, version in figures["tools"].items())
    plan = None
    if (place / "build.json").is_file():
        try:
            built = json.loads((place / "build.json").read_text())
            if folder and built.get("board") != name:
                raise BuildError(f"{place} is a build of {built.get('board')!r}, not of {name!r}")
            figures |= {"build folder": str(place), "seed": built["seed"]}
            plan = floorplan(place, f"seed{built['seed']}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise BuildError(f"cannot read the build in {place}: {error}; build it again") from None
    elif folder:
        raise BuildError(
            f"{place} holds no finished build (no build.json); run xnorcore build {name} --out {place}"
        )
    return {"figures": figures, "floorplan": plan}


def floorplan(folder: Path, stem: str) -> dict[str, Any] | None:
    """Return where a placed netlist's cells lie.

    Returns
    -------
    dict or None
        ``modules``: names; ``cells``: (x, y, module) of each tile, by the module with the most cells there.
        None if the family's tool leaves no placed netlist behind.
    """
    for name in (f"{stem}.json", f"{stem}.placed.json"):
        path = folder / name
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            return _read(json.loads(path.read_text()))
    return None


def _read(netlist: dict[str, Any]) -> dict[str, Any] | None:
    tiles: dict[tuple[int, int], Counter[int]] = {}
    top = next((module for module in netlist["modules"].values() if module.get("cells")), {"cells": {}})
    names = [*MODULES, "others"]
    for cell, what in top["cells"].items():
        place = _PLACE.search(str(what.get("attributes", {}).get("NEXTPNR_BEL", "")))
        if place is None:
            continue
        parts = set(re.split(r"[.\\$ ]", cell))
        kind = next((number for number, module in enumerate(MODULES) if module in parts), len(MODULES))
        tiles.setdefault((int(place[1]), int(place[2])), Counter())[kind] += 1
    if not tiles:
        return None
    cells = [[x, y, count.most_common(1)[0][0]] for (x, y), count in sorted(tiles.items())]
    return {"modules": names, "cells": cells}
