"""Maps as kernel rows: what three columns of a kernel read lies together, in one word or in two.

A device with `packed_rows` may write every pixel of a map of few channels three times, into the kernel rows
that it is part of. Position x of a row then has the pixels x - 1, x and x + 1 in fields of equal size: a word
of four fields, of which the last is empty, or two of two fields, x - 1 and x + 1 in the first word, x in the
second. Beside the map, and in lanes without a channel, bits are 0.

A result is written in the order of `PARTS`; the first result of a row, and the last one, leave out what
would lie in another row. A part that is the first one in its word clears the others.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import GeometryError

__all__ = ["PARTS", "Part", "check_packed", "clears", "field_bits", "parts_of", "row_columns"]

PARTS = 3
"""Words that a result is written into, or cycles that this takes."""


class Part(NamedTuple):
    """Where a result goes in one of its cycles.

    Attributes
    ----------
    position : int
        From its own position to that whose kernel row it is.
    word, field : int
        Of that kernel row.
    """

    position: int
    word: int
    field: int


def parts_of(words: int) -> tuple[Part, ...]:
    """Return the parts of a result, in order, for kernel rows of so many words."""
    return (Part(1, 0, 0), Part(0, 0, 1), Part(-1, 0, 2)) if words == 1 else (
        Part(1, 0, 0), Part(0, 1, 0), Part(-1, 0, 1)
    )  # fmt: skip


def clears(words: int, part: int, x: int) -> bool:
    """Return whether a part of the result in column `x` is the first one in its word."""
    return part == 0 or (part == 1 and (words == 2 or x == 0)) or (part == 2 and words == 2 and x == 1)


def field_bits(words: int, width: int) -> int:
    """Return the bits of a field in kernel rows of so many words of `width` bits."""
    return width // (4 if words == 1 else 2)


def row_columns(words: int, width: int) -> tuple[int, int, int]:
    """Return the first lanes of the pixels x - 1, x and x + 1 in a kernel row."""
    size = field_bits(words, width)
    return (0, size, 2 * size) if words == 1 else (0, width, size)


def check_packed(packed: int, columns: int, width: int, convolution: int, store_words: int) -> None:
    """Check `DeviceConfig.packed_rows` beside what it does not go with.

    Raises
    ------
    GeometryError
        If it is outside its limits.
    """
    if packed not in (0, 1):
        raise GeometryError(f"packed_rows is {packed}, but must be 0 or 1")
    if packed and (columns > width or width % 32):
        raise GeometryError(
            f"packed_rows is 1, which needs a width that is a multiple of 32 and at least columns; they are "
            f"{width} and {columns}"
        )
    if packed and (not convolution or store_words):
        raise GeometryError(
            f"packed_rows is 1, which needs convolution 1 and store_words 0; they are {convolution} and "
            f"{store_words}"
        )
