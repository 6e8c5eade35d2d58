"""What a caller hands over, as the plain immutable values that the network keeps."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError

Shape: TypeAlias = tuple[int, ...]


class Multiplying:
    """A layer with weights: what it keeps of them and of its thresholds.

    Attributes
    ----------
    weights : array of int8, shape (outputs, ...)
    thresholds : array of int64, shape (outputs,) or (outputs, steps), or None
    weight_width : int
        Bits of a weight: 1 if all are -1 or +1, else the fewest that hold all of them in two's complement.
    """

    weights: NDArray[np.int8]
    thresholds: NDArray[np.int64] | None
    weight_width: int

    @property
    def outputs(self) -> int:
        """Number of neurons, or of output channels."""
        return self.weights.shape[0]

    @property
    def steps(self) -> int:
        """Thresholds of each output: 0 gives sums, 1 gives bits, more give codes from 0 to `steps`."""
        if self.thresholds is None:
            return 0
        return 1 if self.thresholds.ndim < 2 else self.thresholds.shape[1]

    @property
    def weight_bits(self) -> int:
        """Stored weight bits."""
        return self.weights.size * self.weight_width

    @property
    def reach(self) -> int:
        """Largest sum of the magnitudes of an output's weights: of its sum, where all inputs are -1 or +1."""
        rows = np.abs(self.weights.reshape(self.outputs, -1), dtype=np.int64)
        return int(rows.sum(axis=1).max(initial=0))


class Unweighted:
    """A layer without weights, which multiplies nothing."""

    @property
    def weight_bits(self) -> int:
        """Stored weight bits: none."""
        return 0

    def macs(self, shape: Shape, pool: object = None) -> int:
        """Return 0: nothing is multiplied."""
        return 0


def integers(what: str, values: Any, dtype: type[np.signedinteger]) -> NDArray[Any]:
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


def floats(key: str, values: Any) -> NDArray[np.float64] | None:
    """Copy to a read-only array of float64; None stays None."""
    if values is None:
        return None
    try:
        array = np.array(values, dtype=np.float64) + 0.0  # one zero: -0.0 becomes 0.0
    except (ValueError, TypeError) as error:
        raise NetworkError(f"{key}: not an array of float64 ({error})") from None
    array.flags.writeable = False
    return array


def plain(value: Any) -> Any:
    """Turn a list or array into a tuple, and NumPy integers into int; the rest is left to the validator."""
    if isinstance(value, (list, np.ndarray)):
        value = tuple(value)
    if isinstance(value, tuple):
        return tuple(int(item) if isinstance(item, np.integer) else item for item in value)
    return int(value) if isinstance(value, np.integer) else value


def same(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    """Whether two optional arrays are equal."""
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b)


def set_arrays(layer: Any, kind: str, weights: Any, thresholds: Any, name: str) -> None:
    """Give an immutable layer its weights (int8), their width, thresholds (int64 or None) and name."""
    label = f"{kind} {name!r}" if name else kind
    object.__setattr__(layer, "weights", integers(f"{label}, weights", weights, np.int8))
    object.__setattr__(layer, "weight_width", width_of(layer.weights))
    if thresholds is not None:
        thresholds = integers(f"{label}, thresholds", thresholds, np.int64)
    object.__setattr__(layer, "thresholds", thresholds)
    object.__setattr__(layer, "name", name)


def width_of(weights: NDArray[np.int8]) -> int:
    """Return the bits of a weight, as `Multiplying.weight_width` has them."""
    if (np.abs(weights) == 1).all():
        return 1
    low, high = int(weights.min()), int(weights.max())
    return 1 + max(1, (-low - 1).bit_length() if low < 0 else 0, high.bit_length() if high > 0 else 0)


def equal(a: Any, b: Any, *names: str) -> Any:
    """Compare two layers with weights: ``NotImplemented`` if they are of different kinds."""
    if type(a) is not type(b):
        return NotImplemented
    return (
        all(getattr(a, name) == getattr(b, name) for name in ("name", *names))
        and same(a.weights, b.weights)
        and same(a.thresholds, b.thresholds)
    )
