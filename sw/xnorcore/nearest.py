"""The word that was meant: the known name nearest to one that is not known."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 64  # a longer word is no mistyped name, and comparing it costs time


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a refusal's sentence that names what was likely meant.

    Parameters
    ----------
    word
        What was written, of any length and content.
    known
        The names that exist.

    Returns
    -------
    str
        ``; did you mean "x"?`` with the nearest name, or ``""`` where none is near: upper and lower case
        count as the same, and so do ``-``, ``_`` and blanks.
    """
    if len(word) > LONGEST:
        return ""
    from difflib import get_close_matches  # most commands need it not

    names = {_plain(name): name for name in known}
    near = get_close_matches(_plain(word), names, n=1, cutoff=0.6)
    return f'; did you mean "{names[near[0]]}"?' if near else ""


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "-").replace(" ", "-")
