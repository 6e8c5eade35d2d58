"""A shell as one Verilog file, and its ports as people and programs read them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from xnorcore.errors import EngineError

from ..shells.pins import Port
from ..sim.toolchain import require_yosys

__all__ = ["ports_page", "ports_value", "verilog"]

# As Amaranth's own way to Verilog. Names that are only numbers stay out of others' way.
_SCRIPT = (
    "read_rtlil top.il; proc -nomux -norom; memory_collect; "
    "attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy -remove amaranth.decoding; "
    "attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy; "
    "write_verilog -norename top.v"
)


def verilog(component: wiring.Component, name: str) -> str:
    """Return a component as Verilog.

    Parameters
    ----------
    component : Component
    name : str
        Of its module; those of its parts begin with it and a dot.

    Raises
    ------
    MissingDependencyError
        If there is no Yosys.
    EngineError
        If it fails.
    """
    yosys = require_yosys("boards")
    text = rtlil.convert(component, name=name, emit_src=False)
    with tempfile.TemporaryDirectory(prefix="xnorcore-") as folder:
        (Path(folder) / "top.il").write_text(text)
        # Relative names: YoWASP sees its working directory, but not all absolute paths.
        done = subprocess.run(
            [*yosys.command, "-q", "-p", _SCRIPT],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode:
            last = " | ".join(line.strip() for line in done.stdout.strip().splitlines()[-3:])
            raise EngineError(f"{yosys.name} {yosys.version} could not write Verilog: {last}")
        return (Path(folder) / "top.v").read_text()


def ports_value(ports: Sequence[Port]) -> list[dict[str, str | int]]:
    """Return ports for JSON."""
    return [
        {
            "name": port.name,
            "direction": "input" if port.inward else "output",
            "width": port.width,
            "meaning": port.meaning,
        }
        for port in ports
    ]


def ports_page(name: str, ports: Sequence[Port]) -> str:
    """Return a Markdown page with ports."""
    rows = [
        f"| `{port.name}` | {'in' if port.inward else 'out'} | {port.width} | {port.meaning} |"
        for port in ports
    ]
    return "\n".join(
        [f"# Ports of `{name}`", "", "| port | direction | bits | meaning |", "|---|---|---|---|", *rows, ""]
    )
