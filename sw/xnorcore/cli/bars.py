"""Small drawings of numbers for the terminal: bars, and curves of one line."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite

from .console import can_print

__all__ = ["bar", "spark"]

_STEPS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
_PLAIN = "_.-=+*%#"
_FULL, _PARTS = "\u2588", "\u258f\u258e\u258d\u258c\u258b\u258a\u2589\u2588"


def spark(values: Sequence[float], width: int) -> str:
    """Return a curve of at most `width` characters; of more values the means of neighbours.

    Parameters
    ----------
    values : sequence of float
        Those that are not finite count as 0.
    width : int
        At least 1.
    """
    steps = _STEPS if can_print(_STEPS) else _PLAIN
    sound = [value if isfinite(value) else 0.0 for value in values]
    count = min(len(sound), max(width, 1))
    edges = [len(sound) * at // count for at in range(count + 1)] if count else []
    parts = [sum(sound[a:b]) / (b - a) for a, b in pairwise(edges)]
    if not parts:
        return ""
    low, high = min(parts), max(parts)
    scale = (len(steps) - 1) / (high - low) if high > low else 0
    return "".join(steps[round((part - low) * scale)] for part in parts)


def bar(share: float, width: int) -> str:
    """Return a bar of `width` characters for 1, and none for 0; what is more is 1."""
    share = min(max(share if isfinite(share) else 0.0, 0.0), 1.0)
    if not can_print(_FULL + _PARTS):
        return "#" * round(share * width)
    eighths = round(share * width * 8)
    whole, rest = divmod(eighths, 8)
    return _FULL * whole + (_PARTS[rest - 1] if rest else "")
