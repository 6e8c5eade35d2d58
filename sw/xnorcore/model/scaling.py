"""XNOR-Net's input scale K, as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .values import Shape, Unweighted, integers, plain, same


@dataclass(frozen=True, eq=False, init=False)
class InputScale(Unweighted):
    """Gives the next layer signs together with their magnitude K.

    It reads the sums s of a layer without thresholds, and gives ``a = (multiplier * s + offset) >> shift``.
    The next layer, a `Dense` or a `Conv2d`, takes the signs of a, +1 for 0, as its inputs, and multiplies its
    sums by ``K = sum(abs(a)) >> mean_shift``, the sum over all its taps at that output position; padding
    counts as 0. All of it are integers, rounded down by the shifts: the same everywhere.

    After Rastegari, Ordonez, Redmon and Farhadi, "XNOR-Net", 2016, arXiv:1603.05279, section 3.2, where a
    is real: here it is a fixed-point number.

    Parameters
    ----------
    multiplier, offset : array of int64, shape (channels,)
        One per output channel of the layer before, or per neuron.
    shift, mean_shift : int
        0 to 62.
    name : str
        Shown in reports and messages.
    bits : int
        Of a with its sign, 2 to 63: it saturates at -2^(bits - 1) and 2^(bits - 1) - 1, and as magnitudes
        count a and -1 - a, which have a bit less. 0, it does not, and as magnitudes count a and -a.

    Raises
    ------
    NetworkError
        If an array holds anything but integers of its range.
    """

    multiplier: NDArray[np.int64]
    offset: NDArray[np.int64]
    shift: int
    mean_shift: int
    name: str
    bits: int

    def __init__(
        self,
        multiplier: ArrayLike,
        offset: ArrayLike,
        shift: int = 0,
        mean_shift: int = 0,
        name: str = "",
        bits: int = 0,
    ) -> None:
        for key, values in (("multiplier", multiplier), ("offset", offset)):
            object.__setattr__(self, key, integers(f"input scale, {key}", values, np.int64))
        object.__setattr__(self, "shift", plain(shift))
        object.__setattr__(self, "mean_shift", plain(mean_shift))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "bits", plain(bits))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InputScale):
            return NotImplemented
        return (
            self._numbers == other._numbers
            and same(self.multiplier, other.multiplier)
            and same(self.offset, other.offset)
        )

    def __hash__(self) -> int:
        return hash((self._numbers, self.multiplier.shape))

    @property
    def _numbers(self) -> tuple[str, int, int, int]:
        return self.name, self.shift, self.mean_shift, self.bits

    def values(self, sums: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return a of sums, their channels last."""
        scaled = (self.multiplier * sums + self.offset) >> self.shift
        return scaled.clip(-1 << self.bits - 1, self.largest) if self.bits else scaled

    def magnitudes(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what K is the sum of."""
        return np.where(values < 0, ~values, values) if self.bits else np.abs(values)

    @property
    def largest(self) -> int:
        """The largest magnitude, if a saturates."""
        return (1 << self.bits - 1) - 1

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result: that of the input."""
        return shape
