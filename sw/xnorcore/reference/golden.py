"""The living definition: plain integer arithmetic over -1 and +1, slow and obvious.

Every faster engine, in software or gateware, is tested for equality with this one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model.network import Conv2d, Dense, GlobalSum, InputScale, MaxPool2d, Network, prepare

BLOCK = 64
"""Images between two calls of a progress callback."""


def run(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> NDArray[Any]:
    """Compute the network's outputs.

    Parameters
    ----------
    network : Network
    images : array
        Anything that `xnorcore.model.network.prepare` accepts.
    progress : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    array, shape (n, outputs)
        int64 scores, or uint8 bits for a network whose last layer has thresholds.

    Raises
    ------
    InputError
        If the images do not fit the network.
    """
    return layers(network, images, progress=progress)[-1]


def layers(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> list[NDArray[Any]]:
    """Compute every layer's outputs: like `run`, one array of shape (n, values) for each layer.

    Maps are flattened, row-major (y, x, channel). Bits are uint8; sums, those of `GlobalSum` too, are int64.
    """
    values = prepare(network, images)
    count = len(values)
    blocks: list[list[NDArray[Any]]] = []
    for start in range(0, max(count, 1), BLOCK):
        blocks.append(_block(network, values[start : start + BLOCK]))
        if progress and count:
            progress(min(start + BLOCK, count), count)
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _block(network: Network, values: NDArray[np.uint8]) -> list[NDArray[Any]]:
    results: list[NDArray[Any]] = []
    signal = values.astype(np.int64)
    if network.input.bits == 1:
        signal = _signs(signal)
    before = None
    for layer, shape in zip(network.layers, network.shapes, strict=False):
        signal = signal.reshape(len(values), *shape)
        if isinstance(layer, MaxPool2d):
            signal = _pool(layer, signal)
        elif isinstance(layer, GlobalSum):
            signal = signal.sum(axis=(1, 2))
        elif isinstance(layer, InputScale):
            signal = (layer.multiplier * signal + layer.offset) >> layer.shift
        else:
            scale = None
            if isinstance(before, InputScale):
                scale = _magnitude(layer, signal) >> before.mean_shift
                signal = _signs(signal >= 0)
            signal = _dense(layer, signal) if isinstance(layer, Dense) else _conv(layer, signal)
            if scale is not None:
                signal = scale * signal
            if layer.thresholds is not None:
                signal = _signs(signal >= layer.thresholds)
        before = layer
        flat = signal.reshape(len(values), prod(signal.shape[1:]))
        results.append(flat if layer.result == "sums" else (flat > 0).astype(np.uint8))
    return results


def _signs(bits: NDArray[Any]) -> NDArray[np.int64]:
    return 2 * bits.astype(np.int64) - 1


def _dense(layer: Dense, x: NDArray[np.int64]) -> NDArray[np.int64]:
    return x.reshape(len(x), layer.inputs) @ layer.weights.astype(np.int64).T


def _conv(layer: Conv2d, maps: NDArray[np.int64]) -> NDArray[np.int64]:
    images, height, width, _ = maps.shape
    weights = layer.weights.astype(np.int64)
    top, _, left, _ = layer.padding
    sums = np.zeros((images, *layer.output_shape(maps.shape[1:])), np.int64)
    for y, x, ky, kx in np.ndindex(*sums.shape[1:3], *layer.kernel):
        row, column = y * layer.stride[0] + ky - top, x * layer.stride[1] + kx - left
        if 0 <= row < height and 0 <= column < width:
            sums[:, y, x] += maps[:, row, column] @ weights[:, ky, kx].T
        else:
            sums[:, y, x] += layer.pad_value * weights[:, ky, kx].sum(axis=1)
    return sums


def _magnitude(layer: Dense | Conv2d, a: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of the magnitudes that each output position reads; last axis 1."""
    if isinstance(layer, Dense):
        return np.abs(a).reshape(len(a), layer.inputs).sum(axis=1, keepdims=True)
    ones = np.ones((1, *layer.kernel, layer.inputs), np.int8)
    return _conv(Conv2d(ones, stride=layer.stride, padding=layer.padding), np.abs(a))


def _pool(layer: MaxPool2d, maps: NDArray[np.int64]) -> NDArray[np.int64]:
    _, height, width, _ = maps.shape
    top, _, left, _ = layer.padding
    result = np.full((len(maps), *layer.output_shape(maps.shape[1:])), -1)
    for y, x, wy, wx in np.ndindex(*result.shape[1:3], *layer.window):
        row, column = y * layer.stride[0] + wy - top, x * layer.stride[1] + wx - left
        if 0 <= row < height and 0 <= column < width:
            result[:, y, x] = np.maximum(result[:, y, x], maps[:, row, column])
    return result
