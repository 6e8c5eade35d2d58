"""Numbers with roots, sets of the line and inverses of curves, against decimals of many digits."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest

from tests.draws import RNG
from xnorcore.importers.onnx.curves import SIGMOID, SOFTPLUS, SOFTSIGN, TANH, elu
from xnorcore.importers.onnx.line import Line, before, spliced
from xnorcore.importers.onnx.rounds import EXACT, cut_between
from xnorcore.importers.onnx.surd import ZERO, Surd, UndecidedError

DIGITS = 80


def decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def size(surd: Surd) -> Decimal:
    return sum((decimal(c) * decimal(q).sqrt() for c, q in surd.terms), Decimal(0))


def fraction(most: int = 40) -> Fraction:
    return Fraction(int(RNG.integers(-most, most + 1)), int(RNG.integers(1, 13)))


def some(terms: int) -> Surd:
    return Surd(tuple((fraction(), abs(fraction(12)) + Fraction(1, 8)) for _ in range(terms)))


def test_floor_and_sign_of_random_sums_of_roots() -> None:
    with localcontext() as context:
        context.prec = DIGITS
        for _ in range(300):
            surd = some(int(RNG.integers(1, 5)))
            value = size(surd)
            near = value.to_integral_value()
            if abs(value - near) < Decimal("1e-60"):  # the roots are rational, or cancel
                assert surd.floor() == (int(near), True)
                assert surd.sign() == (near > 0) - (near < 0)
            else:
                assert surd.floor() == (floor(value), False)
                assert surd.sign() == (1 if value > 0 else -1)
            assert abs(Decimal(surd.nearest()) - value) <= Decimal(np.spacing(abs(float(value)))) / 2


@pytest.mark.parametrize("seed", range(20))
def test_sums_that_cancel_are_exactly_zero(seed: int) -> None:
    """sqrt(8) is 2 sqrt(2); (sqrt(a) + sqrt(b))**2 is a + b + 2 sqrt(a b)."""
    rng = np.random.default_rng(seed)
    a, b, k = (
        Fraction(int(v), int(w)) for v, w in zip(rng.integers(1, 99, 3), rng.integers(1, 99, 3), strict=True)
    )
    one = Fraction(1)
    assert Surd(((k, a * 4), (-2 * k, a))).sign() == 0
    assert Surd(((one, a), (one, b), (-k, a), (-one, b * k * k / (k * k)), (k - 1, a))).rational == 0
    roots = Surd(((one, a), (one, b)))
    squared = roots.rooted(a) + roots.rooted(b) - Surd(((a + b, one), (2 * one, a * b)))
    assert squared.sign() == 0 and squared.floor() == (0, True)
    assert squared.plus(Fraction(1, 10**40)).floor() == (0, False)
    assert squared.plus(-Fraction(1, 10**40)).floor() == (-1, False)


def test_close_to_an_integer_and_not_on_it() -> None:
    """sqrt(2) + sqrt(3) less its own 200 digits: no number of digits that is fixed would do."""
    with localcontext() as context:
        context.prec = 220
        near = Fraction(Decimal(2).sqrt() + Decimal(3).sqrt())
    below = near.limit_denominator(10**200)
    surd = Surd(((Fraction(1), Fraction(2)), (Fraction(1), Fraction(3)), (-below, Fraction(1))))
    first = surd.sign()
    assert first in (1, -1) and surd.times(Fraction(-1)).sign() == -first
    assert surd.floor() == (0 if first > 0 else -1, False)


def test_what_is_only_nearly_known_is_not_decided() -> None:
    with pytest.raises(UndecidedError):
        Surd.of(0, Fraction(1, 10**90)).sign()
    with pytest.raises(UndecidedError):
        Surd.of(3, Fraction(1, 10**90)).floor()
    assert Surd.of(Fraction(7, 2), Fraction(1, 4)).floor() == (3, False)


def test_order_of_places() -> None:
    one, two = Surd.of(1), Surd.of(2)
    places = [(one, False), (one, True), (two, False), (two, True)]
    for i, a in enumerate(places):
        assert [before(a, b) for b in places] == [i < j for j in range(4)]


def test_membership_and_preimages() -> None:
    """[1, 2) and everything above 3, seen through -2 (x - 1) / sqrt(4) + 5 = 6 - x, and spliced."""
    cuts = ((Surd.of(1), False), (Surd.of(2), False), (Surd.of(3), True))
    line = Line(False, cuts)
    halves = [Fraction(n, 2) for n in range(-2, 14)]

    def inside(y: Fraction) -> bool:
        return 1 <= y < 2 or y > 3

    back = line.linear(Fraction(-2), Fraction(1), Fraction(5), Fraction(4))
    flat = line.linear(Fraction(0), Fraction(1), Fraction(3), Fraction(4))
    parts = spliced(((line, (Surd.of(Fraction(3, 2)), False)), (line.complement(), None)))
    for y in halves:
        assert line.holds(Surd.of(y)) == inside(y)
        assert back.holds(Surd.of(y)) == inside(6 - y)
        assert parts.holds(Surd.of(y)) == (inside(y) if y < Fraction(3, 2) else not inside(y))
    assert flat == Line(False) and line.end and not line.complement().end


CURVES: dict[str, Any] = {
    "tanh": (TANH, lambda x: 1 - 2 / ((2 * x).exp() + 1)),
    "sigmoid": (SIGMOID, lambda x: 1 / (1 + (-x).exp())),
    "softsign": (SOFTSIGN, lambda x: x / (1 + abs(x))),
    "softplus": (SOFTPLUS, lambda x: (1 + x.exp()).ln()),
    "elu": (elu(Fraction(3, 2)), lambda x: x if x > 0 else (x.exp() - 1) * Decimal("1.5")),
    "celu": (elu(Fraction(2), stretch=Fraction(2)), lambda x: x if x > 0 else ((x / 2).exp() - 1) * 2),
    "selu": (elu(Fraction(2), Fraction(3)), lambda x: 3 * x if x > 0 else (x.exp() - 1) * 6),
}


@pytest.mark.parametrize("key", CURVES)
def test_inverses_of_curves(key: str) -> None:
    curve, function = CURVES[key]
    with localcontext() as context:
        context.prec = 100
        for x in (-9, -2, Fraction(-1, 3), Fraction(1, 7), 1, 8):
            y = Fraction(function(decimal(Fraction(x))))
            found = curve.before(Surd.of(y))
            assert found is not None
            low, high = found.bracket(400)
            assert abs(low - x) < Fraction(1, 10**85) and abs(high - x) < Fraction(1, 10**85)
    for limit, step in ((curve.low, -1), (curve.high, 1)):
        if limit is not None:
            assert curve.before(Surd.of(limit)) is None and curve.before(Surd.of(limit + step)) is None
    if curve.exact is not None:
        assert curve.before(Surd.of(curve.exact[1])) == Surd.of(curve.exact[0])


@pytest.mark.parametrize("mode", EXACT)
@pytest.mark.parametrize("first", [-2, -1, 0, 1])
def test_where_rounding_changes(mode: str, first: int) -> None:
    """Against numpy's functions on sixteenths."""
    from xnorcore.importers.onnx.quantisers import ROUNDING

    found = cut_between(Fraction(first), Fraction(first + 1), mode)
    assert found is not None
    place, at, low = found
    x = first + np.arange(17) / 16
    expected = ROUNDING[mode](x)
    assert low == first
    mine = np.where(x < float(place), first, np.where(x > float(place), first + 1, at))
    assert np.array_equal(mine, expected)
    assert cut_between(Fraction(first), Fraction(first + 2), mode) is None
    assert cut_between(None, Fraction(1), mode) is None
    assert ZERO.floor() == (0, True)
