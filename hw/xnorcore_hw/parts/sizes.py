"""Sizes of small memories, their words and addresses. Without Amaranth: who counts block RAM needs them."""

from __future__ import annotations

from xnorcore.isa.layout import DESCRIPTOR
from xnorcore.isa.protocol import RECORDS

__all__ = [
    "KIND_BITS",
    "RECORDS",
    "RECORD_BITS",
    "RECORD_WORDS",
    "STORE_PLACES",
    "VALUE_BITS",
    "bits_for_depth",
    "place_bits",
]

RECORD_WORDS = 2 * RECORDS
"""Words of the memory that they are in where there is one."""
VALUE_BITS, KIND_BITS = 8, 2
RECORD_BITS = VALUE_BITS + KIND_BITS
STORE_PLACES = 16
"""Words that have come from an SDRAM, or will; look-up tables are memories of as many."""


def bits_for_depth(depth: int) -> int:
    """Return the width of an address of a memory of `depth` words."""
    return max(1, (depth - 1).bit_length())


def place_bits() -> int:
    """Return the bits of the place of a distance: the number of a descriptor's word."""
    return DESCRIPTOR.words.bit_length()
