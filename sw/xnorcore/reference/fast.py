"""Bit-packed model: XOR and popcount on 64-bit words, equal to `xnorcore.reference.golden` in every bit.

Codes and weights of several bits are multiplied as they are (`xnorcore.reference.levels`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model.graph import Value
from ..model.layers import Add, Concat, Conv2d, Dense, GlobalSum, MaxPool2d, Weighted, has_weights, is_dense
from ..model.network import Network, Shape, prepare
from . import golden
from .compiled import CompiledChain
from .levels import MatrixLayer, codes_of, pool_codes
from .packed import PackedLayer, join_maps, map_shape, pack_maps, pool_maps, unpack_maps

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
        int64 scores, or uint8 bits or codes for a network whose last layer has thresholds.

    Raises
    ------
    InputError
        If the images do not fit the network.
    """
    if _scaled(network):
        return golden.run(network, images, progress=progress)
    values = prepare(network, images)
    dtype = np.int64 if network.values[-1].result == "sums" else np.uint8
    result = np.empty((len(values), network.outputs), dtype)
    model = _packed(network)
    if model.chain is not None and len(values) < CompiledChain.IMAGES:
        found = model.chain.sums(values)
        if progress and len(values):
            progress(len(values), len(values))
        return found
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
    model = _packed(network)
    blocks: list[list[NDArray[Any]]] = []
    for start in range(0, max(len(values), 1), model.images):
        blocks.append(list(model.compute(values[start : start + model.images], every=True)))
        if progress and len(values):
            progress(min(start + model.images, len(values)), len(values))
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


_PACKED: dict[int, _Model] = {}
"""By the identity of networks that live: packing takes longer than a few images."""


def _packed(network: Network) -> _Model:
    model = _PACKED.get(id(network))
    if model is None:
        model = _PACKED[id(network)] = _Model(network)
        weakref.finalize(network, _PACKED.pop, id(network), None)
    return model


def _scaled(network: Network) -> bool:
    """Whether the network needs magnitudes, which bits do not have: `golden` then computes all of it."""
    return any(value.coding == "scaled" for value in network.values)


@dataclass
class _Step:
    """A layer, ready for images.

    Attributes
    ----------
    layer : Layer
    weights : PackedLayer, MatrixLayer or None
        Packed where the weights are bits, and it reads bits or the image.
    shape : tuple of int
        Of the result.
    codings : tuple of str
        Of the values that it reads.
    result : str
        `Value.result` of what it gives.
    channels : tuple of int
        Of the values that it reads.
    """

    layer: Any
    weights: PackedLayer | MatrixLayer | None
    shape: Shape
    codings: tuple[str, ...]
    result: str
    channels: tuple[int, ...]


class _Model:
    """A network with its weights packed, made once for all images.

    Attributes
    ----------
    images : int
        Images of a block.
    """

    def __init__(self, network: Network) -> None:
        # The network itself is not kept: it would live for ever.
        spec, self.reads = network.input, network.reads
        self.bits = spec.bits
        self.last = {number: readers[-1] for number, readers in enumerate(network.readers) if readers}
        # Dense layers need no map: as a vector, their image fills the words.
        flat = all(is_dense(network.layers[reader]) for reader in network.readers[0])
        self.shape = (spec.size,) if flat else spec.shape
        self.steps: list[_Step] = []
        windows = 1
        for index, layer in enumerate(network.layers):
            weights, reads = None, network.inputs(index)
            shapes = [
                self.shape if number == 0 else network.shapes[number] for number in network.reads[index]
            ]
            if has_weights(layer):
                weights = self._ready(layer, reads[0], shapes[0], image=network.reads[index] == (0,))
                windows = max(windows, weights.window_bytes)
            value = network.values[index + 1]
            codings, channels = tuple(one.coding for one in reads), tuple(shape[-1] for shape in shapes)
            self.steps.append(_Step(layer, weights, value.shape, codings, value.result, channels))
        self.chain = self._chain()
        self.images = max(1, min(IMAGES, BITS // (spec.size * spec.bits), WINDOWS // windows))

    def _ready(self, layer: Weighted, read: Value, shape: Shape, image: bool) -> PackedLayer | MatrixLayer:
        """A layer with weights, packed where bits are multiplied: the image is packed as planes."""
        padded = read.coding == "unsigned" and layer.as_conv(map_shape(shape)).pad_value
        if layer.weight_width == 1 and (image or read.coding == "sign") and not padded:
            return PackedLayer(layer, shape, read.bits)
        return MatrixLayer(layer, shape, read.bound)

    def _chain(self) -> CompiledChain | None:
        """The whole network in one call, if it is a chain of dense layers with sums at its end."""
        packed = [step.weights for step in self.steps if isinstance(step.weights, PackedLayer)]
        chained = all(reads == (index,) for index, reads in enumerate(self.reads))
        dense = all(is_dense(step.layer) for step in self.steps) and len(packed) == len(self.steps)
        if not (chained and dense and len(self.shape) == 1 and all(layer.compiled for layer in packed)):
            return None
        hidden = all(layer.limits is not None and layer.limits.shape[1] == 1 for layer in packed[:-1])
        sums = self.steps[-1].result == "sums"
        return CompiledChain(packed, self.bits) if hidden and sums else None

    def compute(self, values: NDArray[np.uint8], *, every: bool) -> Iterator[NDArray[Any]]:
        """Yield the last layer's outputs, or every layer's, for a block of images."""
        signals: dict[int, Any] = {0: pack_maps(values, self.shape, self.bits)}
        for index, step in enumerate(self.steps):
            reads = self.reads[index]
            signal = COMPUTE[type(step.layer)](step, [signals[number] for number in reads])
            for number in set(reads):
                if self.last[number] == index:
                    del signals[number]
            signals[index + 1] = signal
            if every or index == len(self.steps) - 1:
                shown = unpack_maps(signal, step.shape[-1]) if step.result == "bits" else signal
                yield shown.reshape(len(values), prod(step.shape))


def _weighted(step: _Step, inputs: list[Any]) -> Any:
    layer, weights, (signal,) = step.layer, step.weights, inputs
    if isinstance(weights, PackedLayer):
        if step.result == "bits":
            return weights.bits(signal)
        sums = weights.sums(signal)
    else:
        assert weights is not None
        sums = weights.sums(_integers(signal, step.codings[0], step.channels[0]))
    if step.result == "sums":
        return sums
    if step.result == "codes":
        return codes_of(sums, layer.thresholds, step.shape)
    bits = sums.reshape(-1, layer.outputs) >= layer.thresholds
    return pack_maps(bits.reshape(sums.shape).astype(np.uint8), step.shape, 1)


def _integers(signal: Any, coding: str, channels: int) -> Any:
    """A value as integers: signs and images are packed."""
    if signal.dtype != np.uint64:
        return signal
    values = unpack_maps(signal, channels)
    return 2 * values.astype(np.int8) - np.int8(1) if coding == "sign" else values


def _pool(step: _Step, inputs: list[Any]) -> Any:
    return (pool_maps if step.result == "bits" else pool_codes)(step.layer, inputs[0])


def _global_sum(step: _Step, inputs: list[Any]) -> Any:
    maps = inputs[0]
    if step.codings[0] == "unsigned":
        return maps.sum(axis=(1, 2), dtype=np.int64)
    ones = unpack_maps(maps, step.shape[0]).sum(axis=(1, 2), dtype=np.int64)
    return 2 * ones - prod(maps.shape[3:])


def _concat(step: _Step, inputs: list[Any]) -> Any:
    if step.result == "bits":
        return join_maps(inputs, step.channels)
    parts = zip(map(_integers, inputs, step.codings, step.channels), step.channels, strict=True)
    places = step.shape[:-1]
    return np.concatenate([part.reshape(len(part), *places, count) for part, count in parts], axis=-1)


def _add(step: _Step, inputs: list[Any]) -> Any:
    first, *others = map(_integers, inputs, step.codings, step.channels)
    layer: Any = step.layer
    if layer.most is None:  # no sum leaves the 8 bits of a code
        return sum((one.reshape(first.shape) for one in others), first)
    sums = sum((one.reshape(first.shape) for one in others), first.astype(np.int16))
    return np.clip(sums - np.int16(layer.offset), 0, layer.most).astype(np.uint8)


COMPUTE: dict[type, Callable[[_Step, list[Any]], Any]] = {
    Dense: _weighted, Conv2d: _weighted, MaxPool2d: _pool, GlobalSum: _global_sum, Concat: _concat,
    Add: _add,
}  # fmt: skip
"""By kind of layer: what it makes of packed maps, or of sums. An `InputScale` never comes here."""
