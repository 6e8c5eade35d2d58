"""From outputs to classes: the two rules of docs/numerics.md, both exact."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SHOWN = 24
"""Characters of a class's name that are shown."""


def names(metadata: Mapping[str, Any], count: int) -> list[str]:
    """Return what to call each class: the names under ``classes`` in a network's metadata, or its number.

    Parameters
    ----------
    metadata : mapping
        Of a network, and so anything: only a list of `count` texts is believed.
    count : int
        Classes of the network.
    """
    stored = metadata.get("classes")
    if not isinstance(stored, list) or len(stored) != count or not all(isinstance(n, str) for n in stored):
        return list(map(str, range(count)))
    return [
        name[:MAX_SHOWN] if name.isprintable() and name.strip() else str(number)
        for number, name in enumerate(stored)
    ]


def highest_bit(bits: NDArray[Any]) -> NDArray[np.int64]:
    """Index of the highest column that is not 0 in each row, 0 if there is none."""
    top = bits.shape[1] - 1 - np.argmax(bits[:, ::-1] != 0, axis=1)
    return np.where(bits.any(axis=1), top, 0).astype(np.int64)


def argmax_affine(
    scores: NDArray[Any], scale: NDArray[np.float64] | None, offset: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Index of the largest ``score * scale + offset`` in each row, compared as rationals; ties: the lowest.

    Parameters
    ----------
    scores : array of integers, shape (n, classes)
    scale, offset : array of float64, shape (at least classes,), or None
        All finite; None stands for 1 and 0.

    Returns
    -------
    array of int64, shape (n,)
    """
    if scale is None and offset is None:
        return np.argmax(scores, axis=1).astype(np.int64)
    count = scores.shape[1]
    scale = np.ones(count) if scale is None else scale[:count]
    offset = np.zeros(count) if offset is None else offset[:count]
    # Decide in float64 where rounding cannot matter, and in rationals elsewhere. Overflow makes the error
    # infinite or NaN, and a comparison with that is never clear.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        product = scores.astype(np.float64) * scale
        value = product + offset
        # Three roundings of half an ulp each, with room to spare; subnormal results are exact.
        error = (np.abs(product) + np.abs(value)) * 2.0**-50
        best = np.argmax(value, axis=1)
        rows = np.arange(len(scores))
        clear = value + error < (value[rows, best] - error[rows, best])[:, np.newaxis]
    clear[rows, best] = True
    slopes = [Fraction(v) for v in scale.tolist()]
    offsets = [Fraction(v) for v in offset.tolist()]
    for row in np.flatnonzero(~clear.all(axis=1)):
        exact = [int(s) * a + b for s, a, b in zip(scores[row], slopes, offsets, strict=True)]
        best[row] = exact.index(max(exact))
    return best.astype(np.int64)
