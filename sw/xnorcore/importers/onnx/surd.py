"""Exact numbers ``c1 * sqrt(q1) + c2 * sqrt(q2) + ...`` of rationals: what batch norms make of a threshold.

Square roots of rationals whose products are no squares are linearly independent over the rationals, so that a
sum of them, once those that belong together are merged, is rational only if no root is left. Everything else
is irrational, and some number of digits decides how it compares.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from ...errors import NetworkError
from ...folding.fold import floor_root

MOST_BITS = 1 << 12
"""Bits behind the point up to which a comparison is tried."""


class UndecidedError(NetworkError):
    """A number that is known only closely lies too near to what it is compared with."""


@dataclass(frozen=True)
class Surd:
    """A sum of rational multiples of square roots of rationals.

    Attributes
    ----------
    terms : tuple of (Fraction, Fraction)
        Coefficients, and the squares of the roots, above 0; 1 for the rational part.
    slack : Fraction
        How far the number may lie from the sum: 0, unless a transcendental function was inverted.
    """

    terms: tuple[tuple[Fraction, Fraction], ...]
    slack: Fraction = Fraction(0)

    @classmethod
    def of(cls, value: Fraction | int, slack: Fraction = Fraction(0)) -> Surd:
        """Return a rational."""
        return cls(((Fraction(value), Fraction(1)),), slack)

    def __add__(self, other: Surd) -> Surd:
        return Surd(self.terms + other.terms, self.slack + other.slack)

    def __sub__(self, other: Surd) -> Surd:
        return self + other.times(Fraction(-1))

    def plus(self, value: Fraction) -> Surd:
        """Return the sum with a rational."""
        if not value:
            return self
        first, *rest = self.terms or ((Fraction(0), Fraction(1)),)
        if first[1] != 1:
            return Surd(((value, Fraction(1)), *self.terms), self.slack)
        return Surd(((first[0] + value, first[1]), *rest), self.slack)

    def times(self, factor: Fraction) -> Surd:
        """Return a rational multiple."""
        return Surd(tuple((c * factor, q) for c, q in self.terms), self.slack * abs(factor))

    def over(self, other: Surd) -> Fraction | None:
        """Return the quotient by a number that is not 0, if it is known to be rational."""
        (whole, _), *rest = _merged(other.terms)
        if other.slack or len(rest) + bool(whole) != 1:
            return None
        factor, square = rest[0] if rest else (whole, Fraction(1))
        above = self.rooted(square).rational
        return None if above is None else above / (factor * square)

    def rooted(self, square: Fraction) -> Surd:
        """Return the product with ``sqrt(square)``, which is above 0."""
        if square == 1:
            return self
        return Surd(tuple((c, q * square) for c, q in self.terms), self.slack * (square + 1))

    @property
    def rational(self) -> Fraction | None:
        """The number, if it is known to be rational."""
        if self.slack:
            return None
        first, *rest = _merged(self.terms)
        return None if rest else first[0]

    def sign(self) -> int:
        """Return -1, 0 or 1.

        Raises
        ------
        UndecidedError
            If the slack allows several.
        """
        value = self.rational
        if value is not None:
            return (value > 0) - (value < 0)
        bits = 64
        while bits <= MOST_BITS:
            low, high = self.bracket(bits)
            if low > 0 or high < 0:
                return 1 if low > 0 else -1
            bits *= 2
        raise UndecidedError("a value lies too close to a threshold to be told from it")

    def floor(self) -> tuple[int, bool]:
        """Return the largest integer that is not above the number, and whether it is the number.

        Raises
        ------
        UndecidedError
            If the slack allows several.
        """
        (whole, _), *rest = _merged(self.terms)
        if not self.slack and len(rest) < 2:
            c, q = rest[0] if rest else (Fraction(0), Fraction(1))
            return floor_root(whole, c, q)
        bits = 64
        while bits <= MOST_BITS:
            low, high = self.bracket(bits)
            if low // 1 == high // 1:
                return low // 1, False
            bits *= 2
        raise UndecidedError("a threshold lies too close to an integer to be told from it")

    def bracket(self, bits: int) -> tuple[Fraction, Fraction]:
        """Return rationals below and above the number: ``2**-bits`` apart for each term, and the slack."""
        low = high = 0
        for c, q in _merged(self.terms):
            square = c * c * q
            near = isqrt((square.numerator << 2 * bits) // square.denominator)
            if c > 0:
                low, high = low + near, high + near + 1
            elif c < 0:
                low, high = low - near - 1, high - near
        scale = 1 << bits
        return Fraction(low, scale) - self.slack, Fraction(high, scale) + self.slack

    def nearest(self) -> float:
        """Return the nearest float64, or one of the two nearest.

        Raises
        ------
        OverflowError
            If there is none.
        """
        value = self.rational
        if value is not None:
            return float(value)
        bits = 128
        while True:
            low, high = self.bracket(bits)
            if float(low) == float(high) or bits > MOST_BITS:
                return float((low + high) / 2)
            bits *= 2


ZERO = Surd.of(0)


def root_of(value: Fraction) -> Fraction | None:
    """Return the square root of a rational that is not negative, if it is rational."""
    n, d = isqrt(value.numerator), isqrt(value.denominator)
    return Fraction(n, d) if n * n == value.numerator and d * d == value.denominator else None


def _merged(terms: tuple[tuple[Fraction, Fraction], ...]) -> list[tuple[Fraction, Fraction]]:
    """The same sum with roots that are independent; the first term is the rational part."""
    groups = [[Fraction(0), Fraction(1)]]
    for c, q in terms:
        if not c:
            continue
        for group in groups:
            root = root_of(group[1] * q)
            if root is not None:
                group[0] += c * root / group[1]
                break
        else:
            groups.append([c, q])
    return [(c, q) for i, (c, q) in enumerate(groups) if c or not i]
