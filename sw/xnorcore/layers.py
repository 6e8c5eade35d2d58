"""Layers of a network and the form of its input: plain values, checked as a chain by `xnorcore.validate`."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import NetworkError

Shape: TypeAlias = tuple[int, ...]


def _integers(what: str, values: Any, dtype: type[np.signedinteger]) -> NDArray[Any]:
    """Copy to a read-only integer array; refuse anything that the conversion would change."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise NetworkError(f"{what}: not an array of numbers ({error})") from None
    if array.dtype.kind not in "iuf":
        raise NetworkError(f"{what}: dtype is {array.dtype}, but must be an integer type")
    limits = np.iinfo(dtype)
    if array.dtype.kind == "f":
        # 2**63 is a float and does not fit int64: the upper limit is exclusive here.
        whole = (array == np.rint(array)) & (array >= limits.min) & (array < limits.max + 1.0)
    else:
        whole = (array >= limits.min) & (array <= limits.max)
    if not whole.all():
        bad = array[~whole].flat[0]
        raise NetworkError(f"{what}: value {bad} is not an integer from {limits.min} to {limits.max}")
    result = np.array(array, dtype=dtype, order="C")
    result.flags.writeable = False
    return result


def same(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    """Whether two optional arrays are equal."""
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b)


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
        if isinstance(self.shape, (list, np.ndarray)):
            object.__setattr__(self, "shape", tuple(self.shape))
        if isinstance(self.shape, tuple):
            plain = tuple(int(n) if isinstance(n, np.integer) else n for n in self.shape)
            object.__setattr__(self, "shape", plain)
        if isinstance(self.bits, np.integer):
            object.__setattr__(self, "bits", int(self.bits))

    @property
    def size(self) -> int:
        """Values per image."""
        return prod(self.shape)

    @property
    def maximum(self) -> int:
        """Largest legal value of a prepared image: ``2**bits - 1``."""
        return (1 << self.bits) - 1


@dataclass(frozen=True, eq=False, init=False)
class Dense:
    """Fully connected layer. It reads its input flattened, row-major (y, x, channel).

    Parameters
    ----------
    weights : array of int8, shape (outputs, inputs)
        Every weight is -1 or +1.
    thresholds : array of int64, shape (outputs,), or None
        Output bit = 1 iff ``sum(w * x) >= threshold``, with x = -1 or +1 for 1-bit values and the unsigned
        integer itself for an n-bit input. None: the layer gives the sums, as integer scores.
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

    def __init__(self, weights: ArrayLike, thresholds: ArrayLike | None = None, name: str = "") -> None:
        label = f"dense layer {name!r}" if name else "dense layer"
        object.__setattr__(self, "weights", _integers(f"{label}, weights", weights, np.int8))
        if thresholds is not None:
            thresholds = _integers(f"{label}, thresholds", thresholds, np.int64)
        object.__setattr__(self, "thresholds", thresholds)
        object.__setattr__(self, "name", name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dense):
            return NotImplemented
        return (
            self.name == other.name
            and same(self.weights, other.weights)
            and same(self.thresholds, other.thresholds)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.weights.shape))

    @property
    def outputs(self) -> int:
        """Number of neurons."""
        return self.weights.shape[0]

    @property
    def inputs(self) -> int:
        """Taps of every neuron."""
        return self.weights.shape[1]

    @property
    def weight_bits(self) -> int:
        """Stored weight bits."""
        return self.weights.size

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an input of `shape`."""
        return (self.outputs,)

    def macs(self, shape: Shape) -> int:
        """Outputs x valid taps for an input of `shape`, one bit plane."""
        return self.weights.size


Layer: TypeAlias = Dense
"""Every kind of layer. A new kind joins here, in validate, golden, fast and xnorfile."""
