"""The phases of a command that takes minutes: which one it is in, and for how long, all along."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .console import Console

__all__ = ["Phases", "elapsed"]

_TTY_S, _LOG_S = 0.5, 30.0


def elapsed(seconds: float) -> str:
    """Return a time as minutes and seconds, or hours, minutes and seconds: ``0:07``, ``1:02:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Phases:
    """Says on stderr what goes on: a line that is kept up to date, or, in a log, one every half minute.

    Parameters
    ----------
    console : Console, optional
        Nothing is said without one.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """Print a line."""
        if self._console:
            self._console.say(text)

    @contextmanager
    def phase(self, title: str, detail: Callable[[], str] = lambda: "") -> Iterator[None]:
        """Tell of what the ``with`` block does, and how long it has taken.

        Parameters
        ----------
        title : str
        detail : callable
            Returns how far it is; called in a thread of its own.
        """
        console = self._console
        if console is None:
            yield
            return
        started, over, terminal = time.monotonic(), threading.Event(), sys.stderr.isatty()

        def text() -> str:
            more = detail()
            return f"{title}, {elapsed(time.monotonic() - started)}" + (f": {more}" if more else "")

        def tell() -> None:
            while not over.wait(_TTY_S if terminal else _LOG_S):
                console.status(text())

        if terminal:
            console.status(title)
        else:
            console.say(title)
        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            console.end_progress()
        if terminal:  # in place of the line that was kept up to date
            console.say(f"{title}, {elapsed(time.monotonic() - started)}")
