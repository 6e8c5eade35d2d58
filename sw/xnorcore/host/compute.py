"""What real layers compute, in float32 and in a stated order: docs/numerics.md, section 10.

Each product, sum and quotient is rounded to float32 on its own, so that the results are the same bits on
every machine. Taps are added one after the other; many outputs and positions are computed at once, which
changes nothing in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Real, RealAffine, RealAveragePool2d, RealClip, RealConv2d, RealDense, RealMaxPool2d

Array = NDArray[np.float32]

BLOCK = 1 << 17
"""Sums of a convolution that are computed at once: they stay in the processor's cache."""


def compute(layers: Sequence[Real], images: Array) -> Array:
    """Return what layers make of images, one layer after the other.

    Parameters
    ----------
    layers : sequence of Real
        Each fits what the one before it gives.
    images : array of float32, shape (n, ...)
    """
    for layer in layers:
        images = COMPUTE[type(layer)](layer, images)
    return images


def _conv(layer: RealConv2d, maps: Array) -> Array:
    count, groups = len(maps), layer.groups
    height, width, outputs = layer.output_shape(maps.shape[1:])
    per = outputs // groups
    # (groups, channels of one, n, rows, columns): what a tap reads lies together.
    planes = _padded(maps, layer.padding, 0).transpose(3, 0, 1, 2)
    planes = planes.reshape(groups, -1, *planes.shape[1:])
    weights = layer.weights.reshape(groups, per, *layer.weights.shape[1:])
    result = np.empty((groups, per, count, height, width), np.float32)
    positions = max(1, BLOCK // outputs)
    images, rows = max(1, positions // (height * width)), max(1, min(height, positions // width))
    for first in range(0, count, images):
        for top in range(0, height, rows):
            block = result[:, :, first : first + images, top : top + rows]
            below = top + block.shape[3]
            sums = np.zeros((groups, per, block[0, 0].size), np.float32)
            if layer.bias is not None:
                sums += layer.bias.reshape(groups, per, 1)
            product = np.empty_like(sums)
            for ky, kx, channel in np.ndindex(*layer.weights.shape[1:]):
                sy, sx = layer.stride
                tap = planes[
                    :, channel, first : first + images, ky + top * sy : ky + (below - 1) * sy + 1 : sy,
                    kx : kx + (width - 1) * sx + 1 : sx,
                ].reshape(groups, 1, -1)  # fmt: skip
                np.multiply(weights[:, :, ky, kx, channel, np.newaxis], tap, out=product)
                sums += product
            block[...] = sums.reshape(block.shape)
    return np.ascontiguousarray(result.reshape(outputs, count, height, width).transpose(1, 2, 3, 0))


def _dense(layer: RealDense, x: Array) -> Array:
    flat = np.ascontiguousarray(x.reshape(len(x), -1).T)
    sums = np.zeros((len(x), len(layer.weights)), np.float32)
    if layer.bias is not None:
        sums += layer.bias
    product = np.empty_like(sums)
    for column, weights in zip(flat, np.ascontiguousarray(layer.weights.T), strict=True):
        np.multiply(column[:, np.newaxis], weights, out=product)
        sums += product
    return sums


def _affine(layer: RealAffine, x: Array) -> Array:
    return x * layer.scale + layer.offset


def _clip(layer: RealClip, x: Array) -> Array:
    if layer.low is not None:
        x = np.maximum(x, np.float32(layer.low))
    return x if layer.high is None else np.minimum(x, np.float32(layer.high))


def _maximum(layer: RealMaxPool2d, maps: Array) -> Array:
    return _windows(layer, maps, -np.inf, np.maximum)


def _average(layer: RealAveragePool2d, maps: Array) -> Array:
    return _windows(layer, maps, 0, np.add) / np.float32(layer.window[0] * layer.window[1])


def _windows(layer: Any, maps: Array, outside: float, join: Callable[..., Array]) -> Array:
    """Join the numbers of each window, one after the other, rows first."""
    height, width, _ = layer.output_shape(maps.shape[1:])
    padded, (sy, sx) = _padded(maps, layer.padding, outside), layer.stride
    result: Array | None = None
    for wy, wx in np.ndindex(*layer.window):
        part = padded[:, wy : wy + (height - 1) * sy + 1 : sy, wx : wx + (width - 1) * sx + 1 : sx]
        result = part.copy() if result is None else join(result, part, out=result)
    assert result is not None
    return result


def _padded(maps: Array, padding: tuple[int, ...], value: float) -> Array:
    top, bottom, left, right = padding
    if not any(padding):
        return maps
    return np.pad(maps, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=np.float32(value))


COMPUTE: dict[type, Callable[[Any, Array], Array]] = {
    RealConv2d: _conv, RealDense: _dense, RealAffine: _affine, RealClip: _clip, RealMaxPool2d: _maximum,
    RealAveragePool2d: _average,
}  # fmt: skip
"""By kind of layer: what it makes of images, float32, shape (n, ...)."""
