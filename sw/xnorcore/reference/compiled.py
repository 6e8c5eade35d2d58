"""Layers in compiled loops: what `xnorcore.reference.packed` calls where `kernels` finds some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Maps = NDArray[np.uint64]

NEURONS = 64
"""Neurons per block: one packed word of the next layer."""


class CompiledLayer:
    """What compiled loops need of a `PackedLayer`, and the calls.

    Parameters
    ----------
    loops : library
        What `kernels.load` returned.
    layer : PackedLayer
    """

    def __init__(self, loops: Any, layer: Any) -> None:
        self.loops, self.layer = loops, layer
        self.outputs, self.taps = layer.words.shape
        self.stride = -(-self.outputs // NEURONS) * NEURONS
        # Neuron by neuron, and word by word of 64 neurons: for many positions, and for one.
        padded = np.zeros((self.stride, self.taps), np.uint64)
        padded[: self.outputs] = layer.words
        self.across = np.ascontiguousarray(padded.reshape(-1, NEURONS, self.taps).swapaxes(1, 2))
        self.weights = layer.words.ctypes.data, self.across.ctypes.data
        self.positions, self.limits = 1, np.zeros(0, np.uint32)
        if layer.limits is not None:
            self.positions = layer.limits.shape[1]
            self.limits = np.zeros((self.stride, self.positions), np.uint32)
            self.limits[: self.outputs] = layer.limits
        self.limit = self.limits.ctypes.data

    def bits(self, signal: NDArray[np.uint64], result: NDArray[np.uint64]) -> None:
        """Fill the packed output bits, shape (words, lanes)."""
        signal = np.ascontiguousarray(signal)
        planes_, words, lanes = signal.shape
        room = np.empty(planes_ * words * 32, np.uint64)
        self.loops.xk_bits(
            *self.weights, signal.ctypes.data, self.limit, room.ctypes.data, result.ctypes.data,
            planes_, words, lanes, self.outputs, self.positions,
        )  # fmt: skip

    def mismatches(self, signal: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the mismatches, shape (lanes, outputs)."""
        signal = np.ascontiguousarray(signal)
        planes_, words, lanes = signal.shape
        room = np.empty(planes_ * words * 32, np.uint64)
        result = np.empty((lanes, self.stride), np.int64)
        self.loops.xk_sums(
            *self.weights, signal.ctypes.data, room.ctypes.data, result.ctypes.data,
            planes_, words, lanes, self.outputs,
        )  # fmt: skip
        return result[:, : self.outputs]

    def windows(self, maps: Maps, size: tuple[int, int]) -> NDArray[np.uint64]:
        """Return what `PackedLayer._windows` does, of padded maps."""
        maps, layer = np.ascontiguousarray(maps), self.layer
        count, words, images, height, width = maps.shape
        result = np.empty((count, self.taps, images * size[0] * size[1]), np.uint64)
        self.loops.xk_windows(
            maps.ctypes.data, result.ctypes.data, count, words, images, height, width, *layer.kernel,
            *layer.stride, *size, layer.share, layer.channels,
        )  # fmt: skip
        return result


class CompiledChain:
    """Dense layers that follow each other and end in sums: few images at once, in one call.

    Parameters
    ----------
    layers : sequence of PackedLayer
        All compiled; all but the last with thresholds, one for each neuron.
    bits : int
        Of an input value.
    """

    IMAGES = 6
    """From here on images are better computed together."""

    def __init__(self, layers: Sequence[Any], bits: int) -> None:
        compiled = [layer.compiled for layer in layers if layer.compiled is not None]
        self.last, self.run = layers[-1], compiled[0].loops.xk_chain
        rows = [
            (
                each.across.ctypes.data,
                each.limit if each.layer.limits is not None else 0,
                each.taps,
                each.outputs,
                1,
            )
            for each in compiled
        ]
        self.table = np.array(rows, np.uint64)
        self.table[0, 4] = bits
        self.half = int(max(bits * compiled[0].taps, *(each.stride // NEURONS for each in compiled)))
        self.base = layers[-1].base[:, 0]
        self.stride = compiled[-1].stride
        self.compiled = compiled

    def sums(self, values: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the sums of the last layer, shape (n, outputs), of inputs, shape (n, values)."""
        images, size = values.shape
        found = np.empty((images, self.stride), np.int64)
        room = np.empty(2 * self.half, np.uint64)
        self.run(
            self.table.ctypes.data, len(self.table), values.ctypes.data, images, size, room.ctypes.data,
            self.half, found.ctypes.data,
        )  # fmt: skip
        return self.base - self.last.step * found[:, : len(self.base)]
