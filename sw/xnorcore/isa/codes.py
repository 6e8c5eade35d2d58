"""Codes: values of several bits between layers. A sum is compared with one threshold after the other."""

from __future__ import annotations

from ..errors import GeometryError
from .ranges import in_range

__all__ = [
    "MAX_CODE_BITS", "MAX_COMPARED_BITS", "MAX_LANES", "check_codes", "check_lanes", "check_memory",
    "start_words",
]  # fmt: skip

MAX_CODE_BITS = 8
"""Most bits of a value between layers that a device may have."""
MAX_COMPARED_BITS = 3
"""Most bits of one that thresholds give, one after the other."""
MAX_LANES = 16


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


def check_lanes(lanes: int, code_bits: int, columns: int, group: int) -> None:
    """Check `DeviceConfig.result_lanes` beside what it does not go with.

    Raises
    ------
    GeometryError
        If it is outside its limits.
    """
    in_range("result_lanes", lanes, 0, MAX_LANES)
    if not lanes:
        if code_bits > MAX_COMPARED_BITS:
            raise GeometryError(
                f"code_bits is {code_bits}, but must be at most {MAX_COMPARED_BITS} where result_lanes is 0; "
                "set result_lanes to 1"
            )
        return
    if lanes & (lanes - 1) or columns % lanes or group % lanes:
        raise GeometryError(
            f"result_lanes is {lanes}, but must be a power of two that divides columns {columns} and "
            f"column_group {group}"
        )
    if code_bits == 1:
        raise GeometryError(f"result_lanes is {lanes}, which needs code_bits above 1; it is 1")


def check_memory(name: str, depth: int, lanes: int, convolution: int, most: int) -> None:
    """Check the depth of a memory beside the results unit, a field of `DeviceConfig`.

    Raises
    ------
    GeometryError
        If it is outside its limits, of which `most` is one, or there is no such unit.
    """
    if not depth:
        return
    in_range(name, depth, 64, most)
    if depth & (depth - 1):
        raise GeometryError(f"{name} is {depth}, but must be 0 or a power of two, 64 to {most}")
    if not (lanes and convolution):
        raise GeometryError(
            f"{name} is {depth}, which needs result_lanes and convolution above 0; they are {lanes} and "
            f"{convolution}"
        )
