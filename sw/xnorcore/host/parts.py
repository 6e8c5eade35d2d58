"""What head and tail of a network share: real layers that follow each other, and their limits."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any, get_args

from ..errors import NetworkError
from ..model.limits import brief, is_int
from ..model.values import Shape, plain
from .base import Stored
from .layers import Real

MAX_LAYERS = 32
MAX_IMAGE = 1 << 20
"""Most values of an image that a head reads."""
MAX_MAP = 1 << 22
"""Most values between two real layers."""
MAX_STORED = 1 << 24
"""Most numbers that a head, or a tail, stores."""
MAX_WORK = 1 << 32
"""Most products, and numbers of windows, of one image."""
LARGEST = float(1 << 20)
"""Largest magnitude of a number of an image."""
REACH = 2.0**126
"""No number on the way may provably reach it: then none is infinite, and no difference of such a NaN."""
VALUES = 1 << 22
"""Values of the largest map of all images that are computed together."""

Progress = Callable[[int, int], None]


def shape_of(what: str, shape: Any, most: int) -> Shape:
    """Return the shape of what a part reads as a tuple.

    Raises
    ------
    NetworkError
        If it is not (values,) or (height, width, channels), or has more than `most` values.
    """
    found: Any = plain(shape)
    legal = isinstance(found, tuple) and len(found) in (1, 3)
    if not legal or not all(is_int(n) and 1 <= n <= most for n in found) or prod(found) > most:
        raise NetworkError(
            f"{what}, shape: {brief(found)} must be (values,) or (height, width, channels), of at most "
            f"{most} values"
        )
    return found


def follow(what: str, shape: Shape, layers: Any, most: float) -> tuple[tuple[Real, ...], list[Shape]]:
    """Check real layers that follow each other; return them, and the shapes in front of and behind each.

    Parameters
    ----------
    what : str
        For messages.
    shape : tuple of int
        Of what the first reads.
    layers : sequence of Real
    most : float
        Largest magnitude of what the first reads.

    Raises
    ------
    NetworkError
        Names the layer, the value and the limit.
    """
    if not isinstance(layers, (list, tuple)) or len(layers) > MAX_LAYERS:
        found = len(layers) if isinstance(layers, (list, tuple)) else type(layers).__name__
        raise NetworkError(f"{what}: layers: found {found}, the limit is {MAX_LAYERS} real layers")
    shapes, work = [shape], 0
    for index, layer in enumerate(layers):
        where = f"{what}, layer {index}"
        if not isinstance(layer, Real):
            known = ", ".join(kind.__name__ for kind in get_args(Real))
            raise NetworkError(f"{where}: {type(layer).__name__} is no real layer; known: {known}")
        try:
            shapes.append(layer.output_shape(shapes[-1]))
            work += layer.operations(shapes[-2])
        except NetworkError as error:
            raise NetworkError(f"{where}: {error}") from None
        if prod(shapes[-1]) > MAX_MAP:
            raise NetworkError(f"{where}: gives {prod(shapes[-1])} values, the limit is {MAX_MAP}")
        most = layer.bound(most)
        if not most < REACH:
            raise NetworkError(f"{where}: may reach {most:.3g}, the limit is {REACH:.3g}; scale it down")
    if (stored := sum(layer.stored for layer in layers)) > MAX_STORED:
        raise NetworkError(f"{what}: its layers store {stored} numbers, the limit is {MAX_STORED}")
    if work > MAX_WORK:
        raise NetworkError(f"{what}: {work} operations for an image, the limit is {MAX_WORK}")
    return tuple(layers), shapes


class Part(Stored):
    """Real layers that follow each other."""

    shape: Shape
    layers: tuple[Real, ...]
    shapes: tuple[Shape, ...]

    @property
    def stored(self) -> int:
        """Numbers of float32 that it stores."""
        return super().stored + sum(layer.stored for layer in self.layers)

    @property
    def work(self) -> int:
        """Products of one image."""
        return sum(layer.macs(shape) for layer, shape in zip(self.layers, self.shapes, strict=False))

    @property
    def together(self) -> int:
        """Images that are computed together: memory stays bounded."""
        return max(1, VALUES // max(map(prod, self.shapes)))
