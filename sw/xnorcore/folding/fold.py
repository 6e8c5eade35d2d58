"""Exact folding of batch norm, bias and scale factors into integer thresholds: rationals, no float rounding.

The stored floats are taken as the rationals they are. ``sqrt(var + eps)`` stays under the root: floors of
``p + r * sqrt(q)`` are found with integer square roots.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt, prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NetworkError
from ..model.check import THRESHOLD_RANGE
from ..model.values import integers

ALWAYS, NEVER = THRESHOLD_RANGE
"""Thresholds of constant neurons: beyond any reachable sum."""


def fold_batchnorm(
    weights: ArrayLike,
    *,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
    bias: ArrayLike | None = None,
    alpha: ArrayLike | None = None,
    sign_zero: int = 1,
    input_bits: int = 1,
    input_scale: float | Fraction = 1.0,
    input_offset: float = 0.0,
    zero_padded: bool = False,
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Fold ``sign(gamma * (z - mean) / sqrt(var + eps) + beta)`` into row signs and thresholds.

    Here ``z = alpha * sum(w * (input_scale * x + input_offset)) + bias``, with x as `Dense` defines it.

    Parameters
    ----------
    weights : array, shape (outputs, ...)
        Weights of -1 and +1, of a `Dense` or a `Conv2d`.
    gamma, beta, mean, var : arrays of float, shape (outputs,) or ()
        The batch norm as stored.
    eps : float
        Added to `var` under the root.
    bias, alpha : arrays of float, shape (outputs,) or (), optional
        The layer's bias (default 0) and weight scale (default 1).
    sign_zero : int
        What the source framework's sign(0) is: +1 or -1. 0: it is neither, so a sum that gives exactly 0 is
        refused unless no input can reach it.
    input_bits : int
        Bits of an input value; used only to prove that 0 is out of reach.
    input_scale, input_offset : float
        What the framework's input is in terms of the integer x.
    zero_padded : bool
        The layer has zero padding: a sum may lack taps, so that any parity is possible for 1-bit inputs.

    Returns
    -------
    weights : array of int8, of the shape given
        Rows whose factor of the sum is negative are negated.
    thresholds : array of int64, shape (outputs,)
        Exact; clipped to the legal range, which no sum can reach. A factor of 0 gives `ALWAYS` or `NEVER`.

    Raises
    ------
    NetworkError
        If a parameter is not finite or has another shape, ``var + eps <= 0``, sign(0) is undecided, or zero
        padding meets an `input_offset`: there the framework's padding is not the integer 0.
    """
    if sign_zero not in (1, -1, 0):
        raise NetworkError(f"sign_zero is {sign_zero!r}, but must be +1, -1 or 0")
    array = _signs(weights)
    terms = batchnorm_terms(
        array, gamma=gamma, beta=beta, mean=mean, var=var, eps=eps, bias=bias, alpha=alpha,
        input_scale=input_scale, input_offset=input_offset, zero_padded=zero_padded,
    )  # fmt: skip
    return fold_exact(array, *terms, sign_zero=sign_zero, input_bits=input_bits, zero_padded=zero_padded)


def batchnorm_terms(
    weights: NDArray[np.int8],
    *,
    gamma: ArrayLike,
    beta: ArrayLike,
    mean: ArrayLike,
    var: ArrayLike,
    eps: float,
    bias: ArrayLike | None = None,
    alpha: ArrayLike | None = None,
    input_scale: float | Fraction = 1.0,
    input_offset: float = 0.0,
    zero_padded: bool = False,
) -> tuple[list[Fraction], list[Fraction], list[Fraction], list[Fraction]]:
    """Return factor, constant, root and square of each output, as `fold_exact` takes them.

    The parameters and errors are those of `fold_batchnorm`.
    """
    rows = weights.reshape(len(weights), prod(weights.shape[1:]))
    count = len(rows)
    gammas, betas, means, variances, biases, alphas = (
        _rationals(name, values, count)
        for name, values in (
            ("gamma", gamma), ("beta", beta), ("mean", mean), ("var", var),
            ("bias", 0.0 if bias is None else bias), ("alpha", 1.0 if alpha is None else alpha),
        )
    )  # fmt: skip
    epsilon = _rationals("eps", eps, 1)[0]
    exact = isinstance(input_scale, Fraction)
    in_scale = input_scale if exact else _rationals("input_scale", input_scale, 1)[0]
    in_offset = _offset(input_offset, zero_padded)
    factors, constants, squares = [], [], []
    for i in range(count):
        # Times the root: factor * sum + constant + beta * sqrt(variance), compared with 0.
        shift = alphas[i] * in_offset * int(rows[i].sum()) + biases[i] - means[i]
        factors.append(gammas[i] * alphas[i] * in_scale)
        constants.append(gammas[i] * shift)
        squares.append(_positive(i, variances[i] + epsilon))
    return factors, constants, betas, squares


def fold_exact(
    weights: NDArray[np.int8],
    factor: Sequence[Fraction],
    constant: Sequence[Fraction],
    root: Sequence[Fraction],
    square: Sequence[Fraction],
    *,
    sign_zero: int = 1,
    input_bits: int = 1,
    zero_padded: bool = False,
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Fold ``sign(factor * sum + constant + root * sqrt(square))`` into row signs and thresholds.

    Parameters
    ----------
    weights : array of int8, shape (outputs, ...)
        Any integers, -1 and +1 where sign(0) is 0.
    factor, constant, root, square : sequences of Fraction, length outputs
        `square` is at least 0.
    sign_zero, input_bits, zero_padded
        As in `fold_batchnorm`.

    Returns
    -------
    weights : array of int8, of the shape given
    thresholds : array of int64, shape (outputs,)
        As `fold_batchnorm`.

    Raises
    ------
    NetworkError
        If sign(0) is undecided and some input may reach it; or a channel falls that has a weight of -128.
    """
    rows = weights.reshape(len(weights), prod(weights.shape[1:])).copy()
    thresholds = np.empty(len(rows), np.int64)
    for i, slope in enumerate(factor):
        if slope < 0:
            if (rows[i] == np.iinfo(np.int8).min).any():
                raise NetworkError(
                    f"channel {i} falls and has a weight of -128, whose negative 8 bits do not hold; use "
                    "narrow weights, -127 to 127"
                )
            rows[i] *= -1
        thresholds[i] = _threshold(
            i, rows[i], abs(slope), constant[i], root[i], square[i], sign_zero, input_bits, zero_padded
        )
    return rows.reshape(weights.shape), thresholds


def strict(thresholds: ArrayLike) -> NDArray[np.int64]:
    """Thresholds for ``sum > T`` as thresholds for ``sum >= T``: one more.

    Raises
    ------
    NetworkError
        If a value is not an integer, or above 2**31 - 2.
    """
    values = np.asarray(thresholds)
    if values.dtype.kind not in "iu":
        raise NetworkError(f"thresholds have dtype {values.dtype}, but must be integers")
    if values.size and (values.max() >= NEVER or values.min() < ALWAYS):
        bad = values.max() if values.max() >= NEVER else values.min()
        raise NetworkError(f"threshold {bad} is out of range; legal: {ALWAYS} to {NEVER - 1}")
    return values.astype(np.int64) + 1


def from_popcount(thresholds: ArrayLike, inputs: int) -> NDArray[np.int64]:
    """Thresholds for ``popcount(XNOR(x, w)) >= T`` over `inputs` 1-bit taps as thresholds on the sum.

    The sum is ``2 * popcount - inputs``. Values beyond 0 to `inputs` + 1 give constant neurons.

    Raises
    ------
    NetworkError
        If a value is not an integer.
    """
    values = np.asarray(thresholds)
    if values.dtype.kind not in "iu":
        raise NetworkError(f"thresholds have dtype {values.dtype}, but must be integers")
    return 2 * np.clip(values, 0, inputs + 1).astype(np.int64) - inputs


def floor_root(p: Fraction, r: Fraction, q: Fraction) -> tuple[int, bool]:
    """Return ``floor(p + r * sqrt(q))`` and whether the value is an integer, exactly; q >= 0."""
    square = r * r * q
    n, d = square.numerator, square.denominator
    # p + sqrt(n/d) = (x + sqrt(y)) / z over integers; flooring the numerator first changes nothing.
    x, y, z = p.numerator * d, p.denominator**2 * n * d, p.denominator * d
    root = isqrt(y)
    perfect = root * root == y
    if r >= 0:
        top = x + root
    else:
        top = x - root if perfect else x - root - 1
    return top // z, perfect and top % z == 0


def _signs(weights: ArrayLike) -> NDArray[np.int8]:
    array = integers("weights", weights, np.int8)
    if array.ndim < 2 or (np.abs(array) != 1).any():
        raise NetworkError(
            f"weights of shape {array.shape}: must be (outputs, inputs) or (outputs, ...) of -1 and +1"
        )
    return array


def _offset(value: float, zero_padded: bool) -> Fraction:
    offset = _rationals("input_offset", value, 1)[0]
    if zero_padded and offset:
        raise NetworkError(
            f"input_offset is {float(offset)}, but a zero-padded layer takes no offset: its padding would "
            "not be the integer 0; pad with what the offset makes 0"
        )
    return offset


def _positive(index: int, variance: Fraction) -> Fraction:
    if variance <= 0:
        raise NetworkError(f"var + eps of channel {index} is {float(variance)}, but must be above 0")
    return variance


def _rationals(name: str, values: Any, count: int) -> list[Fraction]:
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
            raise NetworkError(f"{name} has dtype {array.dtype}, but must be float32 or float64")
        array = np.broadcast_to(array, (count,))
    except ValueError:
        raise NetworkError(
            f"{name} has shape {np.shape(values)}, but must be ({count},), one value per output"
        ) from None
    if not np.isfinite(array).all():
        index = int(np.argmin(np.isfinite(array)))
        raise NetworkError(f"{name} of channel {index} is {array[index]}, but must be finite")
    return [Fraction(value) for value in array.tolist()]


def _threshold(
    index: int,
    row: NDArray[np.int8],
    factor: Fraction,
    constant: Fraction,
    beta: Fraction,
    variance: Fraction,
    sign_zero: int,
    input_bits: int,
    zero_padded: bool,
) -> int:
    """Smallest sum that gives 1, for ``factor * sum + constant + beta * sqrt(variance)``, factor >= 0."""
    if factor == 0:
        below, whole = floor_root(-constant, -beta, variance)
        if whole and below == 0 and sign_zero == 0:
            raise NetworkError(f"channel {index} is always exactly 0 before the sign, and sign(0) is not +-1")
        positive = below < 0 or (whole and below == 0 and sign_zero > 0)
        return ALWAYS if positive else NEVER
    edge, whole = floor_root(-constant / factor, -beta / factor, variance)
    if whole and sign_zero == 0 and _reachable(edge, row, input_bits, zero_padded):
        raise NetworkError(
            f"channel {index}: a sum of {edge} gives exactly 0 before the sign, and sign(0) is not +-1; "
            "say which with sign_zero"
        )
    first = edge if whole and sign_zero > 0 else edge + 1
    return min(max(first, ALWAYS), NEVER)


def _reachable(value: int, row: NDArray[np.int8], bits: int, zero_padded: bool) -> bool:
    if bits == 1:
        return abs(value) <= row.size and (zero_padded or (value - row.size) % 2 == 0)
    most = (1 << bits) - 1
    plus = int(np.count_nonzero(row > 0))
    return -most * (row.size - plus) <= value <= most * plus
