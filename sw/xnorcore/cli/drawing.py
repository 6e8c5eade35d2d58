"""Images in the terminal, as block characters."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .console import can_print

_SHADES = " ░▒▓█"
_PLAIN = " .:*#"
_GAP = "   "


def picture(image: NDArray[Any], maximum: int) -> list[str]:
    """Draw one image, dark for 0.

    Parameters
    ----------
    image : array, shape (height, width, channels) or (values,)
        Integers 0 to `maximum`. Channels are averaged; a vector becomes a square, or else one line.
    maximum : int

    Returns
    -------
    list of str
        Lines of equal length; two characters per pixel for images up to 16 pixels wide, else one per
        pixel and every other row.
    """
    shades = _SHADES if can_print(_SHADES) else _PLAIN
    side = isqrt(image.size)
    if image.ndim == 1 and side * side == image.size:
        image = image.reshape(side, side)
    grey = np.atleast_2d(image.mean(axis=2) if image.ndim == 3 else image)
    height, width = grey.shape
    wide = width > 16
    if wide and height > 1:
        grey = grey[: height // 2 * 2].reshape(-1, 2, width).mean(axis=1)
    levels = np.rint(grey / max(maximum, 1) * (len(shades) - 1)).astype(int)
    return ["".join(shades[level] * (1 if wide else 2) for level in row) for row in levels]


def gallery(pictures: Sequence[list[str]], captions: Sequence[str], width: int) -> list[str]:
    """Lay out pictures side by side, each with its caption below, in lines of at most `width` characters.

    Parameters
    ----------
    pictures : sequence of list of str
        Of equal size.
    captions : sequence of str
        One for each picture.
    width : int
    """
    cell = max(len(pictures[0][0]), *(len(caption) for caption in captions))
    each = max(1, (width + len(_GAP)) // (cell + len(_GAP)))
    lines: list[str] = []
    for first in range(0, len(pictures), each):
        part = slice(first, first + each)
        for row in zip(*pictures[part], strict=True):
            lines.append(_GAP.join(text.ljust(cell) for text in row).rstrip())
        lines.append(_GAP.join(caption.ljust(cell) for caption in captions[part]).rstrip())
        lines.append("")
    return lines
