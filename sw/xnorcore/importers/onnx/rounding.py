"""Whether a difference in the source's own precision is the rounding of a sum at its threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ...model.layers import Conv2d, Dense, MaxPool2d
from ...model.network import Network
from ...reference import fast
from .build import Built


def explained(
    network: Network,
    images: NDArray[np.uint8],
    last: int,
    wrong: NDArray[np.bool_],
    step: int = 1,
    turned: bool = False,
    restored: bool = False,
) -> NDArray[np.bool_]:
    """Say for each image whether all its wrong bits can be ties that were rounded.

    A sum next to its threshold may fall on the other side in float32; where one that is farther away does,
    thresholds have no meaning in that precision.

    Parameters
    ----------
    network : Network
    images : array of uint8, shape (n, values)
        The bits of all layers in front of the one in question must be right for them.
    last : int
        Index of the layer with the wrong bits, or of the pool behind it.
    wrong : array of bool, shape (n, bits)
        As this layer emits them.
    step : int
        By how much its sums are larger than the source's.
    turned, restored : bool
        Behind the layer with the sums, and behind the pooling, is one that turns channels around.

    Returns
    -------
    array of bool, shape (n,)
    """
    if not wrong.any():
        return np.ones(len(images), np.bool_)
    last -= restored
    pool = network.layers[last]
    first = last - isinstance(pool, MaxPool2d) - turned
    layer = network.layers[first]
    assert isinstance(layer, (Dense, Conv2d)) and layer.thresholds is not None
    part = network.up_to(first, layer.with_arrays(bare=True))
    sums = fast.run(part, images).reshape(len(images), -1, layer.outputs)
    near = np.zeros(sums.shape, np.bool_)
    for limit in layer.thresholds.reshape(layer.outputs, -1).T:
        distance = sums - limit
        # Sums of bits go in steps of 2.
        near |= (distance >= -2 * step) & (distance < 2 * step)
    near = near.reshape(len(images), -1)
    if isinstance(pool, MaxPool2d):
        near = _pooled(near.reshape(len(images), *network.shapes[last]), pool, network.shapes[last + 1])
    return np.asarray((near | ~wrong).all(axis=1))


def _pooled(near: NDArray[np.bool_], pool: MaxPool2d, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether any bit of a window is near its threshold, flat."""
    top, bottom, left, right = pool.padding
    # More than the padding: the last window may end behind it.
    margins = [(0, 0), (top, bottom + pool.stride[0]), (left, right + pool.stride[1]), (0, 0)]
    windows = sliding_window_view(np.pad(near, margins), pool.window, (1, 2))
    found = np.asarray(windows[:, :: pool.stride[0], :: pool.stride[1]].any(axis=(-2, -1)))
    return found[:, : shape[0], : shape[1]].reshape(len(near), -1)


def bits_explained(
    built: Built, number: int, images: NDArray[np.uint8], wrong: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Say the same of a stage's bits, as `Built.held` gives them, in a whole network."""
    copies = built.emitted[number]
    if copies is not None and wrong.any():
        emitted = np.zeros((len(wrong), copies.positions * copies.layer.outputs), np.bool_)
        for place, bit in enumerate(copies.right.tolist()):
            emitted[:, bit] |= wrong[:, place]
        wrong = emitted
    before = built.emitted[number - 1] if number else None
    doubled = before is not None and before.doubled
    stage = built.stages[number]
    turned = bool(stage.turned), bool(stage.restored)
    return explained(built.network, images, built.last[number], wrong, 2 if doubled else 1, *turned)


def scores_explained(network: Network, error: NDArray[Any], value: NDArray[Any], kind: Any) -> Any:
    """Say for each image whether its scores are off by no more than a float format rounds.

    Parameters
    ----------
    network : Network
    error, value : array, shape (n, outputs)
    kind : numpy dtype
        The coarsest float format in the source.
    """
    step = np.ones(network.outputs) if network.scale is None else np.abs(network.scale)
    last = network.layers[-1]
    taps = last.weights[0].size if isinstance(last, (Dense, Conv2d)) else 1
    offset = 0 if network.offset is None else np.abs(network.offset)
    size = 4 * (np.abs(value) + offset) + step * taps
    return (error <= step / 4 + float(np.finfo(kind).eps) * size).all(axis=1)
