"""Lowers a max pooling that cannot be done while its convolution writes: as a layer of its own.

A word of bits has no weight of 0, so each tap is read twice, by the loop ``row`` with a step of 0: once
with weights of +1, once with +1 for the channel itself and -1 for all others, which cancels them. What is
left is twice the sum of a channel's bits along a row of the window; it is above its lowest value if one of
them is 1. The rows of the window are ORed, as everywhere. Padding reads as bits of 0, which win nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..errors import CompileError
from ..isa.descriptor import Nest, Padding, Place
from ..isa.device import DeviceConfig
from ..model.layers import Conv2d, MaxPool2d
from .copies import Copies
from .finish import finish
from .lower import MAX_MAP, lower_conv
from .nest import Lowered, Positions, Region

__all__ = ["COPY", "PoolPass", "joins", "lower_pool", "pool_passes"]

COPY = ((1, 1), (1, 1), 0, 0)
"""Window, stride and padding of a pooling that gives what it reads."""

ROWS = 4
"""Most rows of a window that are ORed, and most positions of one that a convolution computes."""
TOP = 3
"""Most rows of padding above: each counts twice in a field of 3 bits."""
PADDED_ROWS = 490
"""Most rows of a map with padding: each counts twice in a counter of 10 bits."""
RECOMPUTED = 2.25
"""Most positions that a convolution computes, for each that the windows do not share."""


@dataclass(frozen=True)
class PoolPass:
    """A pooling that the array can do at once.

    Attributes
    ----------
    window, stride : tuple of int
        Vertical, horizontal; the window has at most `ROWS` rows.
    top, left : int
        Padding in front; behind, windows may leave the map as far as they have to.
    size : tuple of int
        Height and width of the result.
    """

    window: tuple[int, int]
    stride: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]

    @property
    def weight_bits(self) -> int:
        """Stored weight bits of the network: none."""
        return 0


def joins(pool: MaxPool2d, conv: Conv2d) -> bool:
    """Whether the pooling is done while the convolution writes, which computes each window's positions.

    It is not if the pooling has padding, a window that is too large, or windows that overlap so much that
    computing every position once and pooling in a layer of its own takes less.
    """
    (height, width), (down, across) = pool.window, pool.stride
    if any(pool.padding) or max(pool.window) > ROWS:
        return False
    if any(conv.padding) and max(conv.stride[0] * down, conv.stride[1] * across) > 15:
        return False
    return height * width <= RECOMPUTED * min(down, height) * min(across, width)


def pool_passes(pool: MaxPool2d, size: tuple[int, int]) -> list[PoolPass]:
    """Return the passes, one or two, whose composition is `pool` on a map of `size` (height, width)."""
    (rows, columns), (down, across) = pool.window, pool.stride
    top, _, left, _ = pool.padding
    height, width, _ = pool.output_shape((*size, 1))
    if rows <= ROWS:
        return [PoolPass(pool.window, pool.stride, top, left, (height, width))]
    # A window of n rows is a window of 4 over windows of n - 3. Of the padding, the first pass takes what
    # a field holds; rows of its result that see only padding are left to the second pass, as padding.
    above = min(top, TOP)
    between = min(size[0] + above, (height - 1) * down + ROWS - (top - above))
    return [
        PoolPass((rows - ROWS + 1, columns), (1, across), above, left, (between, width)),
        PoolPass((ROWS, 1), (down, 1), top - above, 0, (height, width)),
    ]


def lower_pool(step: PoolPass, source: Region, config: DeviceConfig, name: str, strips: int = 1) -> Lowered:
    """Lower a pass over a feature map; `strips` as for `lower.lower_conv`.

    Raises
    ------
    CompileError
        If the map has more rows or columns than the device can count.
    """
    if source.bits > 1:
        return _copied(source, config, name)
    width, pitch = config.geometry.width, source.pitch
    (rows, columns), (down, across), (height, out_width) = step.window, step.stride, step.size
    below = (height - 1) * down + rows - step.top > source.height
    right = (out_width - 1) * across + columns - step.left > source.width
    padded = bool(step.top or step.left or below or right)
    most = PADDED_ROWS if padded else MAX_MAP
    if source.height > most or source.width > MAX_MAP:
        what = "with padding pools" if padded else "pools"
        raise CompileError(
            f"layer {name!r} {what} a map of {source.height} x {source.width}, but at most "
            f"{most} x {MAX_MAP} can be"
        )
    pixel, line = pitch * width, source.width * pitch * width
    nest = Nest.of(run=(pitch, width), col=(columns, pixel), row=(2, 0))
    lanes = np.ones((source.channels, 2, columns, pitch * width), np.uint8)
    lanes[:, 1] = (np.arange(pitch * width) == source.places[:, np.newaxis])[:, np.newaxis]
    one = Conv2d(np.ones((source.channels, 1, 1, 1), np.int8), np.full(source.channels, 2 - 2 * columns))
    # Each row of a window is a position, and the columns of one are taps.
    positions = Positions((height - 1) * down + rows, (out_width - 1) * across + 1, line, pixel)
    lowered = finish(
        one, lanes.reshape(source.channels, 2 * columns * pitch, width), 0, Copies(), nest, config, name,
        planes=1, copies=1, factor=2, positions=positions, pool=MaxPool2d((rows, 1), (down, across)),
        strips=1 if step.top or below else strips,
    )  # fmt: skip
    padding = None
    if padded:
        # Rows count twice, so that both readings of a tap lie inside the map, or both outside.
        size = 2 * source.height, source.width
        padding = Padding(-1, step.left, 2 * step.top, (2, 1), (2 * down, across), size)
    place = Place("", -(step.top * source.width + step.left) * pitch)
    return replace(lowered, descriptor=replace(lowered.descriptor, source=place, padding=padding))


def _copied(source: Region, config: DeviceConfig, name: str) -> Lowered:
    """Copy a map of codes: its planes lie behind each other, as the rows of one map of bits."""
    rows = source.plane_words // (source.width * source.pitch)
    tall = replace(source, height=source.bits * rows, bits=1, plane_words=0)
    count = source.channels
    same = Conv2d(np.eye(count, dtype=np.int8).reshape(count, 1, 1, count), np.zeros(count, np.int64))
    lowered = lower_conv(same, None, tall, config, name)
    apart = lowered.words // source.bits
    values = replace(lowered.values, height=source.height, planes=source.bits, apart=apart)
    return replace(lowered, values=values)
