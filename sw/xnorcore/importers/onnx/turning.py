"""Channels that fall, and whose weights have no negatives in 8 bits: a layer behind turns them around."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...model.layers import Conv2d, Dense
from .tensors import elements

__all__ = ["turning"]


def turning(layer: Dense | Conv2d, channels: Sequence[int], name: str, label: str) -> Dense | Conv2d:
    """Return a layer that gives what another one gives, and of some channels the most less it.

    Parameters
    ----------
    layer : Dense or Conv2d
        With thresholds.
    channels : sequence of int
    name : str
    label : str
        The source's node, in messages.

    Raises
    ------
    ImportFailedError
        If the layer has so many outputs that such weights are too many.
    """
    count, steps = layer.outputs, layer.steps
    elements((count, count), label)
    weights, signs = np.eye(count, dtype=np.int8), np.ones(count, np.int64)
    signs[list(channels)] = -1
    weights *= signs.astype(np.int8)
    # A bit is -1 or +1. Of a code k of n steps, n - k is how many of 1 - n, ..., 0 are at most -k.
    limits = np.ones(count, np.int64)
    if steps > 1:
        limits = np.where(signs[:, np.newaxis] < 0, -steps, 0) + np.arange(1, steps + 1)
    if isinstance(layer, Conv2d):
        return Conv2d(weights.reshape(count, 1, 1, count), limits, name=name)
    return Dense(weights, limits, name)
