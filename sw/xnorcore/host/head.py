"""The head of a network, which the host computes: from images to the integers that the network reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, NetworkError
from ..model.limits import MOST_STEPS
from ..model.values import Shape
from .base import numbers
from .compute import compute
from .layers import Real
from .parts import LARGEST, MAX_IMAGE, MAX_STORED, Part, Progress, follow, shape_of


@dataclass(frozen=True, eq=False, init=False)
class Head(Part):
    """What the host makes of images before the integer network reads them.

    Parameters
    ----------
    shape : tuple of int
        Of an image: (values,) or (height, width, channels).
    layers : sequence of Real
        What they give has the shape of the integer network's input.
    thresholds : array of float32, shape (channels, steps) or (1, steps)
        Rising. The integer network reads how many of its channel's thresholds a number reaches: with one
        threshold a bit, else at most ``2**bits - 1``.
    pixels : array of float32, shape (channels, maximum + 1) or (1, maximum + 1), optional
        The number that each pixel, 0 to `maximum`, stands for. Without it images are numbers only.

    Raises
    ------
    NetworkError
        Names the layer, the value and the limit.
    """

    _fields = ("shape", "layers", "thresholds", "pixels")

    shape: Shape
    layers: tuple[Real, ...]
    thresholds: NDArray[np.float32]
    pixels: NDArray[np.float32] | None
    shapes: tuple[Shape, ...] = field(repr=False)

    def __init__(
        self,
        shape: Sequence[int],
        layers: Sequence[Real],
        thresholds: ArrayLike,
        pixels: ArrayLike | None = None,
    ) -> None:
        size = shape_of("head", shape, MAX_IMAGE)
        found, shapes = follow("head", size, layers, LARGEST)
        self._set(
            shape=size, layers=found, shapes=tuple(shapes), thresholds=_thresholds(thresholds, shapes[-1])
        )
        self._set(pixels=None if pixels is None else _pixels(pixels, size))
        if self.stored > MAX_STORED:
            raise NetworkError(f"head: stores {self.stored} numbers, the limit is {MAX_STORED}")

    @property
    def size(self) -> int:
        """Values of an image."""
        return prod(self.shape)

    @property
    def maximum(self) -> int:
        """Largest pixel; 0 if images are numbers only."""
        return 0 if self.pixels is None else self.pixels.shape[1] - 1

    @property
    def steps(self) -> int:
        """Thresholds of each value."""
        return self.thresholds.shape[1]

    def prepare(self, images: ArrayLike) -> NDArray[Any]:
        """Check images: the one rule for what a head accepts.

        Parameters
        ----------
        images : array
            Shape ``(n, *shape)``, ``(n, size)`` or, for one image, ``shape``. Of bool or any integer dtype:
            pixels, 0 to `maximum`; of any float dtype: what a pixel stands for, finite.

        Returns
        -------
        array of uint8 or float32, shape (n, *shape)

        Raises
        ------
        InputError
            Names what was found and what is expected.
        """
        try:
            array = np.asarray(images)
        except ValueError as error:
            raise InputError(f"images are not an array of numbers ({error})") from None
        if array.dtype.kind not in "biuf":
            raise InputError(f"images have dtype {array.dtype}, but must be pixels (integers) or floats")
        if array.shape == self.shape:
            array = array[np.newaxis]
        if array.ndim < 1 or array.shape[1:] not in (self.shape, (self.size,)):
            sizes = ", ".join(map(str, self.shape))
            raise InputError(
                f"images have shape {array.shape}, but must have (n, {sizes}) or (n, {self.size})"
            )
        array = array.reshape(len(array), *self.shape)
        if array.dtype.kind == "f":
            # Compared before the conversion, which may overflow; NaN fails as well.
            if not (np.abs(array) <= LARGEST).all():
                raise InputError(
                    f"images hold numbers that are not finite, or beyond {LARGEST:g} in magnitude"
                )
            return array.astype(np.float32)
        if self.pixels is None:
            raise InputError(
                "images are integers, but the network has no rule for pixels; give them as floats"
            )
        if array.size and (array.min() < 0 or array.max() > self.maximum):
            bad = array.min() if array.min() < 0 else array.max()
            raise InputError(f"images hold the pixel {bad}, but pixels are 0 to {self.maximum}")
        return array.astype(np.uint8)

    def real(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return what prepared images stand for, float32."""
        if images.dtype == np.float32:
            return images
        assert self.pixels is not None
        return self.pixels[np.arange(images.shape[-1]) % len(self.pixels), images]

    def run(self, images: ArrayLike, *, progress: Progress | None = None) -> NDArray[np.uint8]:
        """Return the integer network's input values, shape (n, values), of images as `prepare` takes them.

        Raises
        ------
        InputError
            If the images do not fit.
        """
        prepared = self.prepare(images)
        result = np.empty((len(prepared), prod(self.shapes[-1])), np.uint8)
        for first in range(0, len(prepared), self.together):
            block = slice(first, min(first + self.together, len(prepared)))
            found = compute(self.layers, self.real(prepared[block]))
            result[block] = _codes(found, self.thresholds).reshape(len(found), -1)
            if progress:
                progress(block.stop, len(prepared))
        return result


def _thresholds(values: ArrayLike, shape: Shape) -> NDArray[np.float32]:
    found = numbers("head, thresholds", values, 2)
    if len(found) not in (1, shape[-1]) or found.shape[1] > MOST_STEPS:
        raise NetworkError(
            f"head, thresholds: shape is {found.shape}, but must be (1 or {shape[-1]} channels, 1 to "
            f"{MOST_STEPS})"
        )
    if (found[:, 1:] < found[:, :-1]).any():
        raise NetworkError("head, thresholds: those of a channel must be in rising order")
    return found


def _pixels(values: ArrayLike, shape: Shape) -> NDArray[np.float32]:
    found = numbers("head, pixels", values, 2)
    if len(found) not in (1, shape[-1]) or not 2 <= found.shape[1] <= 256:
        raise NetworkError(
            f"head, pixels: shape is {found.shape}, but must be (1 or {shape[-1]} channels, 2 to 256 numbers)"
        )
    if np.abs(found).max() > LARGEST:
        raise NetworkError(f"head, pixels: {np.abs(found).max():g} is beyond {LARGEST:g} in magnitude")
    return found


def _codes(real: NDArray[np.float32], thresholds: NDArray[np.float32]) -> NDArray[np.uint8]:
    """How many thresholds of its channel each number reaches."""
    result = np.zeros(real.shape, np.uint8)
    for step in range(thresholds.shape[1]):
        result += real >= thresholds[:, step]
    return result
