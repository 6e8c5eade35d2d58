"""Real-valued layers: plain values of float32, checked when they are made (docs/numerics.md)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NetworkError
from ..model.limits import brief, is_int
from ..model.values import Shape, plain
from .base import SLACK, Stored, bias_of, check_padding, numbers, windows, within
from .pools import RealAveragePool2d, RealMaxPool2d

__all__ = [
    "Real", "RealAffine", "RealAveragePool2d", "RealClip", "RealConv2d", "RealDense", "RealMaxPool2d",
]  # fmt: skip

KERNEL = (1, 15)
STRIDE = (1, 15)


@dataclass(frozen=True, eq=False, init=False)
class RealConv2d(Stored):
    """Convolution of a map with real weights; padding is 0.

    Parameters
    ----------
    weights : array of float32, shape (outputs, kernel height, kernel width, channels / groups)
        The kernel has 1 to 15 rows and columns, and is not flipped.
    bias : array of float32, shape (outputs,), optional
    stride : tuple of int
        Vertical, horizontal; 1 to 15.
    padding : tuple of int
        Rows or columns added at (top, bottom, left, right), each less than the kernel's side.
    groups : int
        Outputs and channels fall into as many groups, in order; an output reads those of its own.

    Raises
    ------
    NetworkError
        If a number is not finite, or a size not legal.
    """

    kind = "conv2d"
    _fields = ("weights", "bias", "stride", "padding", "groups")

    weights: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    groups: int

    def __init__(
        self,
        weights: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        groups: int = 1,
    ) -> None:
        rows = numbers("real conv2d, weights", weights, 4)
        self._set(weights=rows, bias=bias_of("real conv2d", bias, len(rows)))
        self._set(stride=plain(stride), padding=plain(padding), groups=plain(groups))
        within("real conv2d, kernel", rows.shape[1:3], KERNEL)
        within("real conv2d, stride", self.stride, STRIDE)
        check_padding("real conv2d", self.padding, rows.shape[1:3])
        if not is_int(self.groups) or self.groups < 1 or len(rows) % self.groups:
            raise NetworkError(
                f"real conv2d, groups: {brief(self.groups)} must be an integer that divides the {len(rows)} "
                "outputs"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for a map of `shape`; NetworkError if the layer does not fit it."""
        channels = self.weights.shape[3] * self.groups
        if len(shape) != 3 or shape[2] != channels:
            raise NetworkError(f"real conv2d takes a map of {channels} channels, but reads {shape}")
        size = windows("real conv2d", shape, self.weights.shape[1:3], self.stride, self.padding)
        return (*size, len(self.weights))

    def bound(self, most: float) -> float:
        """Largest magnitude of the result for numbers of at most `most`."""
        return _product_bound(self.weights, self.bias, most)

    def macs(self, shape: Shape) -> int:
        """Products of one image; those with padding count."""
        return prod(self.output_shape(shape)[:2]) * self.weights.size


@dataclass(frozen=True, eq=False, init=False)
class RealDense(Stored):
    """Fully connected layer with real weights. It reads its input flattened, row-major (y, x, channel).

    Parameters
    ----------
    weights : array of float32, shape (outputs, inputs)
    bias : array of float32, shape (outputs,), optional

    Raises
    ------
    NetworkError
        If a number is not finite, or a size not legal.
    """

    kind = "dense"
    _fields = ("weights", "bias")

    weights: NDArray[np.float32]
    bias: NDArray[np.float32] | None

    def __init__(self, weights: ArrayLike, bias: ArrayLike | None = None) -> None:
        rows = numbers("real dense, weights", weights, 2)
        self._set(weights=rows, bias=bias_of("real dense", bias, len(rows)))

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an input of `shape`; NetworkError if the layer does not fit it."""
        if prod(shape) != self.weights.shape[1]:
            raise NetworkError(
                f"real dense takes {self.weights.shape[1]} values, but reads {prod(shape)}, of shape {shape}"
            )
        return (len(self.weights),)

    def bound(self, most: float) -> float:
        """Largest magnitude of the result for numbers of at most `most`."""
        return _product_bound(self.weights, self.bias, most)

    def macs(self, shape: Shape) -> int:
        """Products of one image."""
        return self.weights.size


@dataclass(frozen=True, eq=False, init=False)
class RealAffine(Stored):
    """``x * scale + offset``, of each channel or of all: what a batch norm is when it has been trained.

    Parameters
    ----------
    scale, offset : array of float32, shape (channels,) or (1,)

    Raises
    ------
    NetworkError
        If a number is not finite, or the two have different shapes.
    """

    kind = "affine"
    _fields = ("scale", "offset")

    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    def __init__(self, scale: ArrayLike, offset: ArrayLike) -> None:
        self._set(scale=numbers("real affine, scale", scale, 1))
        self._set(offset=numbers("real affine, offset", offset, 1))
        if self.scale.shape != self.offset.shape:
            raise NetworkError(
                f"real affine: scale has shape {self.scale.shape} and offset {self.offset.shape}, but they "
                "must have the same"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result, that of the input; NetworkError if the layer does not fit it."""
        if len(self.scale) not in (1, shape[-1]):
            raise NetworkError(
                f"real affine has {len(self.scale)} channels, but reads {shape[-1]}, of shape {shape}"
            )
        return shape

    def bound(self, most: float) -> float:
        """Largest magnitude of the result for numbers of at most `most`."""
        scale, offset = (np.abs(values).astype(np.float64) for values in (self.scale, self.offset))
        return float((most * scale + offset).max()) * SLACK


@dataclass(frozen=True, eq=False, init=False)
class RealClip(Stored):
    """Values below a limit become the limit, and those above another one that: ReLU, hard tanh.

    Parameters
    ----------
    low, high : float or None
        At least one is given, and `low` is not above `high`.

    Raises
    ------
    NetworkError
        If they are not so, or not finite.
    """

    kind = "clip"
    _fields = ("low", "high")

    low: float | None
    high: float | None

    def __init__(self, low: float | None = 0.0, high: float | None = None) -> None:
        for key, value in (("low", low), ("high", high)):
            if value is not None:
                if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)):
                    raise NetworkError(f"real clip, {key}: {brief(value)} is no number")
                value = float(numbers(f"real clip, {key}", [value], 1)[0])
            self._set(**{key: value})
        if self.low is None and self.high is None:
            raise NetworkError("real clip has no limit; leave it out")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise NetworkError(f"real clip: low is {self.low}, above high, {self.high}")

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result, that of the input."""
        return shape

    def bound(self, most: float) -> float:
        """Largest magnitude of the result for numbers of at most `most`."""
        ends = [-most, most]
        if self.low is not None:
            ends = [max(end, self.low) for end in ends]
        if self.high is not None:
            ends = [min(end, self.high) for end in ends]
        return max(map(abs, ends))


def _product_bound(weights: NDArray[np.float32], bias: NDArray[np.float32] | None, most: float) -> float:
    rows = np.abs(weights.reshape(len(weights), -1)).sum(axis=1, dtype=np.float64) * most
    rows = rows if bias is None else rows + np.abs(bias).astype(np.float64)
    return float(rows.max()) * SLACK


Real: TypeAlias = RealConv2d | RealDense | RealAffine | RealClip | RealMaxPool2d | RealAveragePool2d
"""Every kind of real layer. A new kind joins here, in `host.compute.COMPUTE` and in `files.real.KINDS`."""
