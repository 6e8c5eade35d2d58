"""Layers that read several values."""

from __future__ import annotations

from dataclasses import dataclass

from .values import Shape, Unweighted, plain


@dataclass(frozen=True)
class Concat(Unweighted):
    """Puts the channels of several maps behind each other, or the values of several vectors.

    It reads two values or more, in the order of its `Node`: all maps of one height and width, or all vectors;
    all of them bits, or all codes.

    Parameters
    ----------
    name : str
        Shown in reports and messages.
    """

    name: str = ""

    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the result for inputs of `shapes`."""
        return (*shapes[0][:-1], sum(shape[-1] for shape in shapes))


@dataclass(frozen=True)
class Add(Unweighted):
    """Adds codes of one shape, place by place: what a residual connection does.

    It reads two values or more, all of them codes, or the n-bit image; one may come more than once. Another
    layer reads the sums.

    Parameters
    ----------
    name : str
        Shown in reports and messages.
    offset : int
        What the sums are less, -255 to 16320; 0 without `most`.
    most : int, optional
        They saturate: what it gives is the nearest number from 0 to this, 1 to 255. Default: they are
        given as they are.
    """

    name: str = ""
    offset: int = 0
    most: int | None = None

    def __post_init__(self) -> None:
        for key in ("offset", "most"):
            object.__setattr__(self, key, plain(getattr(self, key)))

    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the result for inputs of `shapes`."""
        return shapes[0]
