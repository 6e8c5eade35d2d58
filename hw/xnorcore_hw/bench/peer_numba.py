"""A network in numba: XOR and popcount on packed words of 64 bits, written as its users write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba  # pyright: ignore[reportMissingImports]
import numpy as np
from numpy.typing import NDArray

from xnorcore.model.bits import pack_u64
from xnorcore.model.layers import Conv2d, MaxPool2d, has_weights
from xnorcore.model.network import Network

__all__ = ["packed"]


@numba.njit(inline="always")
def _popcount(x: Any) -> Any:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(inline="always")
def _total(words: Any, weights: Any, i: Any, o: Any) -> Any:
    total = np.uint64(0)
    for p in range(words.shape[0]):
        part = np.uint64(0)
        for k in range(words.shape[2]):
            part += _popcount(words[p, i, k] ^ weights[o, k])
        total = total + total + part
    return total


@numba.njit
def _mismatches(words: Any, weights: Any, out: Any) -> None:
    """Words (planes, n, k) and weights (outputs, k) to mismatches (n, outputs)."""
    for i in range(words.shape[1]):
        for o in range(weights.shape[0]):
            out[i, o] = _total(words, weights, i, o)


@numba.njit
def _bits(words: Any, weights: Any, limits: Any, out: Any) -> None:
    """The same, compared with limits and packed: (n, ceil(outputs / 64))."""
    for i in range(words.shape[1]):
        for o in range(weights.shape[0]):
            if _total(words, weights, i, o) < limits[o]:
                out[i, o // 64] |= np.uint64(1) << np.uint64(o % 64)


def packed(network: Network) -> Callable[[NDArray[np.uint8]], NDArray[Any]]:
    """Return what computes the scores of a chain of dense layers, convolutions without padding, and pools."""
    steps = []
    bits = network.input.bits
    for index, layer in enumerate(network.layers):
        shape = network.shapes[index]
        if isinstance(layer, MaxPool2d):
            steps.append((layer, None, None, None))
            continue
        if not has_weights(layer):
            raise TypeError(f"{type(layer).__name__} is none of the layers that this peer computes")
        plus = layer.weights > 0
        # Each tap, or each position of a map, takes whole words.
        channels = shape[-1]
        words = pack_u64(plus.reshape(layer.outputs, -1, channels)).reshape(layer.outputs, -1)
        if bits > 1:
            step, base = 1, ((1 << bits) - 1) * plus.reshape(len(plus), -1).sum(axis=1)
        else:
            step, base = 2, np.full(len(plus), plus[0].size)
        thresholds = layer.thresholds
        limits = None
        if thresholds is not None:
            limits = np.clip((base - thresholds) // step + 1, 0, 1 << 40).astype(np.uint64)
        steps.append((layer, words, limits, (step, base)))
        bits = 1

    def run(images: NDArray[np.uint8]) -> NDArray[Any]:
        shape, bits = network.input.shape, network.input.bits
        values = images.reshape(len(images), *shape)
        split = np.stack([values >> (bits - 1 - b) & 1 for b in range(bits)])
        maps = pack_u64(split)
        for layer, weights, limits, rest in steps:
            if isinstance(layer, MaxPool2d):
                (tall, wide), (p, n, height, width, k) = layer.window, maps.shape
                cut = maps[:, :, : height // tall * tall, : width // wide * wide]
                parts = cut.reshape(p, n, height // tall, tall, width // wide, wide, k)
                maps = np.bitwise_or.reduce(np.bitwise_or.reduce(parts, axis=5), axis=3)
                continue
            size = None
            if isinstance(layer, Conv2d):
                windows = np.lib.stride_tricks.sliding_window_view(maps, layer.kernel, axis=(2, 3))
                windows = windows.transpose(0, 1, 2, 3, 5, 6, 4)
                size = windows.shape[1:4]
                words = np.ascontiguousarray(windows).reshape(len(maps), -1, weights.shape[1])
            else:
                words = np.ascontiguousarray(maps).reshape(len(maps), len(images), -1)
            if limits is None:
                found = np.zeros((words.shape[1], len(weights)), np.int64)
                _mismatches(words, weights, found)
                step, base = rest
                return base - step * found
            out = np.zeros((words.shape[1], -(-len(weights) // 64)), np.uint64)
            _bits(words, weights, limits, out)
            maps = out.reshape(1, *size, -1) if size else out[np.newaxis]
        raise AssertionError("a network ends in scores")

    return run
