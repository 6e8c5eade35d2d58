"""Layers on bit-packed maps: XOR and popcount on 64-bit words; part of `xnorcore.reference.fast`.

Packed maps have the shape (planes, words, images, height, width), uint64. Word i of a position holds its
channels 64 i to 64 i + 63, the first in the least significant bit; unused bits are 0. A vector is a map of
one position.

A mismatch is a tap where activation and weight differ. With m mismatches in k taps, the sum over -1 and +1 is
k - 2 m; for an n-bit input, with m_b mismatches in plane b and p weights of +1, it is
(2**n - 1) p - sum(2**b m_b). Either way a threshold is a limit on the number of mismatches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.bits import pack_u64, planes, unpack
from ..model.layers import MaxPool2d, Weighted
from ..model.values import Shape
from . import kernels
from .compiled import NEURONS, CompiledLayer, Maps

LANES = 4096
"""Most outputs of one neuron at a time: the temporaries of one neuron block stay in the cache."""


def map_shape(shape: Shape) -> tuple[int, int, int]:
    """Give a shape as (height, width, channels); a vector has one position."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (1, 1, shape[0])


def pack_maps(values: NDArray[np.uint8], shape: Shape, bits: int) -> Maps:
    """Pack images, shape (n, values), planes most significant first."""
    loops = kernels.load()
    if loops is not None:
        height, width, channels = map_shape(shape)
        values = np.ascontiguousarray(values)
        result = np.empty((bits, -(-channels // 64), len(values), height, width), np.uint64)
        loops.xk_pack(values.ctypes.data, result.ctypes.data, bits, len(values), height * width, channels)
        return result
    split = planes(values, bits) if bits > 1 else values[np.newaxis]
    split = split.reshape(bits, len(values), *map_shape(shape))
    return np.ascontiguousarray(np.moveaxis(pack_u64(split), 4, 1))


def unpack_maps(maps: Maps, channels: int) -> NDArray[np.uint8]:
    """Undo `pack_maps`: values of shape (n, height, width, channels)."""
    words = np.ascontiguousarray(np.moveaxis(maps, 1, 4))
    first, *others = unpack(words.view(np.uint8), channels)
    for plane in others:
        first = first << 1 | plane
    return first


def pool_maps(layer: MaxPool2d, maps: Maps) -> Maps:
    """Pool packed bits: OR of the words of a window."""
    height, width, _ = layer.output_shape((*maps.shape[3:], 1))
    if any(layer.padding):
        top, bottom, left, right = layer.padding
        maps = np.pad(maps, ((0, 0), (0, 0), (0, 0), (top, bottom), (left, right)))
    result = None
    for y, x in np.ndindex(*layer.window):
        part = _every(maps, y, x, (height, width), layer.stride)
        result = part.copy() if result is None else np.bitwise_or(result, part, out=result)
    assert result is not None
    return result


def join_maps(parts: Sequence[Maps], channels: Sequence[int]) -> Maps:
    """Put the channels of packed bits behind each other; part i has ``channels[i]``."""
    result = np.zeros((1, -(-sum(channels) // 64), *parts[0].shape[2:]), "<u8")
    first = 0
    for part, count in zip(parts, channels, strict=True):
        for word in range(part.shape[1]):
            at, shift = divmod(first + 64 * word, 64)
            result[0, at] |= part[0, word] << np.uint64(shift)
            # What the word holds beyond the end of the one that it begins in.
            if shift and min(count - 64 * word, 64) > 64 - shift:
                result[0, at + 1] |= part[0, word] >> np.uint64(64 - shift)
        first += count
    return result


class PackedLayer:
    """A layer with weights, ready for maps of one shape: sum = base - step * mismatches.

    A `Dense` layer is a convolution whose kernel covers the whole map.

    Parameters
    ----------
    layer : Dense or Conv2d
    shape : tuple of int
        Of its input.
    bits : int
        Of an input value.
    """

    def __init__(self, layer: Weighted, shape: Shape, bits: int) -> None:
        height, width, channels = map_shape(shape)
        layer = layer.as_conv((height, width, channels))
        self.kernel, self.stride, self.padding = layer.kernel, layer.stride, layer.padding
        self.outputs, self.channels, self.planes = layer.outputs, channels, bits
        self.rows, self.columns, _ = layer.output_shape((height, width, channels))
        # Several taps of few channels share a word.
        self.share = max(1, 64 // channels)
        plus = layer.weights > 0
        self.words = self._pack(plus.reshape(self.outputs, -1, channels))
        self.pad_word = np.uint64(0)
        if layer.pad_value > 0:
            self.pad_word = pack_u64(np.ones(channels)).reshape(-1, 1, 1, 1)
        counts = np.count_nonzero(plus, axis=3)
        if bits > 1:
            self.step = 1
            # Padding is the value 0: a tap like any other.
            self.base = ((1 << bits) - 1) * counts.sum(axis=(1, 2))[:, np.newaxis]
        else:
            self.step = 2
            self.base = np.full((self.outputs, 1), layer.taps, np.int64)
            if layer.pad_value == 0 and any(self.padding):
                # Padding is packed as bits 0 and must count for nothing: k is smaller there, and the weights
                # of +1 are mismatches that are not.
                rows, columns = layer.valid((height, width, channels))
                invalid = ~(rows[:, np.newaxis, :, np.newaxis] & columns[np.newaxis, :, np.newaxis, :])
                invalid = invalid.reshape(self.rows * self.columns, -1).astype(np.int64)
                change = 2 * counts.reshape(self.outputs, -1) - channels
                self.base = self.base + change @ invalid.T
        most = layer.taps * ((1 << bits) - 1)
        self.dtype = np.uint16 if most < 0xFFFF else np.uint32
        self.limits = None
        if layer.thresholds is not None and layer.steps == 1:
            # bit = 1 iff mismatches < limit; clipping makes unreachable thresholds constant.
            limits = (self.base - layer.thresholds[:, np.newaxis]) // self.step + 1
            self.limits = np.clip(limits, 0, most + 1).astype(self.dtype)
        loops = kernels.load()
        self.compiled = None if loops is None else CompiledLayer(loops, self)

    @property
    def window_bytes(self) -> int:
        """Bytes of the packed windows of one image."""
        return 8 * self.planes * self.words.shape[1] * self.rows * self.columns

    def bits(self, maps: Maps) -> Maps:
        """Compute the output bits, packed."""
        assert self.limits is not None
        images = maps.shape[2]
        words = -(-self.outputs // 64)
        result = np.empty((words, images * self.rows * self.columns), "<u8")
        if self.compiled is not None:
            self.compiled.bits(self._windows(maps), result)
            return result.reshape(1, words, images, self.rows, self.columns)
        for neurons, lanes, mismatches in self._mismatches(self._windows(maps)):
            limits = self._lanes(self.limits[neurons], images, lanes)
            result[neurons.start // NEURONS, lanes] = pack_u64((mismatches < limits).T)[:, 0]
        return result.reshape(1, words, images, self.rows, self.columns)

    def sums(self, maps: Maps) -> NDArray[np.int64]:
        """Compute the sums, shape (n, height * width * outputs)."""
        images = maps.shape[2]
        if self.compiled is not None:
            mismatches = self.compiled.mismatches(self._windows(maps))
            base = np.tile(self.base.T, (images, 1)) if self.base.shape[1] > 1 else self.base[:, 0]
            sums = base - self.step * mismatches
            return sums.reshape(images, self.rows * self.columns * self.outputs)
        result = np.empty((images * self.rows * self.columns, self.outputs), np.int64)
        for neurons, lanes, mismatches in self._mismatches(self._windows(maps)):
            base = self._lanes(self.base[neurons], images, lanes)
            result[lanes, neurons] = (base - self.step * mismatches.astype(np.int64)).T
        return result.reshape(images, self.rows * self.columns * self.outputs)

    def _pack(self, taps: NDArray[np.bool_]) -> NDArray[np.uint64]:
        """Pack bits of shape (outputs, taps, channels) as `_windows` does."""
        count = taps.shape[1]
        taps = np.pad(taps, [(0, 0), (0, -count % self.share), (0, 0)])
        groups = taps.reshape(self.outputs, -1, self.share * self.channels)
        return np.ascontiguousarray(pack_u64(groups).reshape(self.outputs, -1))

    def _windows(self, maps: Maps) -> NDArray[np.uint64]:
        """Return the words that each output reads, shape (planes, words, images * positions)."""
        count, words, images, height, width = maps.shape
        if self.kernel == (height, width) == (1, 1):
            return maps.reshape(count, words, images)
        if any(self.padding):
            top, bottom, left, right = self.padding
            padded = np.empty((count, words, images, height + top + bottom, width + left + right), "<u8")
            padded[...] = self.pad_word
            padded[:, :, :, top : top + height, left : left + width] = maps
            maps = padded
        size = self.rows, self.columns
        if self.compiled is not None:
            return self.compiled.windows(maps, size)
        result = np.zeros((count, self.words.shape[1], images, *size), "<u8")
        for index, (y, x) in enumerate(np.ndindex(*self.kernel)):
            part = _every(maps, y, x, size, self.stride)
            if self.share > 1:
                shift = np.uint64(index % self.share * self.channels)
                result[:, index // self.share] |= part[:, 0] << shift
            else:
                result[:, index * words : (index + 1) * words] = part
        return result.reshape(count, self.words.shape[1], images * self.rows * self.columns)

    def _lanes(self, values: NDArray[Any], images: int, lanes: slice) -> NDArray[Any]:
        """Values of each neuron, for all positions or for each, as one for each lane."""
        positions = values.shape[1]
        if positions == 1:
            return values
        first, last = lanes.start // positions, -(-lanes.stop // positions)
        if last - first > 1:
            values = np.tile(values, last - first)
        return values[:, lanes.start - first * positions : lanes.stop - first * positions]

    def _mismatches(self, signal: NDArray[np.uint64]) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
        """Yield (neurons, lanes, mismatches of that shape); the array is reused by the next step."""
        count = signal.shape[2]
        size = min(NEURONS, self.outputs), min(LANES, count)
        words = np.empty(size, np.uint64)
        ones = np.empty(size, np.uint8)
        total = np.empty(size, self.dtype)
        for first in range(0, count, LANES):
            lanes = slice(first, min(first + LANES, count))
            for start in range(0, self.outputs, NEURONS):
                neurons = slice(start, min(start + NEURONS, self.outputs))
                box = slice(neurons.stop - start), slice(lanes.stop - first)
                word, one, acc = words[box], ones[box], total[box]
                acc[...] = 0
                for plane in signal:
                    acc += acc
                    for index, activation in enumerate(plane[:, lanes]):
                        np.bitwise_xor(self.words[neurons, index, np.newaxis], activation, out=word)
                        np.bitwise_count(word, out=one)
                        np.add(acc, one, out=acc)
                yield neurons, lanes, acc


def _every(maps: Maps, y: int, x: int, size: tuple[int, int], stride: tuple[int, int]) -> Maps:
    """Positions (y, x), (y, x + stride), ... of the maps, `size` of them; a view."""
    rows = slice(y, y + (size[0] - 1) * stride[0] + 1, stride[0])
    columns = slice(x, x + (size[1] - 1) * stride[1] + 1, stride[1])
    return maps[:, :, :, rows, columns]
