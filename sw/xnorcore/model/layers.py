"""Layers of a network and the form of its input: plain values, checked by `xnorcore.model.check`."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .joining import Add, Concat
from .scaling import InputScale
from .spatial import Conv2d, GlobalSum, MaxPool2d
from .values import Multiplying, Shape, equal, plain, set_arrays


@dataclass(frozen=True)
class InputSpec:
    """Shape and number format of one image.

    Parameters
    ----------
    shape : tuple of int
        ``(values,)`` or ``(height, width, channels)``; values are row-major, channel fastest.
    bits : int
        1: each value is a bit that stands for -1 or +1. 2 to 8: an unsigned integer below ``2**bits``.
    """

    shape: Shape
    bits: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", plain(self.shape))
        object.__setattr__(self, "bits", plain(self.bits))

    @property
    def size(self) -> int:
        """Values per image."""
        return prod(self.shape)

    @property
    def maximum(self) -> int:
        """Largest legal value of a prepared image: ``2**bits - 1``."""
        return (1 << self.bits) - 1


@dataclass(frozen=True, eq=False, init=False)
class Dense(Multiplying):
    """Fully connected layer. It reads its input flattened, row-major (y, x, channel).

    Parameters
    ----------
    weights : array of int8, shape (outputs, inputs)
        Usually each is -1 or +1; any integers of 2 to 8 bits may be.
    thresholds : array of int64, shape (outputs,) or (outputs, steps), or None
        Output bit = 1 iff ``sum(w * x) >= threshold``, with x = -1 or +1 for 1-bit values and the integer
        itself for n-bit values or the sums of `GlobalSum`. With 2 to 255 thresholds for each output, in
        rising order, the layer gives codes: how many of them the sum reaches. None: it gives the sums, as
        scores.
    name : str
        Shown in reports and messages.

    Raises
    ------
    NetworkError
        If an array holds anything but integers of its range.
    """

    weights: NDArray[np.int8]
    thresholds: NDArray[np.int64] | None
    name: str
    weight_width: int = field(init=False, repr=False)

    def __init__(self, weights: ArrayLike, thresholds: ArrayLike | None = None, name: str = "") -> None:
        set_arrays(self, "dense layer", weights, thresholds, name)

    def __eq__(self, other: object) -> bool:
        return equal(self, other)

    def __hash__(self) -> int:
        return hash((self.name, self.weights.shape))

    @property
    def inputs(self) -> int:
        """Taps of every neuron."""
        return self.weights.shape[1]

    def with_arrays(
        self, weights: ArrayLike | None = None, thresholds: ArrayLike | None = None, *, bare: bool = False
    ) -> Dense:
        """Return this layer with other weights or thresholds; `bare`: without thresholds."""
        kept = None if bare else self.thresholds if thresholds is None else thresholds
        return Dense(self.weights if weights is None else weights, kept, self.name)

    def as_conv(self, shape: Shape) -> Conv2d:
        """Return the convolution of a map of `shape` that gives the same: its kernel covers the map."""
        height, width, channels = shape
        return Conv2d(self.weights.reshape(-1, height, width, channels), self.thresholds, name=self.name)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an input of `shape`."""
        return (self.outputs,)

    def macs(self, shape: Shape, pool: MaxPool2d | None = None) -> int:
        """Outputs x valid taps for an input of `shape`, one bit plane of it and of the weights."""
        return self.weights.size


Weighted: TypeAlias = Dense | Conv2d
"""Layers that multiply and compare."""

Layer: TypeAlias = Weighted | MaxPool2d | GlobalSum | InputScale | Concat | Add
"""Every kind of layer. A new kind joins here and in the tables by kind, one for each concern:
`model.spec.RULES` (what is legal), `reference.golden.COMPUTE` and `reference.fast.COMPUTE`,
`files.kinds.KINDS`, `compiler.steps.STEPS`, `verify.features.FEATURES`; and where it has something of its
own, `compiler.compile.LOWER`, `compiler.image.FIRST`, `cli.models.WINDOWS` and `verify.shrink.SIMPLER`."""


def has_weights(layer: Any) -> TypeGuard[Weighted]:
    """Whether a layer multiplies its inputs by weights, and may have thresholds."""
    return isinstance(layer, Weighted)


def is_dense(layer: Any) -> TypeGuard[Dense]:
    """Whether a layer reads its input flattened, and not as a map."""
    return isinstance(layer, Dense)
