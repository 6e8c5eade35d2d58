"""What a command says: its result on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from .columns import GAP, fit, prose, records, terminal_width, wrap

if TYPE_CHECKING:
    from ..runtime.accelerator import Progress

_TTY_S, _LOG_S = 0.1, 10.0
_LABELS = {"load": "loading", "verify": "checking", "infer": "inference"}


class Console:
    """Output of one command.

    Parameters
    ----------
    json : bool
        Results are one JSON object instead of text.
    aside : bool
        Results go to stderr, too, since a file goes to stdout.
    """

    def __init__(self, *, json: bool = False, aside: bool = False) -> None:
        self.json, self.aside = json, aside
        self._last = time.monotonic()
        self._shown = self._above = 0
        self._lock = threading.RLock()

    @property
    def room(self) -> int:
        """Columns that a line on a terminal may have and not be cut."""
        return _width() - 1

    def say(self, text: str) -> None:
        """Print a line on stderr."""
        with self._lock:
            self.end_progress()
            print(_encodable(text, sys.stderr), file=sys.stderr, flush=True)

    def status(self, text: str) -> None:
        """Print a line on stderr; on a terminal, in place of the last one, and no longer than it is wide."""
        with self._lock:
            if sys.stderr.isatty():
                self._in_place(text[: _width() - 1])
            else:
                self.say(text)

    def progress(self, progress: Progress) -> None:
        """Show what the driver is doing; a progress callback of `Accelerator`."""
        if progress.message:
            self.say(progress.message)
        else:
            label = _LABELS.get(progress.stage, progress.stage)
            where = f", {progress.part}" if progress.part else ""
            self.count(f"{label}{where}", progress.done, progress.total)

    def counting(self, label: str) -> Callable[[int, int], None]:
        """Return a progress callback that takes (done, total)."""
        return lambda done, total: self.count(label, done, total)

    def count(self, label: str, done: int, total: int) -> None:
        """Show a count on stderr: in place on a terminal, now and then in a log."""
        terminal = sys.stderr.isatty()
        now = time.monotonic()
        if now - self._last < (_TTY_S if terminal else _LOG_S):
            return
        self._last = now
        text = f"{label}: {done:,} of {total:,}"
        if terminal:
            self._in_place(text)
        else:
            print(text, file=sys.stderr, flush=True)

    def _in_place(self, text: str) -> None:
        with self._lock:
            self._to_one_line()
            text = _encodable(text, sys.stderr)
            print("\r" + text.ljust(self._shown), end="", file=sys.stderr, flush=True)
            self._shown = len(text)

    def block(self, lines: Sequence[str]) -> None:
        """Show lines on a terminal, in place of what was shown last, and no longer than it is wide.

        Where it cannot go back up, only the first one.
        """
        if os.environ.get("TERM") == "dumb":
            self.status(lines[0])
            return
        with self._lock:
            width = _width() - 1
            cut = [_encodable(line[:width], sys.stderr) for line in lines]
            self.end_progress()
            print("\n".join(cut), end="", file=sys.stderr, flush=True)
            self._shown, self._above = len(cut[-1]), len(cut) - 1

    def _to_one_line(self) -> None:
        if self._above:
            wipe = "\r\x1b[2K" + "\x1b[1A\x1b[2K" * self._above
            print(wipe, end="", file=sys.stderr, flush=True)
            self._shown = self._above = 0

    def end_progress(self) -> None:
        """Wipe a count, a status or a block that stands on the terminal."""
        with self._lock:
            self._to_one_line()
            if self._shown:
                print("\r" + " " * self._shown + "\r", end="", file=sys.stderr, flush=True)
                self._shown = 0

    def result(self, value: dict[str, Any], lines: Iterable[str]) -> None:
        """Print the result on stdout: `value` with ``--json``, else `lines`."""
        self.end_progress()
        stream = sys.stderr if self.aside else sys.stdout
        limit = None if self.json else terminal_width()
        if limit is not None:
            lines = [piece for line in lines for piece in prose(line, limit)]
        text = json.dumps(value, allow_nan=False) if self.json else "\n".join(lines)
        print(_encodable(text, stream), file=stream, flush=True)


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def can_print(text: str) -> bool:
    """Return whether stdout has every character of `text`."""
    return _encodable(text, sys.stdout) == text


def _encodable(text: str, stream: Any) -> str:
    encoding = getattr(stream, "encoding", None) or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def fold(parts: Iterable[str], width: int) -> list[str]:
    """Join parts of a text into lines of at most `width` characters, unless one part is longer."""
    lines = [""]
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part if lines[-1] or len(lines) == 1 else part.removeprefix(", ")
    return lines


def table(
    rows: Sequence[Sequence[str]], header: Sequence[str] = (), indent: str = "", drop: Sequence[str] = ()
) -> list[str]:
    """Lay out rows of text in columns: the first one to the left, numbers to the right.

    On a terminal that is too narrow for a table with titles, cells are wrapped; if that is not enough,
    columns are left out and named in a last line; and if not even that, every row is lines of title and
    value. Without titles the last column is left to `Console.result`.

    Parameters
    ----------
    rows : sequence of sequences of str
        All of the same length.
    header : sequence of str, optional
        Titles, underlined.
    indent : str
        Put before every line.
    drop : sequence of str
        Titles of columns that may be left out, the least important one first.
    """
    everything = [list(row) for row in ([header, *rows] if header else rows)]
    kept, widths = (
        list(range(len(everything[0]))),
        [max(map(len, column)) for column in zip(*everything, strict=True)],
    )
    limit = terminal_width() if header else None
    if limit is not None:
        room = limit - len(indent)
        kept, widths = fit(everything, room, [list(header).index(name) for name in drop])
        if sum(widths) + GAP * (len(widths) - 1) > room:
            return [(indent + line).rstrip() for line in records(everything[1:], header, room)]

    def numeric(column: int) -> bool:
        cells = [row[column] for row in rows if row[column]]
        return column > 0 and all(set(cell) <= set("0123456789.,%-") for cell in cells)

    right = [numeric(column) for column in kept]

    def lay(wrapped: list[list[str]]) -> list[str]:
        found = []
        for parts in zip_longest(*wrapped, fillvalue=""):
            cells = [
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(parts, widths, right, strict=True)
            ]
            found.append((indent + (" " * GAP).join(cells)).rstrip())
        return found

    def lines(row: Sequence[str]) -> list[str]:
        cells = [row[column] for column in kept]
        if limit is None:
            return lay([[cell] for cell in cells])
        return lay([wrap(cell, width) for cell, width in zip(cells, widths, strict=True)])

    laid = [line for row in rows for line in lines(row)]
    if header:
        laid = [*lines(header), *lay([["-" * width] for width in widths]), *laid]
    left_out = [name for at, name in enumerate(header) if at not in kept]
    if left_out and limit is not None:
        laid += [indent + line for line in wrap(f"(no room for: {', '.join(left_out)})", limit - len(indent))]
    return laid
