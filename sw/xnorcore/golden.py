"""The living definition: plain integer arithmetic over -1 and +1, slow and obvious.

Every faster engine, in software or gateware, is tested for equality with this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .network import Dense, Network, prepare

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
        Anything that `xnorcore.network.prepare` accepts.
    progress : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    array, shape (n, outputs)
        int64 scores, or uint8 bits for a network whose last layer has thresholds.

    Raises
    ------
    InputError
        If the images do not fit the network.
    """
    return layers(network, images, progress=progress)[-1]


def layers(
    network: Network, images: ArrayLike, *, progress: Callable[[int, int], None] | None = None
) -> list[NDArray[Any]]:
    """Compute every layer's outputs: like `run`, one array of shape (n, outputs) for each layer."""
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
    signal = _signs(values) if network.input.bits == 1 else values.astype(np.int64)
    for layer in network.layers:
        results.append(_dense(layer, signal))
        signal = _signs(results[-1])
    return results


def _signs(bits: NDArray[Any]) -> NDArray[np.int64]:
    return 2 * bits.astype(np.int64) - 1


def _dense(layer: Dense, x: NDArray[np.int64]) -> NDArray[Any]:
    sums = x @ layer.weights.astype(np.int64).T
    if layer.thresholds is None:
        return sums
    return (sums >= layer.thresholds).astype(np.uint8)
