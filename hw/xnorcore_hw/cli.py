"""What the gateware adds to the command line: four commands, and lines of ``doctor``."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xnorcore.cli.console import Console
from xnorcore.cli.doctor import Check, Preparation
from xnorcore.cli.options import Commands, Parser, add_simulator, command, sim_spec
from xnorcore.errors import EngineError
from xnorcore.extras import install_extra

__all__ = ["add_bench", "add_export_verilog", "add_serve_sim", "add_web", "checks", "preparations"]


def add_bench(commands: Commands) -> None:
    """Add the command ``bench`` to the parser; the rest of it is imported when it runs."""

    def fill(parser: Parser) -> None:
        from .bench.command import fill

        fill(parser)

    text = "Measure what the documentation claims; exit 1 if a figure misses its limit."
    command(commands, "bench", text, fill=fill, example="lfc --json")


def add_export_verilog(commands: Commands) -> None:
    """Add the command ``export-verilog`` to the parser; the rest of it is imported when it runs."""

    def fill(parser: Parser) -> None:
        from .export.command import fill

        fill(parser)

    text = "Write the core as Verilog, with a list of its ports and a testbench."
    example = "--shell stream --bake digits -o core"
    command(commands, "export-verilog", text, fill=fill, example=example)


def add_serve_sim(commands: Commands) -> None:
    """Add the command ``serve-sim`` to the parser."""
    text = "Put the simulated accelerator behind a pseudo-terminal, until Ctrl-C."
    parser = command(commands, "serve-sim", text, _serve_sim, example="--board icebreaker")
    add_simulator(parser, link="direct")


def add_web(commands: Commands) -> None:
    """Add the command ``web`` to the parser; the rest of it is imported when it runs."""

    def fill(parser: Parser) -> None:
        from .web.command import fill

        fill(parser)

    text = "Make a page with the simulated accelerator in it, and serve it."
    command(commands, "web", text, fill=fill, example="digits mnist-sfc -o site --no-serve")


def _serve_sim(arguments: argparse.Namespace, console: Console) -> int:
    from .sim.server import serve
    from .sim.transport import SimOptions

    options = SimOptions.parse(sim_spec(arguments))

    def announce(path: str) -> None:
        g = options.config.geometry
        url = f"serial:{path}"
        example = f"xnorcore run NET IN.npy --port {url} -o OUT.npy"
        value: dict[str, Any] = {
            "command": "serve-sim",
            "path": path,
            "url": url,
            "example": example,
            "pid": os.getpid(),
            "geometry": {"rows": g.rows, "columns": g.columns, "width": g.width},
            "engine": options.engine,
            "link": options.link,
            "baud": options.baud,
            "clock_hz": options.clock_hz,
        }
        lines = [f"{g} accelerator at {path}; Ctrl-C stops it", f"try: {example}"]
        console.result(value, lines)

    serve(options, announce=announce, progress=console.say)
    console.say("xnorcore: stopped")
    return 0


def checks() -> list[Check]:
    """Return what the simulated device needs of this machine."""
    return [_compiler(), _engine(), _cache(), _yosys(), *_first_starts()]


def preparations() -> list[Preparation]:
    """Return the programs that compile themselves at their first start."""
    from .sim import yowasp

    def step(name: str) -> Preparation:
        def run(say: Callable[[str], None]) -> None:
            yowasp.prepare(name, lambda: say(f"another process compiles {name}; waiting for it"))

        return Preparation(name, yowasp.prepared(name), run)

    return [step(name) for name in yowasp.PROGRAMS if yowasp.installed(name)]


def _first_starts() -> list[Check]:
    steps = preparations()
    cold = [step.name for step in steps if not step.done]
    if not steps:
        return []
    found = f"not yet: {', '.join(cold)}" if cold else f"{len(steps)} programs compiled"
    return [
        Check(
            "first starts", found, not cold, False, "boards, proofs", "xnorcore doctor --warm" if cold else ""
        )
    ]


def _compiler() -> Check:
    from .sim.toolchain import compile_library, find_compiler

    use = "compiled simulator"
    install = install_extra("zig")
    try:
        tool = find_compiler()
        if tool is None:
            return Check("C++ compiler", "", False, True, use, f"{install} (or install g++)")
        # A compiler without its headers or linker is found, too: try it.
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.cc"
            source.write_text('#include <stdint.h>\nextern "C" uint64_t probe() { return 1; }\n')
            compile_library(tool, [source], source.with_suffix(".so"), source.with_suffix(".log"))
    except EngineError as error:
        reason = str(error).partition("; all messages")[0]
        return Check("C++ compiler", "", False, True, use, f"{reason}; or: {install}")
    return Check("C++ compiler", f"{tool.name} {tool.version}", True, True, use)


def _engine() -> Check:
    from .sim.engine import ENGINES

    found = f"{ENGINES[0]} (default); with --engine: {', '.join(ENGINES[1:])}"
    return Check("engine", found, True, True, "sim:")


def _cache() -> Check:
    from xnorcore.files.cache import cache_directory

    folder = cache_directory()
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    ok = there.is_dir() and os.access(there, os.W_OK)
    count = len(list(folder.glob("sim-*.so"))) if folder.is_dir() else 0
    fix = "" if ok else "set XNORCORE_CACHE to a writable folder"
    return Check(
        "cache", f"{folder}, {count} simulators" if ok else f"{folder}: not writable", ok, True, "sim:", fix
    )


def _yosys() -> Check:
    from .sim.toolchain import find_yosys

    tool = find_yosys()
    if tool is None:
        return Check("yosys", "", False, False, "cxxrtl, boards, Verilog, proofs", install_extra("sim"))
    return Check("yosys", f"{tool.name} {tool.version}", True, False, "cxxrtl, boards, Verilog, proofs")
