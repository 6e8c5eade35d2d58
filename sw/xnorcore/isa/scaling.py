"""XNOR-Net's K beside the results unit: what a layer of the unit does with it (`scale_depth`).

A layer whose values count by sign and magnitude gives codes u = a + 2^(n - 1), which are **folded**: the
most significant plane is the sign, 1 for a >= 0, and the others are the magnitude, a or -1 - a, so that they
are turned over where the sign is 0. A convolution of ones over the magnitudes has one channel, whose
accumulator is **kept**, ``(M * acc) >> 15`` with M of its word, as the number K of a position. A layer at the
same positions, in the same order, is **multiplied**: its bit is 1 where K * acc + w >= 0. w has a sign and 32
bits, of which its word holds the highest 16 where M is, the next ones where b is, and the lowest 5 where r
is, so that b is added as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .device import DeviceConfig
from .scales import ADDEND_BITS, MULTIPLIER_BITS, SHIFT_BITS, packed_scales

__all__ = [
    "FACTOR_BITS", "FACTOR_SHIFT", "MAX_FACTOR", "NEVER", "Scaling", "check_scaling", "factors", "folded",
    "limit_words", "multiplied", "positions_of",
]  # fmt: skip

FACTOR_BITS = 16
"""Of a K that is kept."""
MAX_FACTOR = (1 << FACTOR_BITS) - 1
FACTOR_SHIFT = MULTIPLIER_BITS - 1
NEVER = 1 << 31
"""Limit that K * acc never reaches."""


class Scaling(IntEnum):
    """What becomes of the codes of the results unit."""

    NONE = 0
    FOLDED = 1
    KEPT = 2
    MULTIPLIED = 3


def folded(codes: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Return signs and magnitudes of codes of `bits` bits."""
    half = 1 << bits - 1
    return np.where(codes < half, codes ^ half - 1, codes)


def factors(acc: NDArray[np.int64], words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return K of accumulators; `words` are of their channel."""
    multiplier = words.astype(np.int64) & (1 << MULTIPLIER_BITS) - 1
    return acc * multiplier >> FACTOR_SHIFT & MAX_FACTOR


def multiplied(
    acc: NDArray[np.int64], kept: NDArray[np.int64], words: NDArray[np.uint32]
) -> NDArray[np.int64]:
    """Return the bits of accumulators that are multiplied by K, of shapes that go together."""
    fields = words.astype(np.int64)
    high, rest = fields & (1 << MULTIPLIER_BITS) - 1, fields >> MULTIPLIER_BITS
    low = (rest << SHIFT_BITS | rest >> ADDEND_BITS) & (1 << ADDEND_BITS + SHIFT_BITS) - 1
    added = (high << ADDEND_BITS + SHIFT_BITS | low).astype(np.uint32).view(np.int32)
    return (acc * kept + added >= 0).astype(np.int64)


def limit_words(added: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return the words that add numbers from -2^31 to 2^31 - 1 to products with K."""
    low, high = added & (1 << ADDEND_BITS + SHIFT_BITS) - 1, added >> ADDEND_BITS + SHIFT_BITS
    return packed_scales(high & (1 << MULTIPLIER_BITS) - 1, low >> SHIFT_BITS, low & (1 << SHIFT_BITS) - 1)


def positions_of(counts: Mapping[str, int]) -> int:
    """Return the numbers K of a layer with so many iterations of its loops: pooled ones count."""
    return counts["x"] * counts["y"] * counts["win_x"] * counts["win_y"]


def check_scaling(
    what: str, fields: Mapping[str, int], counts: Mapping[str, int], config: DeviceConfig, kept: int
) -> int:
    """Check a descriptor that has to do with K; return the numbers that are there behind it.

    Parameters
    ----------
    what : str
        The descriptor, in messages.
    fields : mapping of str to int
    counts : mapping of str to int
        Iterations of its loops.
    config : DeviceConfig
    kept : int
        Numbers that a layer of the program before this one has kept.

    Raises
    ------
    CompileError
        If a device cannot run it.
    """
    scaling, positions = fields["scaling"], positions_of(counts)
    if scaling == Scaling.NONE:
        return kept
    if not config.scale_depth:
        raise CompileError(f"{what} has to do with K, for which the device has no memory (scale_depth=0)")
    if not fields["rescaled"] or fields["valued"] or fields["score"]:
        raise CompileError(f"{what} has to do with K, but gives no codes of the results unit; set rescaled")
    if scaling == Scaling.FOLDED:
        if not fields["code_last"]:
            raise CompileError(f"{what} gives signs and magnitudes of 1 bit, but they have 2 at least")
        return kept
    if fields["code_last"]:
        raise CompileError(
            f"{what} has to do with K and gives codes of {fields['code_last'] + 1} bits, not 1"
        )
    if scaling == Scaling.MULTIPLIED:
        if positions != kept:
            raise CompileError(f"{what} multiplies {positions} positions by K, but {kept} have one")
        return kept
    if counts["tile"] > 1 or fields["strips"]:
        raise CompileError(f"{what} keeps K of {counts['tile']} tiles or of strips, but K is one channel's")
    if positions > config.scale_depth:
        raise CompileError(
            f"{what} keeps K of {positions} positions, the device {config.scale_depth} (scale_depth)"
        )
    return positions
