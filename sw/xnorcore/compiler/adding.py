"""Additions of codes, which take no step: what reads the sums reads all that is added, with weights for each.

w * (a + b) is w * a + w * b. So what is added lies side by side, as for a concatenation, and the weights of a
channel stand once for each value that is added to it.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..model.layers import Conv2d, Weighted

__all__ = ["channels_of", "spread"]


def channels_of(parts: list[NDArray[np.int64]], added: bool) -> NDArray[np.int64]:
    """Return which channel of a join each channel side by side in memory belongs to.

    Parameters
    ----------
    parts : list of array of int64
        The same of each value that is joined.
    added : bool
        They are added; otherwise concatenated.
    """
    counts = [0 if added else int(part.max()) + 1 for part in parts]
    return np.concatenate([part + first for part, first in zip(parts, np.cumsum([0, *counts]), strict=False)])


def spread(layer: Weighted, channels: NDArray[np.int64], name: str) -> Weighted:
    """Return a layer as it reads channels side by side that are added.

    Parameters
    ----------
    layer : Dense or Conv2d
    channels : array of int64
        As of `channels_of`.
    name : str
        The layer's, in messages.

    Raises
    ------
    CompileError
        If it pads with a sum that is none of equal values.
    """
    count = int(channels.max()) + 1
    taps = layer.weights.reshape(layer.outputs, -1, count)[:, :, channels]
    if not isinstance(layer, Conv2d):
        return layer.with_arrays(weights=taps.reshape(layer.outputs, prod(taps.shape[1:])))
    weights, pad = taps.reshape(layer.outputs, *layer.kernel, len(channels)), layer.pad_value
    if pad and any(layer.padding):
        many = np.unique(np.bincount(channels)).tolist()
        if len(many) > 1 or pad % many[0]:
            raise CompileError(
                f"layer {name!r} pads with {pad}, where it reads sums of {' and of '.join(map(str, many))} "
                "values: a device pads each of these with one code; pad with 0, or with a multiple; `golden` "
                "and `eval` compute it"
            )
        pad //= many[0]
    return Conv2d(
        weights, layer.thresholds, stride=layer.stride, padding=layer.padding, pad_value=pad, name=layer.name
    )
