"""Stored weights that are integers times one step but for the rounding of floats."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_LEVELS", "step_of"]

MOST_LEVELS = 128
"""Largest magnitude of a weight of 8 bits."""
_KINDS = (np.float32, np.float64)


def step_of(magnitudes: NDArray[Any]) -> tuple[Fraction, NDArray[np.int64], Fraction] | None:
    """Return the largest step of which all numbers are multiples, each rounded twice at most.

    An integer times a step that is rounded itself, as quantisers compute it, differs from a multiple of one
    number by a unit of rounding (`numpy.finfo.eps` of it) at the most.

    Parameters
    ----------
    magnitudes : array of float32 or float64, shape (n,)
        Above 0 and rising.

    Returns
    -------
    step : Fraction
    levels : array of int64, shape (n,)
        1 to `MOST_LEVELS`.
    slack : Fraction
        Largest share of a multiple by which a number differs from it.
    """
    if magnitudes.dtype.type not in _KINDS or not 0 < len(magnitudes) <= MOST_LEVELS:
        return None
    unit = float(np.finfo(magnitudes.dtype).eps)
    wide = magnitudes.astype(np.float64)
    tops = np.arange(1, MOST_LEVELS + 1)[:, np.newaxis]
    levels = np.maximum(np.rint(wide / wide[-1] * tops), 1)
    steps = wide / levels
    near = steps.max(axis=1) - steps.min(axis=1) <= 2 * unit * steps.min(axis=1)
    if not near.any():
        return None
    row = int(np.argmax(near))
    step = Fraction(float((steps[row].max() + steps[row].min()) / 2))
    found = levels[row].astype(np.int64)
    if not step:
        return None
    slack = max(
        abs(Fraction(value) / (step * level) - 1)
        for value, level in zip(wide.tolist(), found.tolist(), strict=True)
    )
    return (step, found, slack) if slack <= Fraction(unit) else None
