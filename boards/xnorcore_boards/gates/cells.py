"""The models of a family's cells, from Yosys, each one lowered to gates."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from xnorcore.errors import EngineError
from xnorcore_hw.sim.cxxrtl import headers
from xnorcore_hw.sim.toolchain import Tool, require_yosys

from ..process import how_it_ended

__all__ = ["lower_cells", "models", "run_script"]

_NONE: Mapping[str, str] = {}
# Of modules, not of a netlist: each kind of cell is converted once. techmap leaves no operator, dfflegalize
# one kind of register, and the last steps what `GATES` of `flatten` are.
LOWER = (
    "proc; opt; memory -nomap; opt; techmap; opt -full; dfflegalize -cell $_DFF_P_ 01; "
    "opt -full -nodffe -nosdff; simplemap; opt_clean"
)


@lru_cache
def _texts(share: Path, files: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """Return the macros at the start of the first file, and all models by name, without their timing."""
    prefix, found = "", {}
    for name in files:
        text = (share / name).read_text()
        text = re.sub(r"\bspecify\b.*?\bendspecify\b", "", text, flags=re.DOTALL)
        prefix = prefix or text[: re.search(r"^(\(\*|module\b)", text, re.MULTILINE).start()]  # type: ignore[union-attr]
        for match in re.finditer(r"^module\s+(\w+).*?^\s*endmodule", text, re.MULTILINE | re.DOTALL):
            found[match[1]] = match[0]
    return prefix, found


def models(files: tuple[str, ...], kinds: Iterable[str], own: Mapping[str, str] = _NONE) -> str:
    """Return Verilog models of some kinds of cells, and of the cells that these are made of.

    Parameters
    ----------
    files : tuple of str
        Of Yosys, relative to its data folder.
    kinds : iterable of str
    own : mapping of str to str
        Models in their place, by kind.

    Raises
    ------
    EngineError
        If Yosys has no model of one of them.
    """
    share = headers(require_yosys()).parents[3]
    prefix, texts = _texts(share, files)
    texts = {**texts, **own}
    wanted, parts = list(dict.fromkeys(kinds)), []
    for kind in wanted:
        if kind not in texts:
            raise EngineError(f"the netlist has a cell {kind}, for which there is no model")
        parts.append(texts[kind])
        used = re.findall(r"^\s*(\w+)\s*#?\s*\(", texts[kind], re.MULTILINE)
        wanted += [name for name in dict.fromkeys(used) if name in texts and name not in wanted]
    return prefix + "\n".join(parts) + "\n"


def lower_cells(
    files: tuple[str, ...], cells: Iterable[Mapping[str, Any]], own: Mapping[str, str] = _NONE
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return modules of gates for cells of a netlist.

    Parameters
    ----------
    files, own
        As for `models`.
    cells : iterable of mapping
        As in Yosys' JSON.

    Returns
    -------
    dict, dict
        Modules, as Yosys writes them as JSON; and the module of each kind of cell by its `cell_key`.
    """
    kinds: dict[str, Mapping[str, Any]] = {}
    for cell in cells:
        kinds.setdefault(cell_key(cell), cell)
    instances = {
        f"k{index}": {
            "type": cell["type"],
            "parameters": cell["parameters"],
            "attributes": {"keep": "1"},
            "port_directions": {},
            "connections": {},
        }
        for index, cell in enumerate(kinds.values())
    }
    top = {"attributes": {"top": "1"}, "ports": {}, "cells": instances, "netnames": {}}
    texts = {
        "models.v": models(files, (cell["type"] for cell in kinds.values()), own),
        "cells.json": json.dumps({"creator": "xnorcore", "modules": {"top": top}}),
    }
    script = "read_verilog -nomem2reg models.v; read_json cells.json; hierarchy -top top; " + LOWER
    modules = run_script(texts, script)
    made = modules.pop("top")["cells"]
    return modules, {key: made[f"k{index}"]["type"] for index, key in enumerate(kinds)}


def cell_key(cell: Mapping[str, Any]) -> str:
    """Return what makes two cells the same: type and parameters."""
    return cell["type"] + json.dumps(sorted(cell["parameters"].items()))


def run_script(files: Mapping[str, str], script: str) -> dict[str, Any]:
    """Run Yosys on files, and return the modules that it has at the end.

    Raises
    ------
    MissingDependencyError
        If there is no Yosys.
    EngineError
        If it fails, or does not write all of them.
    """
    yosys = require_yosys()
    with tempfile.TemporaryDirectory(prefix="xnorcore-") as name:
        folder = Path(name)
        for file, text in files.items():
            (folder / file).write_text(text)
        _run(yosys, folder, script + "; write_json -noscopeinfo out.json")
        try:
            return json.loads((folder / "out.json").read_text())["modules"]
        except ValueError as error:
            raise EngineError(f"Yosys did not write the whole netlist: {error}") from error


def _run(yosys: Tool, folder: Path, script: str) -> None:
    # Relative names: YoWASP sees its working directory, but not all absolute paths.
    done = subprocess.run(
        [*yosys.command, "-q", "-p", script],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        last = " | ".join(line.strip() for line in done.stdout.strip().splitlines()[-3:])
        raise EngineError(
            f"{yosys.name} {yosys.version} could not read the cells of the netlist "
            f"({how_it_ended(done.returncode)}): {last}"
        )
