"""Sets of real numbers, as the places where membership changes; what a sign asks, traced back to the sum."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from .surd import Surd

Cut = tuple[Surd, bool]
"""A place on the line: just before a number, or (True) just behind it."""


@dataclass(frozen=True)
class Line:
    """A union of intervals.

    Attributes
    ----------
    start : bool
        Whether numbers below all cuts belong to it.
    cuts : tuple of Cut
        Rising; at each, membership changes.
    """

    start: bool
    cuts: tuple[Cut, ...] = ()

    @property
    def end(self) -> bool:
        """Whether numbers above all cuts belong to it."""
        return self.start != bool(len(self.cuts) % 2)

    def complement(self) -> Line:
        """Return all other numbers."""
        return Line(not self.start, self.cuts)

    def holds(self, value: Surd) -> bool:
        """Whether a number belongs to it."""
        return self.behind((value, False))

    def behind(self, place: Cut) -> bool:
        """Whether what lies just behind a place belongs to it."""
        passed = sum(not before(place, cut) for cut in self.cuts)
        return self.start != bool(passed % 2)

    def linear(self, gamma: Fraction, mean: Fraction, beta: Fraction, square: Fraction) -> Line:
        """Return all x whose ``gamma * (x - mean) / sqrt(square) + beta`` belongs to it."""
        if not gamma:
            return Line(self.holds(Surd.of(beta)))
        cuts = tuple(
            (value.plus(-beta).rooted(square).times(1 / gamma).plus(mean), behind != (gamma < 0))
            for value, behind in self.cuts
        )
        return Line(self.start, cuts) if gamma > 0 else Line(self.end, cuts[::-1])


def before(a: Cut, b: Cut) -> bool:
    """Whether place a lies before place b."""
    order = (a[0] - b[0]).sign()
    return order < 0 or (order == 0 and b[1] and not a[1])


def spliced(parts: Iterable[tuple[Line, Cut | None]]) -> Line:
    """Return the set that is as each line up to the place given with it; the last goes on without end."""
    start = state = False
    begin: Cut | None = None
    cuts: list[Cut] = []
    for line, end in parts:
        inside = line.start if begin is None else line.behind(begin)
        if begin is None:
            start = state = inside
        elif inside != state:
            cuts.append(begin)
            state = inside
        for cut in line.cuts:
            if (begin is None or before(begin, cut)) and (end is None or before(cut, end)):
                cuts.append(cut)
                state = not state
        begin = end
    return Line(start, tuple(cuts))
