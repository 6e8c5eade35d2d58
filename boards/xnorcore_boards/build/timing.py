"""The clock that a placed design reaches, and the path that limits it, in the names of our modules."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Timing", "read_timing"]


@dataclass(frozen=True)
class Timing:
    """Timing of a routed design.

    Attributes
    ----------
    clock_mhz : float
        What it is built for.
    fmax_mhz : float
        What it reaches.
    critical : str
        The longest path: module and register where it starts and where it ends, and the share of wires.
    """

    clock_mhz: float
    fmax_mhz: float
    critical: str

    @property
    def met(self) -> bool:
        """Whether the design runs at its clock."""
        return self.fmax_mhz >= self.clock_mhz


def read_timing(report: Path, clock_mhz: float, modules: Sequence[str]) -> Timing:
    """Read nextpnr's report.

    Parameters
    ----------
    report : Path
        Its JSON file.
    clock_mhz : float
        What the design is built for.
    modules : sequence of str
        Paths of all modules of the design, the top module first in each.
    """
    value = json.loads(report.read_text())
    clocks = {name: float(entry["achieved"]) for name, entry in value.get("fmax", {}).items()}
    slowest = min(clocks, key=lambda name: clocks[name], default="")
    known = {module.partition("$")[0].partition(".")[2] for module in modules}
    critical = ""
    for path in value.get("critical_paths", []):
        ends = [path.get("from", ""), path.get("to", "")]
        if slowest and all(end.endswith(slowest) for end in ends):
            critical = _describe(path["path"], known)
    return Timing(clock_mhz, clocks.get(slowest, 0.0), critical)


def _describe(path: list[dict[str, Any]], known: set[str]) -> str:
    start, end = path[0]["from"]["cell"], path[-1]["to"]["cell"]
    wires = sum(float(step["delay"]) for step in path if step["type"] == "routing")
    delay = sum(float(step["delay"]) for step in path)
    share = f"{delay:.1f} ns, {wires / delay:.0%} in wires" if delay else ""
    return f"from {_place(start, known)} to {_place(end, known)} ({share})"


# What Yosys and nextpnr put behind a name for each cell that they make of it.
_TOOLS = re.compile(r"(_(SB_|TRELLIS_|CC_|CCU2C|LUT\d|DFF|ALU)|\$CCU2|\$LUT).*$")


def _place(cell: str, known: set[str]) -> str:
    """Return ``module: register`` of a cell's name."""
    parts = cell.removeprefix("$nextpnr_").split(".")
    for length in range(len(parts) - 1, 0, -1):
        module = ".".join(parts[:length])
        if module in known:
            return f"{module}: {_TOOLS.sub('', '.'.join(parts[length:]))}"
    return cell
