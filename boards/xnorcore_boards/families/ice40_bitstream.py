"""An iCE40 bitstream as a circuit: IceStorm's icebox_vlog turns it back into Verilog, but for SPRAM."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from xnorcore.errors import EngineError, MissingDependencyError

from ..board import Board
from ..build.tools import require_tools, run_tool, words
from ..gates.cells import LOWER, models, run_script
from ..gates.circuit import Circuit
from ..gates.flatten import build_circuit
from ..process import how_it_ended
from .ice40_cells import CELLS

__all__ = ["bitstream_circuit", "find_icebox", "uses_spram"]

# Rows 0 and 1 of the tiles that configure SPRAM: their bits 7 enable a block each.
_SPRAM = re.compile(r"^\.ipcon_tile \d+ 1\n([01]{7}1|[01]+\n[01]{7}1)", re.MULTILINE)

# The PLL hands its input on. Its parameters are those that icebox_vlog writes.
_PLL = """
module {kind}({inputs}, output PLLOUTCORE, output PLLOUTGLOBAL, output LOCK, output SDO);
{parameters}
  assign PLLOUTGLOBAL = {clock};
  assign PLLOUTCORE = {clock};
  assign LOCK = 1;
endmodule
"""


def find_icebox() -> tuple[str, ...] | None:
    """Return the words that start icebox_vlog, by ``$ICEBOX_VLOG`` or the PATH; None if it is not there."""
    chosen = os.environ.get("ICEBOX_VLOG", "").strip()
    if chosen:
        return words(chosen)
    path = shutil.which("icebox_vlog")
    return (path,) if path else None


def bitstream_circuit(bitstream: Path, constraints: Path, board: Board) -> Circuit:
    """Return what a bitstream makes of an iCE40.

    Parameters
    ----------
    bitstream : Path
        As icepack wrote it.
    constraints : Path
        The .pcf file, which names the pins.
    board : Board

    Raises
    ------
    MissingDependencyError
        If icebox_vlog or icepack is not installed.
    EngineError
        If the bitstream cannot be turned back, or not be simulated: icebox_vlog leaves out SPRAM.
    """
    icebox = find_icebox()
    if icebox is None:
        raise MissingDependencyError(
            "icebox_vlog is not on the PATH; it comes with IceStorm (Debian: fpga-icestorm)"
        )
    (icepack,) = require_tools(["icepack"])
    with tempfile.TemporaryDirectory(prefix="xnorcore-") as name:
        folder = Path(name)
        shutil.copy(bitstream, folder / "in.bin")
        shutil.copy(constraints, folder / "in.pcf")
        run_tool(icepack, ["-u", "in.bin", "in.asc"], folder, "unpack.log")
        if uses_spram((folder / "in.asc").read_text()):
            raise EngineError(
                "the bitstream has memories in SPRAM, which icebox_vlog leaves out: it cannot be simulated, "
                "but its netlist can"
            )
        done = subprocess.run(
            [*icebox, "-s", "-n", "top", "-p", "in.pcf", "in.asc"],
            cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        last = " | ".join(line.strip() for line in done.stderr.strip().splitlines()[-2:])
        raise EngineError(f"icebox_vlog failed ({how_it_ended(done.returncode)}): {last}")
    return _circuit(done.stdout, board)


def uses_spram(asc: str) -> bool:
    """Return whether a bitstream in IceStorm's text form has a block of SPRAM."""
    return _SPRAM.search(asc) is not None


def _circuit(verilog: str, board: Board) -> Circuit:
    """Return the circuit of what icebox_vlog wrote."""
    # A PLL at its own pad: icebox_vlog leaves that pin open.
    verilog = re.sub(r"\.PACKAGEPIN\(\w+\)", f".PACKAGEPIN({board.clock_pin}_0__io)", verilog)
    files = {"chip.v": verilog, "models.v": models(CELLS.files, ["SB_RAM40_4K"]) + _pll(verilog)}
    # opt leaves nothing of pins that drive always, whose other value is z.
    script = "read_verilog -nomem2reg models.v; read_verilog chip.v; hierarchy -top top; proc; flatten; opt; "
    modules = run_script(files, script + LOWER)
    ports = modules["top"]["ports"]
    names = {
        "clk": f"{board.clock_pin}_0__io",
        "uart_rx": f"{board.uart}_0__rx__io",
        "uart_tx": f"{board.uart}_0__tx__io",
    }
    missing = [pin for pin in names.values() if pin not in ports]
    if missing:
        raise EngineError(f"the bitstream does not use {missing[0]}; was it built for {board.name}?")
    modules["top"]["ports"] = {name: ports[pin] for name, pin in names.items()}
    return build_circuit({"top": modules["top"]}, "top", "clk", {})


def _pll(verilog: str) -> str:
    found = re.search(r"^(SB_PLL40_\w+) #\((.*?)^\) \w+ \((.*?)^\);", verilog, re.MULTILINE | re.DOTALL)
    if not found:
        return ""
    kind, parameters, ports = found.groups()
    outputs = ("PLLOUTCORE", "PLLOUTGLOBAL", "LOCK", "SDO")
    inputs = [port for port in re.findall(r"\.(\w+)\(", ports) if port not in outputs]
    widths = {port: " [7:0]" if port == "DYNAMICDELAY" else "" for port in inputs}
    return _PLL.format(
        kind=kind,
        inputs=", ".join(f"input{widths[port]} {port}" for port in inputs),
        parameters="\n".join(f"  parameter {name} = 0;" for name in re.findall(r"\.(\w+)\(", parameters)),
        clock="PACKAGEPIN" if "PACKAGEPIN" in inputs else "REFERENCECLK",
    )
