"""The living definition: plain integer arithmetic over -1 and +1 and n-bit values, slow and obvious.

Every faster engine, in software or gateware, is tested for equality with this one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model.layers import Add, Concat, Conv2d, Dense, GlobalSum, InputScale, MaxPool2d
from ..model.network import Network, prepare

BLOCK = 64
"""Images between two calls of a progress callback."""


def run(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> NDArray[Any]:
    """Compute the network's outputs.

    Parameters
    ----------
    network : Network
    images : array
        Anything that `xnorcore.model.network.prepare` accepts.
    progress : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    array, shape (n, outputs)
        int64 scores, or uint8 bits or codes for a network whose last layer has thresholds.

    Raises
    ------
    InputError
        If the images do not fit the network.
    """
    return layers(network, images, progress=progress)[-1]


def layers(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> list[NDArray[Any]]:
    """Compute every layer's outputs: like `run`, one array of shape (n, values) for each layer.

    Maps are flattened, row-major (y, x, channel). Bits and codes are uint8; sums, those of `GlobalSum` too,
    are int64.
    """
    values = prepare(network, images)
    count = len(values)
    blocks: list[list[NDArray[Any]]] = []
    for start in range(0, max(count, 1), BLOCK):
        blocks.append(_block(network, values[start : start + BLOCK]))
        if progress and count:
            progress(min(start + BLOCK, count), count)
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def _block(network: Network, values: NDArray[np.uint8]) -> list[NDArray[Any]]:
    results: list[NDArray[Any]] = []
    image = values.astype(np.int64)
    if network.input.bits == 1:
        image = _signs(image)
    signals = [image.reshape(len(values), *network.input.shape)]
    for index, (layer, reads) in enumerate(zip(network.layers, network.reads, strict=True)):
        scale = network.layers[reads[0] - 1] if network.inputs(index)[0].coding == "scaled" else None
        signal = COMPUTE[type(layer)](layer, [signals[number] for number in reads], scale)
        signals.append(signal)
        flat = signal.reshape(len(values), prod(signal.shape[1:]))
        results.append(_GIVEN[network.values[index + 1].result](flat))
    return results


def _signs(bits: NDArray[Any]) -> NDArray[np.int64]:
    return 2 * bits.astype(np.int64) - 1


def _weighted(layer: Any, inputs: list[NDArray[np.int64]], scale: Any) -> NDArray[np.int64]:
    (signal,), sums = inputs, _SUMS[type(layer)]
    if scale is None:
        result = sums(layer, signal)
    else:
        # XNOR-Net's K: the magnitudes that each output position reads, with weights of +1; padding is 0.
        ones = layer.with_arrays(np.ones((1, *layer.weights.shape[1:]), np.int8), bare=True)
        result = (sums(ones, scale.magnitudes(signal)) >> scale.mean_shift) * sums(layer, _signs(signal >= 0))
    if layer.thresholds is None:
        return result
    if layer.steps == 1:
        return _signs(result >= layer.thresholds)
    return sum((result >= step for step in layer.thresholds.T), np.zeros_like(result))


def _dense(layer: Dense, x: NDArray[np.int64]) -> NDArray[np.int64]:
    return x.reshape(len(x), layer.inputs) @ layer.weights.astype(np.int64).T


def _conv(layer: Conv2d, maps: NDArray[np.int64]) -> NDArray[np.int64]:
    images, height, width, _ = maps.shape
    weights = layer.weights.astype(np.int64)
    top, _, left, _ = layer.padding
    sums = np.zeros((images, *layer.output_shape(maps.shape[1:])), np.int64)
    for y, x, ky, kx in np.ndindex(*sums.shape[1:3], *layer.kernel):
        row, column = y * layer.stride[0] + ky - top, x * layer.stride[1] + kx - left
        if 0 <= row < height and 0 <= column < width:
            sums[:, y, x] += maps[:, row, column] @ weights[:, ky, kx].T
        else:
            sums[:, y, x] += layer.pad_value * weights[:, ky, kx].sum(axis=1)
    return sums


def _pool(layer: MaxPool2d, inputs: list[NDArray[np.int64]], scale: Any) -> NDArray[np.int64]:
    (maps,) = inputs
    _, height, width, _ = maps.shape
    top, _, left, _ = layer.padding
    result = np.full((len(maps), *layer.output_shape(maps.shape[1:])), -1)
    for y, x, wy, wx in np.ndindex(*result.shape[1:3], *layer.window):
        row, column = y * layer.stride[0] + wy - top, x * layer.stride[1] + wx - left
        if 0 <= row < height and 0 <= column < width:
            result[:, y, x] = np.maximum(result[:, y, x], maps[:, row, column])
    return result


def _global_sum(layer: GlobalSum, inputs: list[NDArray[np.int64]], scale: Any) -> NDArray[np.int64]:
    return inputs[0].sum(axis=(1, 2))


def _input_scale(layer: InputScale, inputs: list[NDArray[np.int64]], scale: Any) -> NDArray[np.int64]:
    return layer.values(inputs[0])


def _concat(layer: Concat, inputs: list[NDArray[np.int64]], scale: Any) -> NDArray[np.int64]:
    return np.concatenate(inputs, axis=-1)


def _add(layer: Add, inputs: list[NDArray[np.int64]], scale: Any) -> NDArray[np.int64]:
    sums = sum(inputs[1:], inputs[0])
    return sums if layer.most is None else np.clip(sums - layer.offset, 0, layer.most)


_GIVEN: dict[str, Callable[[NDArray[np.int64]], NDArray[Any]]] = {
    "sums": lambda flat: flat,
    "bits": lambda flat: (flat > 0).astype(np.uint8),
    "codes": lambda flat: flat.astype(np.uint8),
}
"""By `Value.result`: the arrays that `layers` returns."""

_SUMS: dict[type, Callable[..., NDArray[np.int64]]] = {Dense: _dense, Conv2d: _conv}

COMPUTE: dict[type, Callable[..., NDArray[np.int64]]] = {
    Dense: _weighted, Conv2d: _weighted, MaxPool2d: _pool, GlobalSum: _global_sum, InputScale: _input_scale,
    Concat: _concat, Add: _add,
}  # fmt: skip
"""By kind of layer: what it makes of the values that it reads, signs as -1 and +1, each of shape (n, ...)."""
