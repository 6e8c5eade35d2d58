"""Bit-packed model: XOR and popcount on 64-bit words, equal to `xnorcore.reference.golden` in every bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model.network import Dense, GlobalSum, InputScale, MaxPool2d, Network, prepare
from . import golden
from .packed import Maps, PackedLayer, pack_maps, pool_maps, unpack_maps

IMAGES = 4096
"""Most images per block."""
BITS = 64 << 20
"""Most input bits of a block, one byte each before packing: memory stays bounded."""
WINDOWS = 64 << 20
"""Most bytes of packed windows of a block, likewise."""


def run(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> NDArray[Any]:
    """Compute the network's outputs; the same contract as `golden.run`.

    Parameters
    ----------
    network : Network
    images : array
        Anything that `xnorcore.model.network.prepare` accepts.
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
    if _scaled(network):
        return golden.run(network, images, progress=progress)
    values = prepare(network, images)
    dtype = np.int64 if network.output_kind == "scores" else np.uint8
    result = np.empty((len(values), network.outputs), dtype)
    model = _Model(network)
    for start in range(0, len(values), model.images):
        block = slice(start, min(start + model.images, len(values)))
        *_, result[block] = model.compute(values[block], every=False)
        if progress:
            progress(block.stop, len(values))
    return result


def layers(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> list[NDArray[Any]]:
    """Compute every layer's outputs; the same contract as `golden.layers`."""
    if _scaled(network):
        return golden.layers(network, images, progress=progress)
    values = prepare(network, images)
    model = _Model(network)
    blocks: list[list[NDArray[Any]]] = []
    for start in range(0, max(len(values), 1), model.images):
        blocks.append(list(model.compute(values[start : start + model.images], every=True)))
        if progress and len(values):
            progress(min(start + model.images, len(values)), len(values))
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _scaled(network: Network) -> bool:
    """Whether the network needs magnitudes, which bits do not have: `golden` then computes all of it."""
    return any(isinstance(layer, InputScale) for layer in network.layers)


class _Model:
    """A network with its weights packed, made once for all images.

    Attributes
    ----------
    images : int
        Images of a block.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        spec, layers = network.input, network.layers
        # A dense layer needs no map: as a vector, its image fills the words.
        self.shape = (spec.size,) if isinstance(layers[0], Dense) else spec.shape
        shapes = [self.shape, *network.shapes[1:]]
        self.packed: list[PackedLayer | None] = []
        windows = 1
        for index, layer in enumerate(layers):
            step, bits = None, spec.bits if index == 0 else 1
            reads_sums = index > 0 and isinstance(layers[index - 1], GlobalSum)
            if not isinstance(layer, (MaxPool2d, GlobalSum, InputScale)) and not reads_sums:
                step = PackedLayer(layer, shapes[index], bits)
                windows = max(windows, step.window_bytes * bits)
            self.packed.append(step)
        self.images = max(1, min(IMAGES, BITS // (spec.size * spec.bits), WINDOWS // windows))

    def compute(self, values: NDArray[np.uint8], *, every: bool) -> Iterator[NDArray[Any]]:
        """Yield the last layer's outputs, or every layer's, for a block of images."""
        maps: Maps = pack_maps(values, self.shape, self.network.input.bits)
        sums = np.zeros((len(values), 0), np.int64)
        steps = zip(self.network.layers, self.packed, self.network.shapes[1:], strict=True)
        for index, (layer, packed, shape) in enumerate(steps):
            bits = None
            assert not isinstance(layer, InputScale)  # such networks never come here
            if isinstance(layer, MaxPool2d):
                maps = pool_maps(layer, maps)
            elif isinstance(layer, GlobalSum):
                ones = unpack_maps(maps, shape[0]).sum(axis=(1, 2), dtype=np.int64)
                sums = 2 * ones - prod(maps.shape[3:])
            elif packed is None:
                # Integers below 2**53: float64 is exact, and has a fast product.
                sums = (sums.astype(np.float64) @ layer.weights.T.astype(np.float64)).astype(np.int64)
                if layer.thresholds is not None:
                    bits = (sums >= layer.thresholds).astype(np.uint8)
            elif layer.thresholds is None:
                sums = packed.sums(maps)
            else:
                maps = packed.bits(maps)
            if not every and index < len(self.packed) - 1:
                continue
            if layer.result == "sums":
                yield sums
            else:
                bits = unpack_maps(maps, shape[-1]) if bits is None else bits
                yield bits.reshape(len(values), prod(shape))
