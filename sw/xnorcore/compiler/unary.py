"""Values of an input scale one bit for each threshold: how a layer with XNOR-Net's K gives those of the next.

A device compares K times a sum with one threshold, so that codes of such sums take an output for each of
their thresholds. a >= 0 is the sign. The magnitude of a, or of -1 - a, is the number of true ones among
a >= 1, a >= 2, ... and a < -1, a < -2, ...: it is a sum of bits, where what is padded counts as none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..model.layers import InputScale, Weighted

__all__ = ["MOST_WEIGHTS", "limits_of", "magnitude_bits", "sign_bits", "turned"]

MOST_WEIGHTS = 1 << 26
"""Of a layer that gives magnitudes, so that compiling it does not exhaust memory."""


def limits_of(scale: InputScale, numbers: range, reach: tuple[int, int]) -> NDArray[np.int64]:
    """Return from which sums on values are `numbers` and more, of multipliers without their signs.

    Parameters
    ----------
    scale : InputScale
    numbers : range
    reach : (int, int)
        Limits stay within: all sums reach the first one, and none the second.

    Returns
    -------
    array of int64, shape (channels, numbers)
    """
    low, high = reach
    found = []
    for multiplier, offset in zip(scale.multiplier.tolist(), scale.offset.tolist(), strict=True):
        wanted = [(number << scale.shift) - offset for number in numbers]
        if multiplier:
            limits = [-(-one // abs(multiplier)) for one in wanted]
        else:
            limits = [low if one <= 0 else high for one in wanted]
        found.append([min(max(limit, low), high) for limit in limits])
    return np.array(found, np.int64)


def turned(layer: Weighted, scale: InputScale) -> NDArray[np.int64]:
    """Return the weights in front of a scale whose multipliers have no signs."""
    weights = layer.weights.astype(np.int64)
    weights[scale.multiplier < 0] *= -1
    return weights


def sign_bits(layer: Weighted, scale: InputScale, bound: int) -> Weighted:
    """Return the layer that gives the signs of the values of a scale.

    Parameters
    ----------
    layer : Dense or Conv2d
        In front of the scale; its sums go up to `bound`.
    scale : InputScale
    bound : int
    """
    limits = limits_of(scale, range(1), (-bound, bound + 1))
    return layer.with_arrays(turned(layer, scale), limits[:, 0])


def magnitude_bits(layer: Weighted, scale: InputScale, largest: int, bound: int, name: str) -> Weighted:
    """Return the layer whose outputs, true ones counted, are magnitudes.

    Parameters
    ----------
    layer, scale, bound
        As of `sign_bits`.
    largest : int
        No magnitude is larger: there are twice as many outputs for each channel.
    name : str
        The scale's.

    Raises
    ------
    CompileError
        If these are too many.
    """
    outputs = 2 * largest
    if outputs * layer.weights.size > MOST_WEIGHTS:
        fewer = (MOST_WEIGHTS // layer.weights.size // 2 + 1).bit_length()
        raise CompileError(
            f"layer {name!r} is an InputScale, XNOR-Net's K, of sums that are multiplied by a K already: for "
            f"values up to {largest} a device computes each of these sums {outputs} times, which takes "
            f"{outputs * layer.weights.size} weights, the limit is {MOST_WEIGHTS}; "
            + (f"use bits={fewer} or less" if fewer > 1 else "put a layer without K between")
            + "; `golden` and `eval` compute it"
        )
    weights, reach = turned(layer, scale), (-bound, bound + 1)
    above = limits_of(scale, range(1, largest + 1), reach)
    # a < n is not a >= n: the sum turned over is above the limit turned over.
    below = 1 - limits_of(scale, range(-largest, 0), reach)
    return layer.with_arrays(
        np.concatenate([np.tile(one, (largest, *[1] * (one.ndim - 1))) for one in (weights, -weights)]),
        np.concatenate([above.T.reshape(-1), below.T.reshape(-1)]),
    )
