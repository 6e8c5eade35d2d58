"""Which of several is worth having: no other one is better in everything."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["fronts"]

Goals = tuple[float, ...]


def fronts(goals: Sequence[Goals]) -> list[int]:
    """Return the front that each belongs to.

    Front 0 are those which no other one beats: as good in every goal, and better in one. Front 1 are
    those that only these beat, and so on.

    Parameters
    ----------
    goals : sequence of tuple of float
        What is to be large, of each.
    """
    front = [-1] * len(goals)
    number, left = 0, set(range(len(goals)))
    while left:
        best = {one for one in left if not any(_beats(goals[other], goals[one]) for other in left)}
        for one in best:
            front[one] = number
        left -= best
        number += 1
    return front


def _beats(one: Goals, other: Goals) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
