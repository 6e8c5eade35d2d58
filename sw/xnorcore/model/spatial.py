"""Layers over (height, width, channels) maps: convolution, pooling and global sums."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .values import Multiplying, Shape, Unweighted, equal, plain, set_arrays


@dataclass(frozen=True, eq=False, init=False)
class Conv2d(Multiplying):
    """Convolution: a dense layer at every output position, over a window of a (height, width, channels) map.

    Parameters
    ----------
    weights : array of int8, shape (outputs, kernel height, kernel width, inputs)
        As in `Dense`; `inputs` are the channels of the map. Not flipped: tap (ky, kx) of output
        (y, x) reads row ``y * stride[0] + ky - top`` and column ``x * stride[1] + kx - left``.
    thresholds : array of int64, shape (outputs,) or (outputs, steps), or None
        For each output channel, as in `Dense`. None: the layer gives sums, flattened, as scores.
    stride : tuple of int
        Vertical, horizontal; 1 to 4.
    padding : tuple of int
        Rows or columns added at (top, bottom, left, right), each less than the kernel's side.
    pad_value : int
        What padding stands for. For 1-bit values, 0: its taps contribute exactly 0; -1 or +1: data like any
        other. For n-bit values: one of them, 0 or more.
    name : str
        Shown in reports and messages.

    Raises
    ------
    NetworkError
        If an array holds anything but integers of its range.
    """

    weights: NDArray[np.int8]
    thresholds: NDArray[np.int64] | None
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    pad_value: int
    name: str
    weight_width: int = field(init=False, repr=False)

    def __init__(
        self,
        weights: ArrayLike,
        thresholds: ArrayLike | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        pad_value: int = 0,
        name: str = "",
    ) -> None:
        set_arrays(self, "conv layer", weights, thresholds, name)
        object.__setattr__(self, "stride", plain(stride))
        object.__setattr__(self, "padding", plain(padding))
        object.__setattr__(self, "pad_value", plain(pad_value))

    def __eq__(self, other: object) -> bool:
        return equal(self, other, "stride", "padding", "pad_value")

    def __hash__(self) -> int:
        return hash((self.name, self.weights.shape, self.stride, self.padding, self.pad_value))

    @property
    def inputs(self) -> int:
        """Number of input channels."""
        return self.weights.shape[3]

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        return self.weights.shape[1], self.weights.shape[2]

    @property
    def taps(self) -> int:
        """Taps of one output: kernel height x kernel width x inputs."""
        return prod(self.weights.shape[1:])

    def with_arrays(
        self, weights: ArrayLike | None = None, thresholds: ArrayLike | None = None, *, bare: bool = False
    ) -> Conv2d:
        """Return this layer with other weights or thresholds; `bare`: without thresholds."""
        kept = None if bare else self.thresholds if thresholds is None else thresholds
        return Conv2d(
            self.weights if weights is None else weights, kept, stride=self.stride, padding=self.padding,
            pad_value=self.pad_value, name=self.name,
        )  # fmt: skip

    def as_conv(self, shape: Shape) -> Conv2d:
        """Return this layer."""
        return self

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result, (height, width, outputs), for an input of `shape`; may hold sizes below 1."""
        top, bottom, left, right = self.padding
        kh, kw = self.kernel
        height = (shape[0] + top + bottom - kh) // self.stride[0] + 1
        width = (shape[1] + left + right - kw) // self.stride[1] + 1
        return height, width, self.outputs

    def valid(self, shape: Shape) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say which taps read the map itself, and not padding.

        Tap (ky, kx) of output (y, x) does iff ``rows[y, ky] and columns[x, kx]``; every output has one.

        Returns
        -------
        rows : array of bool, shape (output height, kernel height)
        columns : array of bool, shape (output width, kernel width)
        """
        height, width, _ = self.output_shape(shape)
        top, _, left, _ = self.padding
        kh, kw = self.kernel
        y = np.arange(height)[:, np.newaxis] * self.stride[0] + np.arange(kh) - top
        x = np.arange(width)[:, np.newaxis] * self.stride[1] + np.arange(kw) - left
        return (y >= 0) & (y < shape[0]), (x >= 0) & (x < shape[1])

    def macs(self, shape: Shape, pool: MaxPool2d | None = None) -> int:
        """Outputs x valid taps for an input of `shape`, one bit plane of it and of the weights.

        Zero padding is no work; padding with -1 or +1 is. Positions that `pool`, the next layer, never reads
        do not count.
        """
        height, width, _ = self.output_shape(shape)
        rows, columns = self.valid(shape)
        if self.pad_value:
            rows, columns = np.ones_like(rows), np.ones_like(columns)
        if pool is not None:
            read_rows, read_columns = pool.read((height, width))
            rows, columns = rows[read_rows], columns[read_columns]
        return int(rows.sum()) * int(columns.sum()) * self.inputs * self.outputs


@dataclass(frozen=True, init=False)
class MaxPool2d(Unweighted):
    """Maximum in a window of each channel, of bits OR; only windows inside the padded map.

    It follows a `Conv2d` with thresholds.

    Parameters
    ----------
    window : tuple of int
        Height and width, each 1 to 7.
    stride : tuple of int, optional
        Vertical, horizontal, each 1 to 7; default: the window.
    name : str
        Shown in reports and messages.
    padding : tuple of int, optional
        Rows or columns added at (top, bottom, left, right), each less than the window's side. They hold
        bits or codes of 0, which never win.
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    name: str
    padding: tuple[int, int, int, int]

    def __init__(
        self,
        window: tuple[int, int] = (2, 2),
        stride: tuple[int, int] | None = None,
        name: str = "",
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        object.__setattr__(self, "window", plain(window))
        object.__setattr__(self, "stride", self.window if stride is None else plain(stride))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "padding", plain(padding))

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an input of `shape`; may hold sizes below 1."""
        top, bottom, left, right = self.padding
        height = (shape[0] + top + bottom - self.window[0]) // self.stride[0] + 1
        width = (shape[1] + left + right - self.window[1]) // self.stride[1] + 1
        return height, width, shape[2]

    def read(self, size: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Say which rows, and which columns, of a map of `size` (height, width) lie in a window."""
        height, width, _ = self.output_shape((*size, 1))
        top, _, left, _ = self.padding
        return (
            _read(size[0], height, self.window[0], self.stride[0], top),
            _read(size[1], width, self.window[1], self.stride[1], left),
        )


@dataclass(frozen=True)
class GlobalSum(Unweighted):
    """Sum over all positions, of -1 and +1 or of codes, for each channel: global average, not divided.

    It follows a `Conv2d` with thresholds or a `MaxPool2d`, and the last layer, a `Dense`, reads it.

    Parameters
    ----------
    name : str
        Shown in reports and messages.
    """

    name: str = ""

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an input of `shape`: (channels,)."""
        return (shape[2],)


def _read(size: int, windows: int, window: int, stride: int, before: int) -> NDArray[np.bool_]:
    """Which of `size` positions lie in one of so many windows, `before` of padding in front of them."""
    places = (np.arange(windows)[:, np.newaxis] * stride + np.arange(window) - before).ravel()
    read = np.zeros(size, np.bool_)
    read[places[(places >= 0) & (places < size)]] = True
    return read
