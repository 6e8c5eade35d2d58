"""Text that fits the terminal: cells are wrapped, columns left out, and rows at last laid out in lines."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence

__all__ = ["GAP", "Grid", "fit", "prose", "records", "terminal_width", "wrap"]

GAP = 2
"""Spaces between two columns."""
_LONG_WORD, _SHORT = 20, 24
_NARROWEST = 20
_HEAD = re.compile(r" *\S.*?  +(?=\S)")
"""The first cell of a row."""
_COMMAND = re.compile(r"\bxnorcore [a-z]|\bpip install ")

Grid = list[list[str]]
"""Rows of cells."""


def terminal_width() -> int | None:
    """Return the columns that ``COLUMNS`` says, or the terminal has that stdout is; None if it is none."""
    said = os.environ.get("COLUMNS", "")
    if not (said.isascii() and said.isdecimal() and len(said) < 6 and int(said)) and not sys.stdout.isatty():
        return None
    return max(shutil.get_terminal_size().columns, _NARROWEST)


def prose(line: str, width: int) -> list[str]:
    """Break a line that is too long: what follows stands below its last cell, if that begins early.

    Paths stay whole, and a command is continued as a shell reads it.
    """
    if len(line) <= width:
        return [line]
    head = _HEAD.match(line)
    hang = head.end() if head and head.end() <= width // 2 else len(line) - len(line.lstrip()) + 2
    tail = " \\" if _COMMAND.search(line) else ""
    first = line[:hang] if head and head.end() == hang else line[: hang - 2]
    text = line[len(first) :]
    found = [""]
    for part in re.findall(r"[^ ]* *", text) if tail or "/" in text else _parts(text):
        room = width - len(tail) - (len(first) if len(found) == 1 else hang)
        if found[-1] and len(found[-1]) + len(part.rstrip()) > room:
            found.append("")
        found[-1] += part
    lines = [(first if index == 0 else " " * hang) + piece.rstrip() for index, piece in enumerate(found)]
    return [piece + tail for piece in lines[:-1]] + lines[-1:]


def records(rows: Grid, titles: Sequence[str], width: int) -> list[str]:
    """Lay out a table that is too wide for any columns: each row is lines of title and value."""
    label = max(map(len, titles))
    lines: list[str] = []
    for row in rows:
        lines += [""] if lines else []
        for title, cell in zip(titles, row, strict=True):
            pieces = wrap(cell, width - label - GAP) if cell else []
            for index, piece in enumerate(pieces):
                lines.append(f"{'' if index else title:{label}}{' ' * GAP}{piece}")
    return lines


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
