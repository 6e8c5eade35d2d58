"""Pages of a store in flash: 63 words, and a checksum of them.

A flipped bit in a weight would be a wrong score that nobody sees. So the device uses no word of a page before
it has compared the checksum: the remainder of all bits of the page, in the order in which a flash sends them
(each byte's highest bit first), by the polynomial of CRC-32, from all ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["DATA_WORDS", "PAGE_WORDS", "POLYNOMIAL", "checksums", "paged", "paged_place", "unpaged"]

PAGE_WORDS = 64
"""32-bit words of a page, the checksum included: what a flash programs at once."""
DATA_WORDS = PAGE_WORDS - 1
"""Those without it."""
POLYNOMIAL = 0x04C1_1DB7


def _table() -> NDArray[np.uint32]:
    values = np.arange(256, dtype=np.uint32) << np.uint32(24)
    for _ in range(8):
        top = values >> np.uint32(31)
        values = (values << np.uint32(1)) ^ (top * np.uint32(POLYNOMIAL))
    return values


_STEP = _table()


def checksums(pages: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the last word of each page.

    Parameters
    ----------
    pages : array of uint32, shape (pages, 63)
        Its words; with all 64, the result is 0 where the last one is right.
    """
    data = np.ascontiguousarray(pages).astype("<u4").view(np.uint8).reshape(len(pages), -1)
    found = np.full(len(pages), 0xFFFF_FFFF, np.uint32)
    for column in data.T:
        found = (found << np.uint32(8)) ^ _STEP[(found >> np.uint32(24)) ^ column]
    return found.byteswap()


def paged(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return words as they lie in pages; the last page is filled up with zeros."""
    pages = np.zeros((-(-len(words) // DATA_WORDS), DATA_WORDS), np.uint32)
    pages.reshape(-1)[: len(words)] = words
    return np.column_stack([pages, checksums(pages)]).reshape(-1)


def unpaged(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the words of whole pages without their checksums."""
    return np.ascontiguousarray(words.reshape(-1, PAGE_WORDS)[:, :DATA_WORDS]).reshape(-1)


def paged_place(place: int) -> int:
    """Return where the word lies that is the one of this number without checksums."""
    page, word = divmod(place, DATA_WORDS)
    return page * PAGE_WORDS + word
