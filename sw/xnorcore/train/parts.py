"""Parts of a recipe: distortions and convolutions."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..model.check import KERNEL, MAX_SIZE, brief, is_int

__all__ = ["UNDISTORTED", "Augment", "Conv", "is_number"]

MAX_SHIFT = 64


@dataclass(frozen=True)
class Augment:
    """Random distortions of the training images, new in every epoch.

    Parameters
    ----------
    rotation : float
        Largest rotation, 0 to 180 degrees.
    stretch : float
        Largest relative change of height and width, and largest shear, 0 to 1.
    shift : float
        Largest shift, 0 to 64 pixels, in both directions.
    mirror : bool
        Exchange left and right, in one image of two.

    Raises
    ------
    UsageError
        If a value is out of range.
    """

    rotation: float = 0.0
    stretch: float = 0.0
    shift: float = 0.0
    mirror: bool = False

    def __post_init__(self) -> None:
        for key, most in (("rotation", 180), ("stretch", 1), ("shift", MAX_SHIFT)):
            value = getattr(self, key)
            if not is_number(value) or not 0 <= value <= most:
                raise UsageError(f"augment: {key} is {brief(value)}, but must be 0 to {most}")


def is_number(value: object) -> bool:
    """Whether a value is an int or a float, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


UNDISTORTED = Augment()


@dataclass(frozen=True)
class Conv:
    """One convolution of a recipe, with the batch norm and the sign behind it.

    Parameters
    ----------
    channels : int
        Output channels.
    kernel, stride : tuple of int
        Height and width, 1 to 7; vertical and horizontal, 1 to 4.
    padding : tuple of int
        Rows and columns added at (top, bottom, left, right), each less than the kernel's side.
    pad_value : int
        0, or for 1-bit inputs also -1 or +1.
    pool : tuple of int, optional
        Height and width of a max pooling window, each 2 or 3; it moves by its own size.
    pool_first : bool
        Pool the sums, in front of the batch norm, and not the signs.
    add : bool
        Add what the convolution reads to what it gives: a residual connection; not of signs.

    Raises
    ------
    UsageError
        If a value is out of range.
    """

    channels: int
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    pad_value: int = 0
    pool: tuple[int, int] | None = None
    pool_first: bool = True
    add: bool = False

    def __post_init__(self) -> None:
        for key in ("kernel", "stride", "padding", "pool"):
            if isinstance(getattr(self, key), list):
                object.__setattr__(self, key, tuple(getattr(self, key)))
        for key, count in (("kernel", 2), ("stride", 2), ("padding", 4), ("pool", 2)):
            value = getattr(self, key)
            whole = isinstance(value, tuple) and len(value) == count and all(map(is_int, value))
            self._check(key, whole or (key == "pool" and value is None), f"{count} whole numbers")
        height, width = self.kernel
        sides = (height, height, width, width)
        padded = all(0 <= pad < side for pad, side in zip(self.padding, sides, strict=True))
        channels = is_int(self.channels) and 1 <= self.channels <= MAX_SIZE
        self._check("channels", channels, f"1 to {MAX_SIZE}")
        self._check("kernel", all(KERNEL[0] <= side <= KERNEL[1] for side in self.kernel), "1 to 7 each")
        self._check("stride", all(1 <= step <= 4 for step in self.stride), "1 to 4 each")
        self._check("padding", padded, "at least 0, and less than the kernel's side, each")
        self._check("pad_value", is_int(self.pad_value) and -1 <= self.pad_value <= 1, "-1, 0 or +1")
        pooled = self.pool is None or all(2 <= side <= 3 for side in self.pool)
        self._check("pool", pooled, "None, or 2 or 3 each")
        sides = self.padding[0] + self.padding[1], self.padding[2] + self.padding[3]
        same = self.stride == (1, 1) and sides == (height - 1, width - 1) and self.pool is None
        self._check("add", same or not self.add, "false, but where a map keeps its size and is not pooled")

    def _check(self, key: str, legal: bool, limit: str) -> None:
        if not legal:
            raise UsageError(f"convolution: {key} is {brief(getattr(self, key))}, but must be {limit}")

    def output_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape (height, width, channels) of the result, pooled, for an input of `shape`.

        Raises
        ------
        UsageError
            If nothing is left.
        """
        sizes = []
        for axis in (0, 1):
            padded = shape[axis] + self.padding[2 * axis] + self.padding[2 * axis + 1]
            size = (padded - self.kernel[axis]) // self.stride[axis] + 1
            sizes.append(size if self.pool is None else size // self.pool[axis])
        if min(sizes) < 1:
            raise UsageError(f"convolution: nothing is left of a map of {shape} by {self}; drop a pooling")
        return sizes[0], sizes[1], self.channels
