"""Whether a difference in the source's own precision is the rounding of a sum at its threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...model.layers import Conv2d, Dense, InputSpec
from ...model.network import Network
from ...reference import fast


def explained(
    layer: Dense | Conv2d, spec: InputSpec, images: NDArray[np.uint8], wrong: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say for each image whether all its wrong bits can be ties that were rounded.

    A sum next to its threshold may fall on the other side in float32; where one that is farther away does,
    thresholds have no meaning in that precision.

    Parameters
    ----------
    layer : Dense or Conv2d
        With thresholds.
    spec : InputSpec
        Of the layer alone.
    images : array of uint8, shape (n, values)
    wrong : array of bool, shape (n, bits)
        Channels last; behind a pool, fewer positions than the layer has.

    Returns
    -------
    array of bool, shape (n,)
    """
    if not wrong.any():
        return np.ones(len(images), np.bool_)
    assert layer.thresholds is not None
    channels = layer.outputs
    sums = fast.run(Network("sums", spec, [replace(layer, thresholds=None)]), images)
    distance = sums.reshape(len(sums), -1, channels) - layer.thresholds.astype(np.int64)
    # Sums of bits go in steps of 2.
    near = np.any((distance >= -2) & (distance <= 1), axis=1)
    ties = near | ~np.any(wrong.reshape(len(wrong), -1, channels), axis=1)
    return np.asarray(np.all(ties, axis=1))
