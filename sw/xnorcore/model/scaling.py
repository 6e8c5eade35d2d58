"""XNOR-Net's input scale K, as integers: for training and the reference model; no accelerator runs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .values import Shape, Unweighted, integers, plain, same

if TYPE_CHECKING:
    pass


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

    def __init__(
        self, multiplier: ArrayLike, offset: ArrayLike, shift: int = 0, mean_shift: int = 0, name: str = ""
    ) -> None:
        for key, values in (("multiplier", multiplier), ("offset", offset)):
            object.__setattr__(self, key, integers(f"input scale, {key}", values, np.int64))
        object.__setattr__(self, "shift", plain(shift))
        object.__setattr__(self, "mean_shift", plain(mean_shift))
        object.__setattr__(self, "name", name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, InputScale):
            return NotImplemented
        return (
            (self.name, self.shift, self.mean_shift) == (other.name, other.shift, other.mean_shift)
            and same(self.multiplier, other.multiplier)
            and same(self.offset, other.offset)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.shift, self.mean_shift, self.multiplier.shape))

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result: that of the input."""
        return shape
