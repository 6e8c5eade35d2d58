"""Bit order, in one place: bit 1 is +1, bit 0 is -1, the first value is the least significant bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import UsageError
from .network import Network, prepare


def pack(bits: ArrayLike, word_bits: int = 8) -> NDArray[np.uint8]:
    """Pack bits into little-endian words, least significant bit first.

    Parameters
    ----------
    bits : array of bool or 0/1, shape (..., k)
    word_bits : int
        A multiple of 8. Unused bits of the last word are 0.

    Returns
    -------
    array of uint8, shape (..., ceil(k / word_bits) * word_bits / 8)
        Bytes of the words one after the other, least significant byte first.

    Raises
    ------
    UsageError
        If `word_bits` is not a positive multiple of 8.
    """
    if word_bits < 8 or word_bits % 8:
        raise UsageError(f"word_bits is {word_bits}, but must be a positive multiple of 8")
    packed = np.packbits(np.asarray(bits, dtype=np.bool_), axis=-1, bitorder="little")
    spare = -packed.shape[-1] % (word_bits // 8)
    if spare:
        packed = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, spare)])
    return packed


def unpack(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """Undo `pack` for any word size: shape (..., bytes) to (..., count), values 0 and 1."""
    return np.unpackbits(packed, axis=-1, count=count, bitorder="little")


def pack_u64(bits: ArrayLike) -> NDArray[np.uint64]:
    """Pack bits of shape (..., k) into (..., ceil(k / 64)) words; unused bits are 0."""
    return np.ascontiguousarray(pack(bits, 64)).view("<u8")


def pack_weights(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Pack weights of -1 and +1, shape (..., k), into bytes, shape (..., ceil(k / 8))."""
    return pack(weights > 0)


def unpack_weights(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    """Undo `pack_weights`: int8 weights of -1 and +1, shape (..., count)."""
    return unpack(packed, count).view(np.int8) * np.int8(2) - np.int8(1)


def planes(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Split unsigned integers into bit planes, most significant first.

    Returns
    -------
    array of uint8, shape (bits, \\*values.shape)
        ``sum(planes[i] << (bits - 1 - i)) == values``; every element is 0 or 1.
    """
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint8).reshape((bits,) + (1,) * values.ndim)
    return (values[np.newaxis] >> shifts) & np.uint8(1)


def bytes_per_image(network: Network) -> int:
    """Bytes of one image on the wire: ceil(values / 8) for 1-bit inputs, else one per value."""
    return -(-network.input.size // 8) if network.input.bits == 1 else network.input.size


def pack_images(network: Network, images: Any) -> NDArray[np.uint8]:
    """Bring images into the form that the link carries.

    Parameters
    ----------
    network : Network
    images : array
        Anything that `xnorcore.model.network.prepare` accepts.

    Returns
    -------
    array of uint8, shape (n, bytes_per_image(network))
        Row-major (y, x, channel). 1-bit values are packed least significant bit first, unused bits 0;
        n-bit values take one byte each.

    Raises
    ------
    InputError
        If the images do not fit the network.
    """
    values = prepare(network, images)
    return pack(values) if network.input.bits == 1 else values
