"""Checksums of a stream in a store on the chip or in SDRAM: behind each length, and behind each tile.

Such a store gives a word a cycle, and no memory keeps it until a checksum has come. So the device adds words
up while they go by (`xnorcore_hw.memory.stream_sum`): the sum so far goes one bit up, reduced by the
polynomial of CRC-32, and the word is XORed onto it. A check word makes it 0, as the next words find it.

A word that is wrong in any way, and nothing else, is seen: a step takes no two sums to the same one. Of words
that are wrong at random one in 2^32 is not. What is never seen is an error that meets itself again as it goes
up, the least of which are two bits: one of a word, and the next higher one of the word behind it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from .pages import POLYNOMIAL

__all__ = ["checked", "stream_sum"]


def _through(tables: NDArray[np.uint32], sums: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return sums so many steps later: tables of what becomes of each of their bytes, shape (4, 256)."""
    found = tables[0][sums & 255]
    for byte in range(1, 4):
        found = found ^ tables[byte][sums >> np.uint32(8 * byte) & 255]
    return found


@cache
def _steps(doublings: int) -> NDArray[np.uint32]:
    """Return the tables of 2^doublings steps."""
    if doublings:
        half = _steps(doublings - 1)
        return _through(half, half)
    values = np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, np.newaxis]
    return (values << np.uint32(1)) ^ (values >> np.uint32(31)) * np.uint32(POLYNOMIAL)


def stream_sum(words: NDArray[np.uint32]) -> int:
    """Return the sum of words, 0 if the last one is their check word.

    Parameters
    ----------
    words : array of uint32, shape (words,)
        One or more.
    """
    # Zeros in front leave the sum 0. Then pairs become one, pairs of these, and so on.
    sums = np.concatenate([np.zeros(-len(words) % (1 << (len(words) - 1).bit_length()), np.uint32), words])
    doublings = 0
    while len(sums) > 1:
        sums = _through(_steps(doublings), sums[0::2]) ^ sums[1::2]
        doublings += 1
    return int(sums[0])


def checked(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return words with their check word behind them."""
    nothing = np.zeros(1, np.uint32)
    return np.concatenate([words, np.array([stream_sum(np.concatenate([words, nothing]))], np.uint32)])
