"""The command ``bench``: one row for every figure that the documentation claims, measured again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from xnorcore.cli.console import Console, table
from xnorcore.cli.options import Parser
from xnorcore.errors import UsageError
from xnorcore.nearest import did_you_mean

if TYPE_CHECKING:
    from .figure import Figure

__all__ = ["fill"]

Benchmark: TypeAlias = "Callable[[Console], Iterator[Figure]]"


def benchmarks(frames: int, size: int, seed: int) -> dict[str, tuple[str, Benchmark]]:
    """Return all benchmarks: name to (what it measures, function)."""
    from . import cnn as bench_cnn
    from . import dense, explored, host
    from . import hostile as bench_hostile
    from . import link_faults as bench_faults
    from . import peers as bench_peers

    return {
        "lfc": ("784-1024-1024-1024-10: cycles and efficiency", dense.lfc),
        "cnn": ("convolution: cycles of CNV, and the packaged networks", bench_cnn.cnn),
        "small": ("64-wide networks: cycles of one image by cause", dense.small),
        "link": ("use of a UART at 4 clocks per bit", dense.link),
        "engine": ("compiled engine against Amaranth's simulator", host.engine),
        "fast": ("bit-packed model, 10,000 images", host.fast_model),
        "peers": ("the fast model against numba, onnxruntime and torch", bench_peers.peers),
        "explore": ("a search for networks on two workers against one", explored.explore),
        "compile": ("compiling a network for a device", host.compile_time),
        "demo": ("the demo with an empty simulator cache", host.demo),
        "link-faults": (
            "the driver over bad wires: scores, recovery, goodput",
            partial(bench_faults.link_faults, frames=frames, seed=seed),
        ),
        "hostile": (
            "anything sent to the device, and to the driver: hangs, crashes, memory",
            partial(bench_hostile.hostile_peers, size=size, seed=seed),
        ),
    }


NAMES = (
    "lfc",
    "cnn",
    "small",
    "link",
    "engine",
    "fast",
    "peers",
    "explore",
    "compile",
    "demo",
    "link-faults",
    "hostile",
)
BOARDS = "boards"
"""Benchmark of all boards, which has rows and a record of its own, and is not one of `all`: it takes long."""


def fill(parser: Parser) -> None:
    """Add the arguments."""
    parser.set_defaults(call=_bench)
    parser.add_argument(
        "which", nargs="*", metavar="WHICH", help=f"{', '.join(NAMES)} or all (default); or {BOARDS}"
    )
    parser.add_argument(
        "--frames", type=int, default=2000, metavar="N", help="link-faults: frames to damage (default 2000)"
    )
    parser.add_argument(
        "--bytes",
        type=int,
        default=200_000,
        metavar="N",
        help="hostile: bytes to the devices (default 200000)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="link-faults, hostile: of the first run"
    )
    parser.add_argument("--boards", metavar="A,B", help="boards: only these (default: all)")
    parser.add_argument(
        "--networks", metavar="A,B", help="boards: these, or files of them (default: all packaged ones)"
    )
    parser.add_argument(
        "--record", action="store_true", help="keep what is measured as the documentation's figures"
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="measure nothing: print the tables of docs/measurements.md, or the one of docs/boards.md",
    )


def _bench(arguments: argparse.Namespace, console: Console) -> int:
    from .record import store

    if BOARDS in arguments.which:
        return _boards(arguments, console)
    if arguments.boards is not None or arguments.networks is not None:
        raise UsageError(f"--boards and --networks go with bench {BOARDS}")
    if arguments.markdown:
        return _markdown(arguments, console)
    for name in arguments.which:
        if name not in (*NAMES, "all"):
            known = (*NAMES, BOARDS, "all")
            meant = did_you_mean(name, known)
            raise UsageError(f"unknown benchmark {name!r}; known: {', '.join(known)}{meant}")
    least = {"frames": 1, "bytes": 1000, "seed": 0}
    for name, limit in least.items():
        if getattr(arguments, name) < limit:
            raise UsageError(f"--{name} is {getattr(arguments, name)}, but must be at least {limit}")
    known = benchmarks(arguments.frames, arguments.bytes, arguments.seed)
    everything = not arguments.which or "all" in arguments.which
    wanted = [name for name in NAMES if everything or name in arguments.which]
    figures: list[Figure] = []
    for name in wanted:
        what, function = known[name]
        console.say(f"{name}: {what}")
        figures += function(console)
    passed = all(figure.passed for figure in figures)
    if arguments.record and passed:
        store(figures)
    elif arguments.record:
        console.say("bench: a figure misses its limit, so nothing is recorded")
    value = {
        "command": "bench",
        "passed": passed,
        "figures": [
            {key: item for key, item in asdict(figure).items() if key != "lines"} | {"passed": figure.passed}
            for figure in figures
        ],
    }
    console.result(value, _lines(figures))
    return 0 if passed else 1


def _boards(arguments: argparse.Namespace, console: Console) -> int:
    from .boards_table import bench_boards, print_record

    if arguments.which != [BOARDS]:
        raise UsageError(f"bench {BOARDS} is measured by itself; leave the other names out")
    if not arguments.markdown:
        return bench_boards(arguments, console)
    if arguments.record or arguments.boards is not None or arguments.networks is not None:
        raise UsageError("--markdown prints what was recorded; leave the other options out")
    return print_record(console)


def _markdown(arguments: argparse.Namespace, console: Console) -> int:
    from .record import load, markdown

    if arguments.which or arguments.record:
        raise UsageError(
            "--markdown prints what was recorded; leave the names of benchmarks and --record out"
        )
    record = load()
    value = {"command": "bench", "record": {key: vars(recorded) for key, recorded in record.items()}}
    console.result(value, markdown(record))
    return 0


def _lines(figures: list[Figure]) -> list[str]:
    lines = table([_row(figure) for figure in figures], ("bench", "what", "measured", "limit", ""))
    for figure in figures:
        more = list(figure.lines)
        if figure.causes:
            cycles = (*figure.causes.values(), sum(figure.causes.values()))
            cells = tuple(f"{count:,.1f}" for count in cycles)
            more += table([cells], (*figure.causes, "total per image"), "  ")
        if more:
            lines += ["", f"{figure.bench}: {figure.what}", *more]
    return lines


def _row(figure: Figure) -> tuple[str, ...]:
    def number(value: float) -> str:
        whole = value >= 100 or value == int(value)
        return f"{value:,.0f}" if whole else f"{value:.3f}"

    sign = ">=" if figure.at_least else "<="
    unit = f" {figure.unit}" if figure.unit else ""
    verdict = "pass" if figure.passed else "FAIL"
    return figure.bench, figure.what, number(figure.value) + unit, f"{sign} {figure.limit:g}{unit}", verdict
