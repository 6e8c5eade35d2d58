"""``bench explore``: a search for networks on two workers of this machine against one.

PyTorch has one thread in each, the workers are there and have worked before, and both find the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from xnorcore.cli.console import Console
from xnorcore.errors import EngineError, MissingDependencyError
from xnorcore.workers import Pool, open_pool

from .figure import Figure

__all__ = ["explore"]

_DATA, _BOARD = "digits", "icebreaker"
_CANDIDATES, _EPOCHS = 16, 9
_TIMES, _LEAST = 3, 1.6


def explore(console: Console) -> Iterator[Figure]:
    """Measure a search on two workers; skip, and say so, where PyTorch or Dask is not installed."""
    try:
        with open_pool(2) as two, open_pool(1) as one:
            for pool in (one, two):
                _, expected = _search(pool)  # after which all that is imported is there
            seconds: list[tuple[float, float]] = []
            for number in range(_TIMES):
                console.count("searches", 2 * number, 2 * _TIMES)
                found = [_search(pool) for pool in (one, two)]
                if any(places != expected for _, places in found):
                    raise EngineError("workers found something else than one process; run the tests")
                seconds.append((found[0][0], found[1][0]))
    except MissingDependencyError as error:
        console.say(f"explore: skipped ({error})")
        return
    ratios = [alone / shared for alone, shared in seconds]
    lines = [f"  {alone:,.1f} s alone, {shared:,.1f} s on two" for alone, shared in seconds]
    yield Figure(
        "explore", f"{_DATA}, {_CANDIDATES} candidates: two workers against one, median of {_TIMES}",
        median(ratios), _LEAST, True, "times", {"seconds": seconds}, tuple(lines),
    )  # fmt: skip


def _search(pool: Pool) -> tuple[float, list[tuple[Any, ...]]]:
    """Search from the beginning; return the seconds, and what was found."""
    from xnorcore.explore.point import points
    from xnorcore.explore.record import Record
    from xnorcore.explore.search import Search
    from xnorcore.explore.source import forms

    with TemporaryDirectory() as name:
        folder = Path(name)
        candidates = points(forms(_DATA, folder), epochs=_EPOCHS, most=_CANDIDATES, seed=0)
        begun = time.monotonic()
        found = Search(candidates, _BOARD, folder, Record(folder, {}), pool).run(_EPOCHS)
        return time.monotonic() - begun, [(each.point.name, each.place, each.accuracy) for each in found]
