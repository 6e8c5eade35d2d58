"""Places buffers in a memory by liveness: each has its words from the step that first writes them to the last
one that reads them, and afterwards others may have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Buffer", "allocate", "least"]


@dataclass(frozen=True)
class Buffer:
    """Words that are needed for some time.

    Attributes
    ----------
    name : str
    words : int
    first, last : int
        Steps in which they are needed, both included.
    """

    name: str
    words: int
    first: int
    last: int

    def meets(self, other: Buffer) -> bool:
        """Whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


def allocate(buffers: Sequence[Buffer]) -> tuple[dict[str, int], int]:
    """Place buffers so that no two that are needed at the same time overlap.

    In a chain, where each buffer meets the one before and the one behind it, the first way of those that are
    tried takes as little as any can: buffers lie at the bottom and at the top of it in turn.

    Returns
    -------
    bases : dict of str to int
        First word of each.
    words : int
        That all of them take.
    """
    bound = least(buffers)
    by_time = sorted(buffers, key=lambda one: (one.first, one.last, one.name))
    by_size = sorted(buffers, key=lambda one: (-one.words, one.first, one.name))
    by_area = sorted(buffers, key=lambda one: (-one.words * (one.last - one.first + 1), one.name))
    ways = ((by_time, bound), (by_size, bound), (by_size, 0), (by_area, 0), (by_time, 0))
    best: dict[str, int] = {}
    fewest = -1
    for order, limit in ways:
        bases = _place(order, limit)
        words = max((bases[one.name] + one.words for one in buffers), default=0)
        if fewest < 0 or words < fewest:
            best, fewest = bases, words
        if fewest == bound:
            break
    return best, max(fewest, 0)


def least(buffers: Sequence[Buffer]) -> int:
    """Return the words that are needed at one time, at most: fewer cannot do."""
    times = {one.first for one in buffers}
    return max(
        (sum(one.words for one in buffers if one.first <= time <= one.last) for time in times), default=0
    )


def _place(order: Iterable[Buffer], limit: int) -> dict[str, int]:
    """Place buffers one after the other as low as possible, or, below a `limit`, low and high in turn."""
    placed: list[tuple[Buffer, int]] = []
    high = False
    for one in order:
        taken = sorted((base, base + other.words) for other, base in placed if one.meets(other))
        base = _lowest(one.words, taken)
        if high and limit:
            top = _highest(one.words, taken, limit)
            base = base if top is None else top
        placed.append((one, base))
        high = not high
    return {one.name: base for one, base in placed}


def _lowest(words: int, taken: list[tuple[int, int]]) -> int:
    base = 0
    for start, stop in taken:
        if base + words <= start:
            break
        base = max(base, stop)
    return base


def _highest(words: int, taken: list[tuple[int, int]], limit: int) -> int | None:
    top = limit
    for start, stop in sorted(taken, key=lambda part: -part[1]):
        if top - words >= stop:
            break
        top = min(top, start)
    return top - words if top >= words else None
