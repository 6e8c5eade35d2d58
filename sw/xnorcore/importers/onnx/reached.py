"""Levels of the image's quantiser that pixels reach: the network needs no others, nor bits for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .signal import Levels


def most_levels(tables: NDArray[np.uint8] | None) -> int:
    """Return how many values the pixels of one place become, at most.

    Parameters
    ----------
    tables : array of uint8, shape (values, 256)
        The level of each 8-bit pixel, at each place.
    """
    assert tables is not None
    ordered = np.sort(tables, axis=1)
    return 1 + int((ordered[:, 1:] != ordered[:, :-1]).sum(axis=1).max())


def narrowed(levels: Levels, tables: NDArray[Any] | None) -> tuple[Levels, str]:
    """Return the levels that pixels reach, and what was left out, in words; ``""`` if nothing.

    They take fewer bits, and the lowest is 0, which is what devices pad images with. Only for an image that
    somebody has said to hold pixels: else it may have the quantiser's other levels.

    Parameters
    ----------
    levels : Levels
        All of the quantiser.
    tables : array of uint8, shape (values, 256)
        The level of each 8-bit pixel, at each place.
    """
    assert tables is not None
    least = int(tables.min())
    bits = max(2, (int(tables.max()) - least).bit_length())
    if levels.bits == 1 or (least == 0 and bits == levels.bits):
        return levels, ""
    offset = levels.offset + least * levels.scale
    said = f"{f' -{least}' if least else ''}, {bits} bits, as of pixels"
    return replace(levels, offset=offset, bits=bits, origin=(levels.scale, offset)), said
