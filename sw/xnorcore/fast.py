"""Bit-packed model: XOR and popcount on 64-bit words, equal to `xnorcore.golden` in every bit.

A mismatch is a tap where activation and weight differ. With m mismatches in k taps, the sum over -1 and +1 is
k - 2 m; for an n-bit input, with m_b mismatches in plane b and p weights of +1, it is
(2**n - 1) p - sum(2**b m_b). Either way a threshold is a limit on the number of mismatches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .bits import pack_u64, planes, unpack
from .network import Dense, Network, prepare

IMAGES = 4096
"""Most images per block: the temporaries of one neuron block stay in the cache."""
BITS = 64 << 20
"""Most input bits of a block, one byte each before packing: memory stays bounded."""
NEURONS = 64
"""Neurons per block: one packed word of the next layer."""


def run(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> NDArray[Any]:
    """Compute the network's outputs; the same contract as `golden.run`.

    Parameters
    ----------
    network : Network
    images : array
        Anything that `xnorcore.network.prepare` accepts.
    progress : callable, optional
        Called with (images done, images in all) after each block.

    Returns
    -------
    array, shape (n, outputs)
        int64 scores, or uint8 bits for a network whose last layer has thresholds.

    Raises
    ------
    InputError
        If the images do not fit the network.
    """
    values = prepare(network, images)
    dtype = np.int64 if network.output_kind == "scores" else np.uint8
    result = np.empty((len(values), network.outputs), dtype)
    packed = [_Packed(layer, bits) for layer, bits in zip(network.layers, _input_bits(network), strict=True)]
    size = _block_size(network)
    for start in range(0, len(values), size):
        block = slice(start, min(start + size, len(values)))
        *_, result[block] = _block(network, packed, values[block], every=False)
        if progress:
            progress(block.stop, len(values))
    return result


def layers(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> list[NDArray[Any]]:
    """Compute every layer's outputs; the same contract as `golden.layers`."""
    values = prepare(network, images)
    packed = [_Packed(layer, bits) for layer, bits in zip(network.layers, _input_bits(network), strict=True)]
    blocks: list[list[NDArray[Any]]] = []
    size = _block_size(network)
    for start in range(0, max(len(values), 1), size):
        blocks.append(list(_block(network, packed, values[start : start + size], every=True)))
        if progress and len(values):
            progress(min(start + size, len(values)), len(values))
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _block_size(network: Network) -> int:
    return max(1, min(IMAGES, BITS // (network.input.size * network.input.bits)))


def _input_bits(network: Network) -> list[int]:
    return [network.input.bits] + [1] * (len(network.layers) - 1)


class _Packed:
    """A dense layer as packed rows, and sum = base - step * mismatches."""

    def __init__(self, layer: Dense, bits: int) -> None:
        self.outputs = layer.outputs
        self.words = pack_u64(layer.weights > 0)
        if bits == 1:
            self.base = np.full(layer.outputs, layer.inputs, np.int64)
            self.step = 2
        else:
            self.base = ((1 << bits) - 1) * np.count_nonzero(layer.weights > 0, axis=1)
            self.step = 1
        most = layer.inputs * ((1 << bits) - 1)
        self.dtype = np.uint16 if most < 0xFFFF else np.uint32
        self.limits = None
        if layer.thresholds is not None:
            # bit = 1 iff mismatches < limit; clipping makes unreachable thresholds constant.
            limits = (self.base - layer.thresholds) // self.step + 1
            self.limits = np.clip(limits, 0, most + 1).astype(self.dtype)[:, np.newaxis]


def _block(
    network: Network, packed: list[_Packed], values: NDArray[np.uint8], *, every: bool
) -> Iterator[NDArray[Any]]:
    """Yield the last layer's outputs, or every layer's, for a block of images."""
    bits = network.input.bits
    split = planes(values, bits) if bits > 1 else values[np.newaxis]
    # (plane, word, image): one word of all images is contiguous.
    signal = np.ascontiguousarray(pack_u64(split).transpose(0, 2, 1))
    for layer in packed:
        if layer.limits is None:
            yield _scores(layer, signal)
            return
        words = _hidden(layer, signal)
        if every or layer is packed[-1]:
            yield unpack(np.ascontiguousarray(words.T).view(np.uint8), layer.outputs)
        signal = words[np.newaxis]


def _mismatches(layer: _Packed, signal: NDArray[np.uint64]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield (neurons, mismatches of shape (neurons, images)); the array is reused by the next step."""
    images = signal.shape[2]
    size = min(NEURONS, layer.outputs)
    words = np.empty((size, images), np.uint64)
    ones = np.empty((size, images), np.uint8)
    total = np.empty((size, images), layer.dtype)
    for start in range(0, layer.outputs, NEURONS):
        rows = slice(start, min(start + NEURONS, layer.outputs))
        count = rows.stop - rows.start
        word, one, acc = words[:count], ones[:count], total[:count]
        acc[...] = 0
        for plane in signal:
            acc += acc
            for index, activation in enumerate(plane):
                np.bitwise_xor(layer.words[rows, index, np.newaxis], activation, out=word)
                np.bitwise_count(word, out=one)
                np.add(acc, one, out=acc)
        yield rows, acc


def _scores(layer: _Packed, signal: NDArray[np.uint64]) -> NDArray[np.int64]:
    result = np.empty((signal.shape[2], layer.outputs), np.int64)
    for rows, mismatches in _mismatches(layer, signal):
        result[:, rows] = layer.base[rows] - layer.step * mismatches.T.astype(np.int64)
    return result


def _hidden(layer: _Packed, signal: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Packed output bits, shape (words, images)."""
    assert layer.limits is not None
    result = np.empty((-(-layer.outputs // 64), signal.shape[2]), "<u8")
    for rows, mismatches in _mismatches(layer, signal):
        result[rows.start // NEURONS] = pack_u64((mismatches < layer.limits[rows]).T)[:, 0]
    return result
