"""Makes codes of the bits between the layers of a random network, larger weights of its signs, and sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from ..folding.fold import ALWAYS, NEVER
from ..model.layers import Conv2d, Layer, Weighted, has_weights
from ..model.network import Network
from .random_graphs import added

__all__ = ["coded"]

_MAGNITUDES = ((1,), (0, 1), (0, 1, 2), (1, 3), (0, 1, 2, 3))

_ADDED = 0.8
"""Share of networks that add codes where they can."""


def coded(rng: np.random.Generator, network: Network, code_bits: int, weighted: bool = False) -> Network:
    """Return a network whose layers, or some of them, give codes of at most `code_bits` bits.

    All of them have as many thresholds, so that they may be put together, or be added. Of a network that
    would not be legal then, itself.

    Parameters
    ----------
    rng : Generator
    network : Network
        Of weights and hidden values of one bit.
    code_bits : int
        At least 2.
    weighted : bool
        Weights may have several bits.
    """
    steps = int(rng.integers(2, 1 << code_bits))
    share = rng.choice([0.5, 1.0])
    # Magnitudes of weights that a layer may have.
    drawn = _MAGNITUDES[int(rng.integers(len(_MAGNITUDES)))] if weighted else (1,)
    tops = [network.input.maximum]
    layers: list[Layer] = []
    for index, (layer, reads) in enumerate(zip(network.layers, network.reads, strict=True)):
        top = max(tops[number] for number in reads)
        if has_weights(layer):
            many = layer.thresholds is not None and rng.random() < share
            if len(drawn) > 1 and rng.random() < share:
                layer = layer.with_arrays(weights=layer.weights * rng.choice(drawn, layer.weights.shape))
            layer = _coded(rng, layer, top, steps if many else layer.steps, image=reads == (0,))
            top = layer.steps
        layers.append(layer)
        tops.append(top)
        assert len(tops) == index + 2
    try:
        network = replace(network, layers=layers, reads=network.reads)
        return added(rng, network) if rng.random() < _ADDED else network
    except NetworkError:
        return network


def _coded(rng: np.random.Generator, layer: Weighted, top: int, steps: int, *, image: bool) -> Weighted:
    """Return a layer with so many thresholds, for values of at most `top`; padding is one of these."""
    limits = layer.thresholds
    if limits is not None and (steps > 1 or (top > 1 and not image) or layer.weight_width > 1):
        limits = _rising(rng, layer, limits, top, steps)
    if isinstance(layer, Conv2d) and top > 1 and not image:
        pad = int(rng.integers(0, top + 1))
        return Conv2d(
            layer.weights,
            limits,
            stride=layer.stride,
            padding=layer.padding,
            pad_value=pad,
            name=layer.name,
        )
    return layer.with_arrays(thresholds=limits)


def _rising(
    rng: np.random.Generator, layer: Weighted, limits: NDArray[np.int64], top: int, steps: int
) -> NDArray[np.int64]:
    """Return thresholds near the middle of what sums are; channels that are constant stay so."""
    rows = layer.weights.reshape(layer.outputs, -1)
    middle = top * rows.sum(axis=1, dtype=np.int64) // 2 if top > 1 else np.zeros(layer.outputs, np.int64)
    spread = max(2, int(rows.shape[1] ** 0.5 * top * np.abs(rows).max()))
    found = middle[:, np.newaxis] + rng.integers(-spread, spread + 1, (layer.outputs, steps))
    constant = (limits == ALWAYS) | (limits == NEVER)
    found[constant] = limits[constant, np.newaxis]
    found = np.sort(found, axis=1)
    return found if steps > 1 else found[:, 0]
