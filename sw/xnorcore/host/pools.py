"""Pooling of real-valued maps."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from ..errors import NetworkError
from ..model.values import Shape, plain
from .base import SLACK, Stored, check_padding, windows, within

WINDOW = (1, 255)


@dataclass(frozen=True, eq=False, init=False)
class _Pool(Stored):
    """Windows on a map: what both kinds of pooling share."""

    _fields = ("window", "stride", "padding")

    window: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]

    def __init__(
        self,
        window: tuple[int, int],
        stride: tuple[int, int] | None = None,
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> None:
        self._set(window=plain(window), stride=plain(window if stride is None else stride))
        self._set(padding=plain(padding))
        within(f"real {self.kind}, window", self.window, WINDOW)
        within(f"real {self.kind}, stride", self.stride, WINDOW)
        check_padding(f"real {self.kind}", self.padding, self.window)

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for a map of `shape`; NetworkError if the layer does not fit it."""
        if len(shape) != 3:
            raise NetworkError(f"real {self.kind} takes a map, but reads {shape}")
        return (*windows(f"real {self.kind}", shape, self.window, self.stride, self.padding), shape[2])

    def operations(self, shape: Shape) -> int:
        """Numbers of all windows."""
        return prod(self.output_shape(shape)) * prod(self.window)

    def bound(self, most: float) -> float:
        """Largest magnitude of the result for numbers of at most `most`."""
        return most * SLACK


class RealMaxPool2d(_Pool):
    """The largest number of each window, channel by channel; padding never is the largest.

    Parameters
    ----------
    window : tuple of int
        Rows, columns; 1 to 255.
    stride : tuple of int, optional
        Likewise; default the window.
    padding : tuple of int
        Rows or columns added at (top, bottom, left, right), each less than the window's side.

    Raises
    ------
    NetworkError
        If a size is not legal.
    """

    kind = "maxpool2d"


class RealAveragePool2d(_Pool):
    """The average of each window, channel by channel; padding counts as 0.

    Parameters
    ----------
    window : tuple of int
        Rows, columns; 1 to 255.
    stride : tuple of int, optional
        Likewise; default the window.
    padding : tuple of int
        Rows or columns added at (top, bottom, left, right), each less than the window's side.

    Raises
    ------
    NetworkError
        If a size is not legal.
    """

    kind = "averagepool2d"
