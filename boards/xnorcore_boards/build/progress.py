"""How far Yosys and nextpnr are, from the ends of their logs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

__all__ = ["end_of", "placing", "reader", "synthesizing"]

_TAIL = 2000
_WIRES = re.compile(r"iter=(\d+) wires=\d+ overused=(\d+)")
_ARCS = re.compile(r"Info:\s+\d+ \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s+(\d+)\|")
_ROUND = re.compile(r"(?:at iteration #|at initial placer iter |\biter=|\biter )(\d+)")
_TITLES = (("Routing", "routing"), ("Packing", "packing"), ("lacing", "placement"), ("lacement", "placement"))


def end_of(log: Path) -> str:
    """Return the end of a log, a page at most; nothing if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, 2) - _TAIL, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def reader(log: Path, understand: Callable[[str], str]) -> Callable[[], str]:
    """Return a function that says how far the program that writes a log is."""
    return lambda: understand(end_of(log))


def synthesizing(end: str) -> str:
    """Return the pass that Yosys is in, as ``ABC``; nothing before the first."""
    passes = re.findall(r"^[\d.]+ Executing (.+?)(?: pass)?(?: \(.*)?\.?$", end, re.MULTILINE)
    return passes[-1] if passes else ""


def placing(end: str) -> str:
    """Return what nextpnr does, with the router's or placer's own count; nothing before it packs."""
    for line in reversed(end.splitlines()):
        if found := _WIRES.search(line):
            return f"routing, round {found[1]}: {int(found[2]):,} wires used twice"
        if found := _ARCS.match(line):
            return f"routing, {int(found[1]):,} arcs left"
        if found := _ROUND.search(line):
            return f"placement, round {found[1]}"
        for word, title in _TITLES:
            if line.startswith("Info: ") and word in line and "Time" not in line:
                return title
    return ""
