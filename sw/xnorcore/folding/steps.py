"""Exact folding of batch norm and a quantiser of several levels into integer thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model.values import integers
from .fold import batchnorm_terms, fold_exact

__all__ = ["fold_steps"]


def fold_steps(
    weights: ArrayLike, places: Sequence[tuple[Fraction, bool]], **batchnorm: Any
) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Fold a batch norm, and a quantiser that counts how many places its result reaches.

    Parameters
    ----------
    weights : array, shape (outputs, ...)
        Any integers of a `Dense` or a `Conv2d`.
    places : sequence of (Fraction, bool)
        Rising; whether the place itself is reached, or only what lies above it.
    **batchnorm
        The parameters of `fold_batchnorm` up to `alpha`, and those of the input.

    Returns
    -------
    weights : array of int8, of the shape given
        Rows whose factor of the sum is negative are negated.
    thresholds : array of int64, shape (outputs, places)

    Raises
    ------
    NetworkError
        As `fold_batchnorm`.
    """
    array = integers("weights", weights, np.int8)
    factors, constants, betas, squares = batchnorm_terms(array, **batchnorm)
    found = [
        fold_exact(
            array, factors, constants, [beta - place for beta in betas], squares,
            sign_zero=1 if reached else -1,
        )
        for place, reached in places
    ]  # fmt: skip
    return found[0][0], np.stack([thresholds for _, thresholds in found], axis=1)
