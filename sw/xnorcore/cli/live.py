"""What ``run`` and ``sim`` draw on a terminal while images pass, and what their cycles go to."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from ..link.transport import BITS_PER_BYTE, baud_of
from ..runtime.accelerator import Accelerator, Progress
from ..runtime.counters import Watch, causes_per_image
from .bars import bar
from .console import Console, fold
from .options import live

__all__ = ["Live", "cause_rows", "drawn"]

_BAR, _BAR_OF_CAUSE = 20, 32
_BEFORE_BAR = 30
"""Columns of a cause's name and numbers."""
_EVERY_S = 0.1
_ALL_ONES = (1 << 32) - 1
_VALUE_WIDTH = 60


def drawn(arguments: argparse.Namespace) -> bool:
    """Return whether results are drawn: on a terminal, unless ``--plain`` or ``--json`` says otherwise."""
    plain = getattr(arguments, "plain", False) or arguments.json
    return sys.stdout.isatty() and not plain


class Live:
    """A progress callback: on a terminal images, their rate, the wire's share and cycles by cause, in place.

    Parameters
    ----------
    console : Console
        Shows everything else, and all of it where there is no terminal.
    arguments : Namespace
        With ``plain``.

    Attributes
    ----------
    accelerator : Accelerator or None
        Whose images are counted, once it is open.
    """

    def __init__(self, console: Console, arguments: argparse.Namespace) -> None:
        self._console, self._live = console, live(arguments)
        self.accelerator: Accelerator | None = None
        self._started: float | None = None
        self._shown = 0.0
        self._before = self._done = 0
        self._counted: dict[str, int] = {}
        self._last: dict[str, int] = {}

    def start(self) -> None:
        """Count from now on: in the device's time where it is simulated, else in ours."""
        if self.accelerator is not None:
            self._started = self.accelerator.session.transport.now()
            if self._live:
                self.accelerator.watch = Watch(self._count)

    def _count(self, counters: dict[str, int]) -> None:
        """Add what was counted since the last look; the device's counters go round."""
        for name, value in counters.items():
            passed = (value - self._last.get(name, 0)) & _ALL_ONES
            self._counted[name] = self._counted.get(name, 0) + passed
        self._last = counters

    def __call__(self, progress: Progress) -> None:
        """Show a progress."""
        if not self._live or progress.stage != "infer" or self._started is None:
            self._console.progress(progress)
            return
        if progress.done < self._done:  # the next of several calls
            self._before += self._done
        self._done = progress.done
        now = time.monotonic()
        if now - self._shown >= _EVERY_S:
            self._shown = now
            self._console.block([*fold(self._line(progress.total), self._console.room), *self._causes()])

    def _causes(self) -> list[str]:
        images = self._counted.get("images", 0)
        if not images:
            return []
        widest = min(_BAR_OF_CAUSE, max(self._console.room - _BEFORE_BAR, 1))
        rows = cause_rows(causes_per_image(self._counted, images), True, widest)
        return [f"{name:14}{text}" for name, text in rows]

    def _line(self, total: int) -> list[str]:
        """Return how far it is, how fast, and how busy the wire: parts of a line, or of several."""
        assert self.accelerator is not None and self._started is not None
        program, transport = self.accelerator.program, self.accelerator.session.transport
        done = self._before + self._done
        passed = transport.now() - self._started
        parts = [f"{bar(self._done / max(total, 1), _BAR):{_BAR}} {done:,} images"]
        if passed <= 0:
            return parts
        rate = done / passed
        parts.append(f", {rate:,.0f}/s")
        baud = baud_of(transport, self.accelerator.info.clock_hz)
        if baud and program.passes == 1:
            share = rate * program.image_bytes * BITS_PER_BYTE / baud
            parts.append(f", wire {bar(share, 8):8} {min(share, 1):.0%}")
        return parts


def cause_rows(causes: dict[str, Any], bars: bool, widest: int = _BAR_OF_CAUSE) -> list[tuple[str, str]]:
    """Return rows of what the cycles of an image went to.

    Parameters
    ----------
    causes : dict
        As `Measurement.per_image` gives them.
    bars : bool
        A row with a bar for each; else few rows of numbers.
    widest : int
        Columns of a bar for all of it.
    """
    parts = {"busy": causes["busy"], "drain": causes["drain"], **causes["idle"]}
    kept = {name: value for name, value in parts.items() if value}
    if not bars:
        shown = [f", {name} {value:,.1f}" for name, value in kept.items()]
        lines = fold([shown[0].removeprefix(", "), *shown[1:]], _VALUE_WIDTH) if shown else []
        return [("" if row else "  by cause", text) for row, text in enumerate(lines)]
    whole = sum(kept.values())
    width = max((len(f"{value:,.1f}") for value in kept.values()), default=0)
    return [
        (
            f"  {name.replace('_', ' ')}",
            f"{value:{width},.1f} {value / whole:6.1%} {bar(value / whole, widest)}",
        )
        for name, value in kept.items()
    ]
