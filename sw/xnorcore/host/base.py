"""What all real layers share: arrays of float32, windows on maps, and their checks."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NetworkError
from ..model.limits import brief, is_int
from ..model.values import Shape

SLACK = 1 + 2.0**-10
"""What rounding adds to a bound, many times over."""


def numbers(what: str, values: ArrayLike, ndim: int) -> NDArray[np.float32]:
    """Copy to a read-only array of float32, each number rounded to the nearest.

    Raises
    ------
    NetworkError
        If it is no array of finite numbers of `ndim` axes, or empty.
    """
    try:
        with np.errstate(over="ignore"):
            array = np.array(values, dtype=np.float32, order="C")
    except (ValueError, TypeError, OverflowError) as error:
        raise NetworkError(f"{what}: not an array of numbers ({error})") from None
    if array.ndim != ndim or not array.size:
        raise NetworkError(f"{what}: shape is {array.shape}, but it must have {ndim} axes, none empty")
    finite = np.isfinite(array)
    if not finite.all():
        raise NetworkError(f"{what}: holds {array[~finite].flat[0]}, but must be finite")
    array.flags.writeable = False
    return array


class Stored:
    """A real layer, or a part of a network: equal by fields, arrays bit for bit."""

    kind: ClassVar[str]
    _fields: ClassVar[tuple[str, ...]]

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(getattr(self, key), getattr(other, key)) for key in self._fields)

    def __hash__(self) -> int:
        return hash((type(self), self.stored))

    def _set(self, **values: Any) -> None:
        for key, value in values.items():
            object.__setattr__(self, key, value)

    @property
    def stored(self) -> int:
        """Numbers of float32 that the layer stores."""
        arrays = (getattr(self, key) for key in self._fields)
        return sum(array.size for array in arrays if isinstance(array, np.ndarray))

    def macs(self, shape: Shape) -> int:
        """Products of one image, for an input of `shape`."""
        return 0

    def operations(self, shape: Shape) -> int:
        """What takes time: products, and the numbers of windows that are joined."""
        return self.macs(shape)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b)
    return a is b or (not isinstance(a, np.ndarray) and not isinstance(b, np.ndarray) and a == b)


def bias_of(what: str, values: ArrayLike | None, outputs: int) -> NDArray[np.float32] | None:
    """Return a bias of as many float32 as there are outputs, or None.

    Raises
    ------
    NetworkError
        If they are not legal.
    """
    if values is None:
        return None
    bias = numbers(f"{what}, bias", values, 1)
    if len(bias) != outputs:
        raise NetworkError(f"{what}, bias: {len(bias)} values, but there are {outputs} outputs")
    return bias


def within(what: str, pair: Any, limits: tuple[int, int]) -> None:
    """Check two integers against limits.

    Raises
    ------
    NetworkError
        If they are not legal.
    """
    if (
        not isinstance(pair, tuple)
        or len(pair) != 2
        or not all(is_int(n) and limits[0] <= n <= limits[1] for n in pair)
    ):
        raise NetworkError(f"{what}: {brief(pair)} must be 2 integers from {limits[0]} to {limits[1]}")


def check_padding(what: str, padding: Any, sides: tuple[int, ...]) -> None:
    """Check four integers against the sides of a window.

    Raises
    ------
    NetworkError
        If they are not legal.
    """
    rows, columns = sides
    if (
        not isinstance(padding, tuple)
        or len(padding) != 4
        or not all(
            is_int(n) and 0 <= n < side
            for n, side in zip(padding, (rows, rows, columns, columns), strict=True)
        )
    ):
        raise NetworkError(
            f"{what}, padding: {brief(padding)} must be 4 integers (top, bottom, left, right), each less "
            f"than the window's side, {rows} or {columns}"
        )


def windows(
    what: str, shape: Shape, window: tuple[int, ...], stride: tuple[int, int], padding: tuple[int, ...]
) -> tuple[int, int]:
    """Return how many windows fit a map, (rows, columns).

    Raises
    ------
    NetworkError
        If they are not legal.
    """
    top, bottom, left, right = padding
    padded = shape[0] + top + bottom, shape[1] + left + right
    size = tuple((side - part) // step + 1 for side, part, step in zip(padded, window, stride, strict=True))
    if min(size) < 1:
        raise NetworkError(f"{what}: the window {window} does not fit the padded map {padded}")
    return size[0], size[1]
