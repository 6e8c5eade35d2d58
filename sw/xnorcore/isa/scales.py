"""The results unit: how it makes a code of a sum, and the word that says so for a channel.

Of an accumulator that started from S it makes ``(M * (sum + S) + 32 * b) >> r``, rounded down, and of that
the nearest number that a code can be. M, b and r are one word in the memory of the unit, at the address of
the start value S of the same column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .device import DeviceConfig

__all__ = [
    "ADDEND_BITS", "ADDEND_UNIT", "MULTIPLIER_BITS", "SHIFT_BITS", "UNIT_STAGES", "packed_scales", "rescaled",
    "result_spacing", "unit_cycles",
]  # fmt: skip

MULTIPLIER_BITS, ADDEND_BITS, SHIFT_BITS = 16, 11, 5
"""Fields of a word, from the lowest on."""
ADDEND_UNIT = 32
UNIT_STAGES = 5
"""Registers between the accumulators that are captured and the codes."""


def packed_scales(multiplier: Any, addend: Any, shift: Any) -> NDArray[np.uint32]:
    """Return the words of multipliers, addends (in units of `ADDEND_UNIT`) and shifts, within their bits."""
    high = np.asarray(shift, np.int64) << ADDEND_BITS | np.asarray(addend, np.int64)
    return np.asarray(high << MULTIPLIER_BITS | np.asarray(multiplier, np.int64), np.uint32)


def rescaled(acc: NDArray[np.int64], words: NDArray[np.uint32], bits: int) -> NDArray[np.int64]:
    """Return the codes of `bits` bits that the unit makes of accumulators.

    Parameters
    ----------
    acc : array of int64
    words : array of uint32
        Of their channels; of a shape that goes with that of `acc`.
    bits : int
    """
    fields = words.astype(np.int64)
    multiplier = fields & (1 << MULTIPLIER_BITS) - 1
    addend = fields >> MULTIPLIER_BITS & (1 << ADDEND_BITS) - 1
    shift = fields >> MULTIPLIER_BITS + ADDEND_BITS
    return np.clip(acc * multiplier + ADDEND_UNIT * addend >> shift, 0, (1 << bits) - 1)


def unit_cycles(config: DeviceConfig) -> int:
    """Return by how many cycles a result of the unit is later than a sign would be."""
    return config.geometry.columns // config.result_lanes + UNIT_STAGES


def result_spacing(parts: int, config: DeviceConfig) -> int:
    """Return the cycles between two results of the unit, each written in so many `parts`, at the least."""
    return max(parts, config.geometry.columns // config.result_lanes)
