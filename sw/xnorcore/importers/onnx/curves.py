"""Smooth functions that rise everywhere, and where a threshold behind them lies in front of them.

At one point the inverse is rational (tanh is 0 at 0). Elsewhere it is transcendental, never an integer or
anything else that rationals and roots give, and is known with a bound on its error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, DecimalException, localcontext
from fractions import Fraction

from .surd import Surd, UndecidedError

DIGITS = 150
"""Decimal digits of an inverse; what it is compared with was a float32 or float64."""


@dataclass(frozen=True)
class Curve:
    """A function that rises, from a limit or without bound to another.

    Attributes
    ----------
    low, high : Fraction or None
        Limits that it comes close to and never reaches; None is without bound.
    inverse : function of Decimal
    exact : tuple of (Fraction, Fraction) or None
        A point (x, y) of the curve where both are rational.
    straight : Fraction or None
        From this y on, if there is one, the function is ``x * slope``.
    slope : Fraction
    """

    low: Fraction | None
    high: Fraction | None
    inverse: Callable[[Decimal], Decimal]
    exact: tuple[Fraction, Fraction] | None
    straight: Fraction | None = None
    slope: Fraction = Fraction(1)

    def before(self, value: Surd) -> Surd | None:
        """Return the x of a y, or None if the y lies at a limit or beyond.

        Raises
        ------
        UndecidedError
            If the y is too close to a limit.
        """
        for limit, side in ((self.low, 1), (self.high, -1)):
            if limit is not None and value.plus(-limit).sign() * side <= 0:
                return None
        if self.exact is not None and value.rational == self.exact[1]:
            return Surd.of(self.exact[0])
        if self.straight is not None and value.plus(-self.straight).sign() >= 0:
            return value.times(1 / self.slope)
        low, high = (self._inverse(end) for end in value.bracket(4 * DIGITS))
        error = Fraction(1, 10 ** (DIGITS - 20)) * (1 + abs(low) + abs(high))
        return Surd.of((low + high) / 2, (high - low) / 2 + error)

    def _inverse(self, value: Fraction) -> Fraction:
        with localcontext() as context:
            context.prec = 2 * DIGITS
            try:
                y = Decimal(value.numerator) / Decimal(value.denominator)
                return Fraction(self.inverse(y))
            except (DecimalException, OverflowError, ValueError):
                raise UndecidedError("a threshold lies too close to the function's limit") from None


def _log1p(x: Decimal) -> Decimal:
    return (1 + x).ln()


def _half_log(y: Decimal) -> Decimal:
    return ((1 + y) / (1 - y)).ln() / 2


def _softplus(y: Decimal) -> Decimal:
    return y + _log1p(-(-y).exp())


ONE, NIL = Fraction(1), Fraction(0)
TANH = Curve(-ONE, ONE, _half_log, (NIL, NIL))
SIGMOID = Curve(NIL, ONE, lambda y: (y / (1 - y)).ln(), (NIL, ONE / 2))
SOFTSIGN = Curve(-ONE, ONE, lambda y: y / (1 - abs(y)), (NIL, NIL))
SOFTPLUS = Curve(NIL, None, _softplus, None)


def elu(alpha: Fraction, gamma: Fraction = ONE, stretch: Fraction = ONE) -> Curve:
    """Return ``gamma * alpha * (exp(x / stretch) - 1)`` below 0, ``gamma * x`` above; parameters above 0."""
    full = gamma * alpha

    def inverse(y: Decimal) -> Decimal:
        wide = Decimal(full.numerator) / Decimal(full.denominator)
        return _log1p(y / wide) * Decimal(stretch.numerator) / Decimal(stretch.denominator)

    return Curve(-full, None, inverse, (NIL, NIL), NIL, gamma)
