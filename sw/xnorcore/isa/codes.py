"""Codes: values of several bits between layers. A sum is compared with one threshold after the other."""

from __future__ import annotations

from ..errors import GeometryError
from .ranges import in_range

__all__ = ["MAX_CODE_BITS", "check_codes", "start_words"]

MAX_CODE_BITS = 3
"""Most bits of a value between layers that a device may have."""


def start_words(bits: int) -> int:
    """Return the start values of a tile in each column: one for each threshold of codes of `bits` bits.

    The first is what the accumulator starts from, and each further one what is added to come from one
    threshold to the next.
    """
    return (1 << bits) - 1


def check_codes(code_bits: int, threshold_share: int, row_sums: int, convolution: int) -> None:
    """Check `DeviceConfig.code_bits` and `row_sums` beside what they do not go with.

    Raises
    ------
    GeometryError
        If a value is outside its limits.
    """
    in_range("code_bits", code_bits, 1, MAX_CODE_BITS)
    if code_bits > 1 and threshold_share != 1:
        raise GeometryError(
            f"threshold_share is {threshold_share}, but must be 1 where code_bits is above 1; code_bits is "
            f"{code_bits}"
        )
    in_range("row_sums", row_sums, 0, 1)
    if row_sums and (code_bits == 1 or not convolution):
        raise GeometryError(
            f"row_sums is 1, which needs code_bits above 1 and convolution 1; they are {code_bits} and "
            f"{convolution}"
        )
