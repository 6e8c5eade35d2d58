"""Layers on integers, for codes and weights of several bits: exact products of floats; part of `fast`.

Values have the shape (images, height, width, channels), or (images, channels). A float product is exact, in
whatever order it is summed, while no sum of magnitudes leaves the float's mantissa.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..model.layers import MaxPool2d, Weighted
from ..model.values import Shape
from .packed import map_shape

FEW = 16
"""Up to so many thresholds, each is compared with all sums at once."""


class MatrixLayer:
    """A layer with weights, ready for integers of one shape.

    Parameters
    ----------
    layer : Dense or Conv2d
    shape : tuple of int
        Of its input.
    bound : int
        Largest magnitude of an input value.
    """

    def __init__(self, layer: Weighted, shape: Shape, bound: int) -> None:
        self.shape = map_shape(shape)
        layer = layer.as_conv(self.shape)
        self.kernel, self.stride, self.padding = layer.kernel, layer.stride, layer.padding
        self.pad_value, self.outputs = layer.pad_value, layer.outputs
        self.rows, self.columns, _ = layer.output_shape(self.shape)
        dtype = np.float32 if layer.reach * bound < 1 << 24 else np.float64
        self.weights = np.ascontiguousarray(layer.weights.reshape(layer.outputs, -1).T, dtype)

    @property
    def window_bytes(self) -> int:
        """Bytes of the windows of one image."""
        return self.weights.itemsize * len(self.weights) * self.rows * self.columns

    def sums(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Compute the sums, shape (n, height * width * outputs)."""
        maps = values.reshape(len(values), *self.shape)
        if any(self.padding):
            top, bottom, left, right = self.padding
            widths = ((0, 0), (top, bottom), (left, right), (0, 0))
            maps = np.pad(maps, widths, constant_values=self.pad_value)
        windows = sliding_window_view(maps, self.kernel, (1, 2))[:, :: self.stride[0], :: self.stride[1]]
        windows = windows.transpose(0, 1, 2, 4, 5, 3).astype(self.weights.dtype)
        sums = windows.reshape(-1, len(self.weights)) @ self.weights
        return sums.astype(np.int64).reshape(len(values), self.rows * self.columns * self.outputs)


def codes_of(sums: NDArray[np.int64], thresholds: NDArray[np.int64], shape: Shape) -> NDArray[np.uint8]:
    """Count the thresholds that each sum reaches.

    Parameters
    ----------
    sums : array of int64, shape (n, values)
        The channel fastest.
    thresholds : array of int64, shape (channels, steps)
        Rising.
    shape : tuple of int
        Of an image's result.
    """
    images, sums = len(sums), sums.reshape(-1, len(thresholds))
    result = np.zeros(sums.shape, np.uint8)
    if thresholds.shape[1] <= FEW:
        for step in thresholds.T:
            result += sums >= step
    else:
        for channel, steps in enumerate(thresholds):
            result[:, channel] = np.searchsorted(steps, sums[:, channel], side="right")
    return result.reshape(images, *shape)


def pool_codes(layer: MaxPool2d, maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the maximum of the codes in each window."""
    height, width, _ = layer.output_shape(maps.shape[1:])
    top, bottom, left, right = layer.padding
    maps = np.pad(maps, ((0, 0), (top, bottom), (left, right), (0, 0)))
    windows = sliding_window_view(maps, layer.window, (1, 2))[:, :: layer.stride[0], :: layer.stride[1]]
    return windows[:, :height, :width].max(axis=(-2, -1))
