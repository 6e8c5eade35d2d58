"""The command ``bench``: one row for every figure that the documentation claims, measured again."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from xnorcore.cli.console import Console, table
from xnorcore.cli.options import Commands, command
from xnorcore.errors import UsageError
from xnorcore.nearest import did_you_mean

__all__ = ["Figure", "add"]


@dataclass(frozen=True)
class Figure:
    """One measured figure and its limit.

    Attributes
    ----------
    bench : str
        Name of the benchmark.
    what : str
    value : float
    limit : float
    at_least : bool
        Whether `limit` is the least allowed value; else the most.
    unit : str
    detail : dict
        What else was measured, for ``--json``.
    lines : tuple of str
        The same for people.
    """

    bench: str
    what: str
    value: float
    limit: float
    at_least: bool
    unit: str
    detail: dict[str, Any]
    lines: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the figure keeps its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


Benchmark = Callable[[Console], Iterator[Figure]]


def benchmarks(frames: int, size: int, seed: int) -> dict[str, tuple[str, Benchmark]]:
    """Return all benchmarks: name to (what it measures, function)."""
    from . import cnn as bench_cnn
    from . import figures as b
    from . import hostile as bench_hostile
    from . import link_faults as bench_faults

    return {
        "lfc": ("784-1024-1024-1024-10: cycles and efficiency", b.lfc),
        "cnn": ("convolution: cycles of CNV, and the packaged networks", bench_cnn.cnn),
        "small": ("64-wide networks: cycles of one image by cause", b.small),
        "link": ("use of a UART at 4 clocks per bit", b.link),
        "engine": ("compiled engine against Amaranth's simulator", b.engine),
        "fast": ("bit-packed model, 10,000 images", b.fast_model),
        "compile": ("compiling a network for a device", b.compile_time),
        "demo": ("the demo with an empty simulator cache", b.demo),
        "link-faults": (
            "the driver over bad wires: scores, recovery, goodput",
            partial(bench_faults.link_faults, frames=frames, seed=seed),
        ),
        "hostile": (
            "anything sent to the device, and to the driver: hangs, crashes, memory",
            partial(bench_hostile.hostile_peers, size=size, seed=seed),
        ),
    }


NAMES = ("lfc", "cnn", "small", "link", "engine", "fast", "compile", "demo", "link-faults", "hostile")


def add(commands: Commands) -> None:
    """Add the command to the parser."""
    text = "Measure what the documentation claims; exit 1 if a figure misses its limit."
    parser = command(commands, "bench", text, _bench)
    parser.add_argument("which", nargs="*", metavar="WHICH", help=f"{', '.join(NAMES)} or all (default)")
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


def _bench(arguments: argparse.Namespace, console: Console) -> int:
    for name in arguments.which:
        if name not in (*NAMES, "all"):
            meant = did_you_mean(name, NAMES)
            raise UsageError(f"unknown benchmark {name!r}; known: {', '.join(NAMES)}, all{meant}")
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
    rows = [_row(figure) for figure in figures]
    lines = table(rows, ("bench", "what", "measured", "limit", ""))
    for figure in figures:
        if figure.lines:
            lines += ["", f"{figure.bench}: {figure.what}", *figure.lines]
    passed = all(figure.passed for figure in figures)
    value = {
        "command": "bench",
        "passed": passed,
        "figures": [
            {key: item for key, item in asdict(figure).items() if key != "lines"} | {"passed": figure.passed}
            for figure in figures
        ],
    }
    console.result(value, lines)
    return 0 if passed else 1


def _row(figure: Figure) -> tuple[str, ...]:
    def number(value: float) -> str:
        whole = value >= 100 or value == int(value)
        return f"{value:,.0f}" if whole else f"{value:.3f}"

    sign = ">=" if figure.at_least else "<="
    unit = f" {figure.unit}" if figure.unit else ""
    verdict = "pass" if figure.passed else "FAIL"
    return figure.bench, figure.what, number(figure.value) + unit, f"{sign} {figure.limit:g}{unit}", verdict
