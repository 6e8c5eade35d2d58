"""Layers that read several values."""

from __future__ import annotations

from dataclasses import dataclass

from .values import Shape, Unweighted


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
    """

    name: str = ""

    def output_shape(self, *shapes: Shape) -> Shape:
        """Shape of the result for inputs of `shapes`."""
        return shapes[0]
