"""Folding against rational arithmetic with a certified enclosure of the square root."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaigns import examples
from xnorcore.errors import NetworkError
from xnorcore.folding import fold
from xnorcore.model.network import Dense


def folded(weights: Any, **parameters: Any) -> tuple[np.ndarray, np.ndarray]:
    return fold.fold_batchnorm(weights, **parameters)


def sign(p: Fraction, r: Fraction, q: Fraction) -> int:
    """Sign of p + r * sqrt(q) by squaring, independent of the code under test."""
    a = (p > 0) - (p < 0)
    b = ((r > 0) - (r < 0)) * (q > 0)
    if a * b >= 0:
        return a or b
    left, right = p * p, r * r * q
    return 0 if left == right else a if left > right else b


def reference(total: int, row_sum: int, p: dict[str, Any]) -> int:
    """Sign before binarization for the original row's sum `total`: gamma * (z - mean) + beta * sqrt(...)."""
    f = {k: Fraction(v) for k, v in p.items() if k != "sign_zero"}
    z = f["alpha"] * (f["input_scale"] * total + f["input_offset"] * row_sum) + f["bias"]
    value = sign(f["gamma"] * (z - f["mean"]), f["beta"], f["var"] + f["eps"])
    return value or p["sign_zero"]


def check(row: list[int], p: dict[str, Any], sums: range) -> None:
    weights, thresholds = folded([row], **p)
    assert weights.dtype == np.int8
    assert thresholds.dtype == np.int64
    flip = int(weights[0, 0]) * row[0]
    assert weights[0].tolist() == [flip * w for w in row]
    for total in sums:
        expected = reference(total, sum(row), p) > 0
        assert (flip * total >= thresholds[0]) == expected, (total, thresholds, p)
    Dense(weights, thresholds)


PLAIN: dict[str, Any] = {
    "gamma": 1.0, "beta": 0.0, "mean": 0.0, "var": 1.0, "eps": 0.0, "bias": 0.0, "alpha": 1.0,
    "sign_zero": 1, "input_scale": 1.0, "input_offset": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "flip", "threshold"),
    [
        ({}, 1, 0),
        ({"sign_zero": -1}, 1, 1),
        ({"mean": 2.5}, 1, 3),
        ({"mean": 3.0}, 1, 3),
        ({"mean": 3.0, "sign_zero": -1}, 1, 4),
        ({"mean": -2.5}, 1, -2),
        ({"bias": 2.0}, 1, -2),
        ({"alpha": 0.5, "mean": 1.0}, 1, 2),
        # -(s - 3) >= 0 is s <= 3, that is -s >= -3; strictly, -s >= -2.
        ({"gamma": -1.0, "mean": 3.0}, -1, -3),
        ({"gamma": -1.0, "mean": 3.0, "sign_zero": -1}, -1, -2),
        ({"gamma": -1.0, "alpha": -1.0, "mean": 3.0}, 1, -3),
        # s / 2 + 3 >= 0: sqrt(4) is rational, so that there is a tie at -6.
        ({"var": 3.0, "eps": 1.0, "beta": 3.0}, 1, -6),
        ({"var": 3.0, "eps": 1.0, "beta": 3.0, "sign_zero": -1}, 1, -5),
        # s / sqrt(2) - 1 >= 0: s >= 1.41...
        ({"var": 2.0, "beta": -1.0}, 1, 2),
        ({"var": 2.0, "beta": 1.0}, 1, -1),
        ({"gamma": 0.0, "beta": 1.0}, 1, fold.ALWAYS),
        ({"gamma": 0.0, "beta": -1.0}, 1, fold.NEVER),
        ({"gamma": 0.0}, 1, fold.ALWAYS),
        ({"gamma": 0.0, "sign_zero": -1}, 1, fold.NEVER),
        ({"gamma": 1e-300, "beta": 1.0}, 1, fold.ALWAYS),
        ({"gamma": 1e-300, "beta": -1.0}, 1, fold.NEVER),
        # x / 4 - 1 at each of three taps of weight +1, -1, +1: s / 4 - 1 >= 0.
        ({"input_scale": 0.25, "input_offset": -1.0}, 1, 4),
    ],
)
def test_by_hand(changes: dict[str, Any], flip: int, threshold: int) -> None:
    weights, thresholds = folded([[1, -1, 1]], **(PLAIN | changes))
    assert weights.tolist() == [[flip, -flip, flip]]
    assert thresholds.tolist() == [threshold]
    check([1, -1, 1], PLAIN | changes, range(-20, 21))


parameter = st.sampled_from([0.0, 1.0, -1.0, 0.5, -2.0, 3.0, 0.1, -0.3, 1e-5, 7.25]) | st.floats(
    -8, 8, width=32
)
positive = st.sampled_from([1.0, 4.0, 0.25, 2.0, 2.25, 0.1]) | st.floats(2**-20, 100, width=32)


@settings(deadline=None, max_examples=examples(400))
@given(
    st.lists(st.sampled_from([-1, 1]), min_size=1, max_size=9),
    st.fixed_dictionaries(
        {
            "gamma": parameter, "beta": parameter, "mean": parameter, "var": positive,
            "eps": st.sampled_from([0.0, 1e-5, 1e-3, 1.0, 2.0]), "bias": parameter, "alpha": parameter,
            "sign_zero": st.sampled_from([1, -1]),
            "input_scale": st.sampled_from([1.0, 1 / 255, 2.0, -1.0]), "input_offset": parameter,
        }
    ),
)  # fmt: skip
def test_against_rationals(row: list[int], p: dict[str, Any]) -> None:
    check(row, p, range(-40, 41))
    weights, thresholds = folded([row], **p)
    edge = int(thresholds[0])
    if fold.ALWAYS < edge < fold.NEVER:
        flip = int(weights[0, 0]) * row[0]
        assert reference(flip * edge, sum(row), p) > 0
        assert reference(flip * (edge - 1), sum(row), p) < 0


@given(st.fractions(), st.fractions(), st.fractions(0))
def test_floor_root(p: Fraction, r: Fraction, q: Fraction) -> None:
    value, whole = fold.floor_root(p, r, q)
    assert sign(p - value, r, q) >= 0
    assert sign(p - value - 1, r, q) < 0
    assert whole == (sign(p - value, r, q) == 0)


def test_float32_parameters_are_taken_as_stored() -> None:
    # float32(0.1) is above 1/10: a mean of 10 * float32(0.1) is above 1, and 1 stays below it.
    mean = np.array([np.float32(0.1)])
    _, thresholds = folded([[1]], **(PLAIN | {"mean": mean, "alpha": 0.1}))
    assert thresholds.tolist() == [2]
    _, thresholds = folded([[1]], **(PLAIN | {"mean": 0.1, "alpha": 0.1}))
    assert thresholds.tolist() == [1]


def test_many_channels() -> None:
    rng = np.random.default_rng(3)
    weights = rng.choice([-1, 1], (40, 33))
    p: dict[str, Any] = {
        k: rng.normal(size=40).astype(np.float32) for k in ("gamma", "beta", "mean", "bias", "alpha")
    }
    p |= {"var": rng.random(40, np.float32) + np.float32(0.1), "eps": 1e-5, "sign_zero": -1}
    rows, thresholds = folded(weights, **p)
    for i in range(40):
        one = {k: v if np.ndim(v) == 0 else float(v[i]) for k, v in p.items()}
        a, b = folded(weights[i : i + 1], **one)
        assert a[0].tolist() == rows[i].tolist()
        assert b[0] == thresholds[i]
    assert (rows[0] != weights[0]).all() or (rows[0] == weights[0]).all()


def test_undecided_sign_of_zero() -> None:
    p: dict[str, Any] = PLAIN | {"sign_zero": 0}
    with pytest.raises(NetworkError, match="channel 0: a sum of 0 gives exactly 0 before the sign"):
        folded([[1, 1]], **p)
    # Odd sums only, out of range, irrational: 0 cannot happen.
    assert folded([[1, 1, 1]], **p)[1].tolist() == [1]
    assert folded([[1, 1]], **(p | {"mean": 4.0}))[1].tolist() == [5]
    assert folded([[1, 1]], **(p | {"beta": 1.0, "var": 2.0}))[1].tolist() == [-1]
    # An n-bit input reaches every sum of its range.
    with pytest.raises(NetworkError, match="a sum of 6 gives exactly 0"):
        folded([[1, 1]], **(p | {"mean": 6.0}), input_bits=2)
    assert folded([[1, -1]], **(p | {"mean": 4.0}), input_bits=2)[1].tolist() == [5]
    with pytest.raises(NetworkError, match="a sum of -6 gives exactly 0"):
        folded([[-1, -1]], **(p | {"mean": -6.0}), input_bits=2)
    assert folded([[1, -1]], **(p | {"mean": -4.0}), input_bits=2)[1].tolist() == [-3]
    with pytest.raises(NetworkError, match="channel 0 is always exactly 0"):
        folded([[1, 1]], **(p | {"gamma": 0.0}))


def test_zero_padding_reaches_both_parities() -> None:
    p: dict[str, Any] = PLAIN | {"sign_zero": 0}
    with pytest.raises(NetworkError, match="channel 0: a sum of 0 gives exactly 0"):
        folded([[1, 1, 1]], **p, zero_padded=True)
    assert folded([[1, 1, 1]], **(p | {"mean": 4.0}), zero_padded=True)[1].tolist() == [5]
    with pytest.raises(NetworkError, match=r"input_offset is 0\.5, but a zero-padded layer takes no offset"):
        folded([[1]], **(PLAIN | {"input_offset": 0.5}), zero_padded=True)


def test_kernels_keep_their_shape() -> None:
    rng = np.random.default_rng(1)
    weights = rng.choice([-1, 1], (6, 3, 2, 5))
    p = {"gamma": rng.normal(size=6), "beta": rng.normal(size=6), "mean": 0.5, "var": 2.0, "eps": 1e-5}
    rows, thresholds = folded(weights, **p)
    flat, same = folded(weights.reshape(6, 30), **p)
    assert rows.shape == weights.shape
    assert np.array_equal(rows.reshape(6, 30), flat)
    assert np.array_equal(thresholds, same)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gamma": float("nan")}, "gamma of channel 0 is nan, but must be finite"),
        ({"mean": [1.0, float("inf")]}, "mean of channel 1 is inf"),
        ({"eps": float("inf")}, "eps of channel 0 is inf"),
        ({"var": 0.0}, "var . eps of channel 0 is 0.0, but must be above 0"),
        ({"var": [1.0, -2.0], "eps": 1e-5}, "var . eps of channel 1 is -1.99"),
        ({"beta": [1.0, 2.0, 3.0]}, r"beta has shape \(3,\), but must be \(2,\)"),
        ({"bias": ["a", "b"]}, "bias has dtype <U1"),
        ({"sign_zero": 2}, "sign_zero is 2"),
        ({"weights": [[1, 0]]}, "must be .outputs, inputs. or .outputs, ...."),
        ({"weights": [1, 1]}, "must be .outputs, inputs. or .outputs, ...."),
        ({"weights": [[0.5, 1]]}, "value 0.5"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        folded(**{"weights": [[1, 1], [1, 1]], **PLAIN, **changes})


def test_strict_and_popcount() -> None:
    assert fold.strict([-3, 0, 7]).tolist() == [-2, 1, 8]
    with pytest.raises(NetworkError, match="threshold 2147483647 is out of range"):
        fold.strict([0, 2**31 - 1])
    with pytest.raises(NetworkError, match="dtype float64"):
        fold.strict([0.5])
    # popcount >= 3 of 4 taps: sum >= 2; every sum has popcount >= 0; none has popcount >= 5.
    assert fold.from_popcount([3, 0, 5, -9, 10**6], 4).tolist() == [2, -4, 6, -4, 6]
