"""What a design takes: cells that Yosys and nextpnr report, in the array and in all."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..families.family import Family, Usage

__all__ = ["count_cells", "usage"]


def count_cells(stat: Path) -> dict[str, Counter[str]]:
    """Return the cells of each module by type, from ``stat -json`` of Yosys."""
    modules = json.loads(stat.read_text())["modules"]
    return {
        name.removeprefix("\\"): Counter(
            {kind.removeprefix("\\"): int(number) for kind, number in module["num_cells_by_type"].items()}
        )
        for name, module in modules.items()
    }


def usage(
    family: Family, folder: Path, stem: str, cells: Mapping[str, Counter[str]], array: str | None
) -> Usage:
    """Return what a placed design takes.

    Parameters
    ----------
    family : Family
    folder : Path
        Build folder, with nextpnr's report ``stem.report.json``.
    stem : str
    cells : mapping
        As `count_cells` returns it.
    array : str or None
        Name of the array's module.
    """
    report = json.loads((folder / f"{stem}.report.json").read_text())
    used = {name: int(entry["used"]) for name, entry in report["utilization"].items()}
    everything = sum((cells[name] for name in cells), Counter())
    logic_cells, bram = family.logic_cells(used), family.memory_blocks(used, everything)
    lut4 = family.luts(everything) if family.shared_cells else logic_cells
    array_lut4 = family.luts(cells[array]) if array else 0
    array_cells = array_lut4
    if array and family.shared_cells:
        array_cells = _logic_cells(folder / family.netlist(stem), array.removeprefix("top.") + ".")
    spram = family.single_blocks(used)
    return Usage(lut4, array_lut4, logic_cells, array_cells, bram, family.flip_flops(everything), spram)


def _logic_cells(placed: Path, path: str) -> int:
    """Count the logic cells below `path` in nextpnr's netlist, whose name is that of their LUT or register.

    The file is large, and one line has the name of a cell, a later one its type.
    """
    name = re.compile(r'^        "(.*)": \{$')
    inside, count = False, 0
    with placed.open() as lines:
        for line in lines:
            if found := name.match(line):
                inside = found.group(1).removeprefix("$nextpnr_").startswith(path)
            elif inside and '"type": "ICESTORM_LC"' in line:
                count += 1
    return count
