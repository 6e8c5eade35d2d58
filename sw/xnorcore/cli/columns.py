"""Tables that fit the terminal: cells are wrapped, and where that is not enough, columns left out."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence

__all__ = ["GAP", "Grid", "fit", "terminal_width", "wrap"]

GAP = 2
"""Spaces between two columns."""
_LONG_WORD, _SHORT = 20, 24

Grid = list[list[str]]
"""Rows of cells."""


def terminal_width() -> int | None:
    """Return the columns of the terminal that stdout is; None if it is a file or a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrap(text: str, width: int) -> list[str]:
    """Break a text after spaces, and long words after ``-`` and ``/``, into lines of at most `width`.

    What has no place to break stays whole.
    """
    lines = [""]
    for part in _parts(text):
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]


def fit(rows: Grid, width: int, drop: Sequence[int]) -> tuple[list[int], list[int]]:
    """Choose the columns of a table and how wide they are.

    Parameters
    ----------
    rows : list of list of str
        All of the same length, the titles as well.
    width : int
        Characters that there are.
    drop : sequence of int
        Columns that may be left out, the least important one first.

    Returns
    -------
    kept : list of int
    widths : list of int
        Of those kept. Together they are wider than `width` only if nothing more can be wrapped or left out.
    """
    kept = list(range(len(rows[0])))
    least = [max(_least(row[i]) for row in rows) for i in kept]
    for column in drop:
        if sum(least[i] + GAP for i in kept) - GAP <= width:
            break
        kept.remove(column)
    widths = [max(len(row[i]) for row in rows) for i in kept]
    while sum(widths) + GAP * (len(widths) - 1) > width:
        wide = [at for at, i in enumerate(kept) if widths[at] > least[i]]
        if not wide:
            break
        widths[max(wide, key=lambda at: widths[at])] -= 1
    return kept, widths


def _parts(text: str) -> list[str]:
    """Split a text where it may be broken; a space stays with the part before it."""
    parts: list[str] = []
    for word in re.findall(r"[^ ]* *", text):
        parts += re.findall(r"[^-/]*[-/]|[^-/]+$", word) if len(word) > _LONG_WORD else [word]
    return [part for part in parts if part]


def _least(text: str) -> int:
    """Return the least width that a cell may have: a short text takes at most two lines."""
    least = max((len(part.rstrip()) for part in _parts(text)), default=0)
    while len(text) <= _SHORT and len(wrap(text, least)) > 2:
        least += 1
    return least
