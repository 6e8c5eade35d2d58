"""How a start value is stored where the planes of an n-bit input double the accumulator.

Such a layer adds one number T to each sum, the negated threshold, and has n planes for it: the first one
takes T >> (n - 1), each further one, behind a doubling, the next bit of T. Stored is T rotated to the right
by n - 1 bits, as a number of `acc_width` bits. The first plane takes that word as it is; the bits that do not
belong to T >> (n - 1) are the topmost ones, and the doublings push them out of the accumulator. The i-th
further plane takes the i-th bit from the top. So the gateware needs neither n nor a shifter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_PARTS", "MAX_PLANES", "plane_starts", "stored_starts"]


MAX_PLANES = 8
"""Planes that may double; inputs have at most as many bits."""
MAX_PARTS = MAX_PLANES + 1
"""Parts of a start value on a device with weights of several bits, which may double once more."""


def stored_starts(starts: NDArray[np.int64], planes: int, acc_width: int) -> NDArray[np.int64]:
    """Return start values as the threshold buffers hold them, signed numbers of `acc_width` bits.

    Parameters
    ----------
    starts : array of int64
        Within `acc_width` bits.
    planes : int
        That double; 1, none does.
    acc_width : int
    """
    low = planes - 1
    words = (starts >> low) & ((1 << (acc_width - low)) - 1)
    words |= (starts & ((1 << low) - 1)) << (acc_width - low)
    return words - ((words >> (acc_width - 1)) << acc_width)


def plane_starts(words: NDArray[np.int64], plane: int, acc_width: int) -> NDArray[np.int64]:
    """Return what a plane adds to the accumulator, the first one the word, each further one a bit."""
    return words >> (acc_width - plane) & 1 if plane else words
