"""What is known of a device on a board: its build, with a floorplan; a record; or an estimate."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from xnorcore.errors import BuildError, XnorcoreError
from xnorcore.isa.device import DeviceConfig, options

from ..board import Board, all_boards
from ..families.family import Usage
from .recorded import measured

__all__ = ["MODULES", "build_facts", "floorplan"]

MODULES = ("array", "sequencer", "rows", "writer", "input", "control", "responder", "program")
_CELL = re.compile(r'^        "(.+)": \{$')
_PLACE = re.compile(r'^ +"NEXTPNR_BEL": "X(\d+)/?Y(\d+)')

_RECORDED = (
    "lut4", "lut4_available", "logic_cells", "ff", "bram", "bram_available", "clock_mhz", "fmax_mhz",
)  # fmt: skip


def build_facts(name: str, folder: str | None, config: DeviceConfig) -> dict[str, Any] | None:
    """Return what is known of a device on a board.

    Parameters
    ----------
    name : str
        Of the board.
    folder : str, optional
        Of a build, whose device it is then; default ``build/BOARD-RxCxW``, if that is of `config`.
    config : DeviceConfig
        The device, if no folder is given.

    Returns
    -------
    dict or None
        ``source``: ``build``, ``record`` (the board's own design, built before) or ``estimate``;
        ``device``: options of `DeviceConfig.parse`; ``clock_hz``; ``figures`` by name; ``refusal``: why an
        estimate does not fit the board. Of a build, else None: ``folder``, ``divisor``, ``floorplan``. Not of
        an estimate: ``seed``, ``tools``, ``critical_path``. None without such a board.

    Raises
    ------
    BuildError
        If the folder that is given cannot be read.
    """
    board = all_boards().get(name)
    if board is None:
        return None
    place = Path(folder) if folder else Path(f"build/{name}-{config.geometry}")
    found = _of_build(board, place, folder is not None)
    if found is not None and (folder is not None or found["device"] == options(config)):
        return found | {"floorplan": floorplan(place / board.part.family.netlist(f"seed{found['seed']}"))}
    none = dict.fromkeys(("folder", "divisor", "seed", "tools", "critical_path", "floorplan", "refusal"))
    common = {"device": options(config), "clock_hz": board.true_hz, **none}
    record = measured(name, config, board.true_hz)
    if record is None:
        return {"source": "estimate", **common, **_estimate(board, config)}
    own = {key: record[key] for key in ("seed", "tools", "critical_path")}
    figures = {key: record[key] for key in _RECORDED}
    return {"source": "record", **common, **own, "figures": figures}


def _of_build(board: Board, place: Path, given: bool) -> dict[str, Any] | None:
    """Return what the file of a build says, without a floorplan; None if there is none and none was given."""
    path = place / "build.json"
    if not path.is_file():
        if not given:
            return None
        raise BuildError(
            f"{place} holds no finished build (no build.json); run xnorcore build {board.name} --out {place}"
        )
    try:
        built = json.loads(path.read_text())
        if built["board"] != board.name:
            raise BuildError(f"{place} is a build of {built['board']!r}, not of {board.name!r}")
        used, seed = Usage(**built["usage"]), int(built["seed"])
        figures = {
            "lut4": used.lut4, "lut4_available": board.part.lut4, "logic_cells": used.logic_cells,
            "ff": used.ff, "bram": used.bram, "bram_available": board.part.bram,
            "clock_mhz": round(built["clock_hz"] / 1e6, 3), "fmax_mhz": built["fmax_mhz"][str(seed)],
        }  # fmt: skip
        device = options(DeviceConfig.parse(**built["config"]))
        return {
            "source": "build", "folder": str(place), "device": device, "clock_hz": int(built["clock_hz"]),
            "divisor": int(built["divisor"]), "seed": seed, "tools": dict(built["tools"]), "figures": figures,
            "critical_path": str(built["critical_path"]), "refusal": None,
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, XnorcoreError) as error:
        if not given:
            return None
        if isinstance(error, BuildError):
            raise
        said = f"it has no {error}" if isinstance(error, KeyError) else error
        raise BuildError(f"cannot read the build in {place}: {said}; build it again") from None


def _estimate(board: Board, config: DeviceConfig) -> dict[str, Any]:
    from .estimate import estimate_area
    from .inventory import config_blocks
    from .size import refusal

    part = board.part
    figures = {
        "logic_cells_estimated": estimate_area(part.family.name, config), "lut4_available": part.lut4,
        "bram": config_blocks(config, part.family), "bram_available": part.bram,
        "clock_mhz": round(board.true_hz / 1e6, 3),
    }  # fmt: skip
    return {"figures": figures, "refusal": refusal(board, config)}


def floorplan(netlist: Path) -> dict[str, Any] | None:
    """Return where a placed netlist's cells lie.

    Parameters
    ----------
    netlist : Path
        As nextpnr writes it, for any family: read line by line, since a large one has hundreds of megabytes.

    Returns
    -------
    dict or None
        ``modules``: names; ``cells``: (x, y, module) of each tile, by the module with the most cells there.
        None without such a file.

    Raises
    ------
    BuildError
        If no cell in it has a place.
    """
    if not netlist.is_file():
        return None
    tiles: dict[tuple[int, int], Counter[int]] = {}
    kind = len(MODULES)
    with netlist.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if cell := _CELL.match(line):
                parts = set(re.split(r"[.\\$ ]", cell[1]))
                kind = next((at for at, module in enumerate(MODULES) if module in parts), len(MODULES))
            elif place := _PLACE.match(line):
                tiles.setdefault((int(place[1]), int(place[2])), Counter())[kind] += 1
    if not tiles:
        raise BuildError(f"{netlist} has no placed cells; build it again")
    cells = [[x, y, count.most_common(1)[0][0]] for (x, y), count in sorted(tiles.items())]
    return {"modules": [*MODULES, "others"], "cells": cells}
