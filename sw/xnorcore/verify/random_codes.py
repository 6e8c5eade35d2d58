"""Makes codes of the bits between the layers of a random network, larger weights of its signs, and sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from ..folding.fold import ALWAYS, NEVER
from ..isa.codes import MAX_COMPARED_BITS
from ..isa.device import DeviceConfig
from ..model.layers import Conv2d, Layer, Weighted, has_weights
from ..model.network import Network
from .random_graphs import added

__all__ = ["coded"]

_MAGNITUDES = ((1,), (0, 1), (0, 1, 2), (1, 3), (0, 1, 2, 3))

_EVEN = 0.8
"""Share of networks whose thresholds lie in equal steps, where a device has a results unit."""
_SLOPE_BITS = 8
_ADDED, _AGAIN = 0.8, 0.4
"""Share of networks that add codes where they can."""


def coded(rng: np.random.Generator, network: Network, config: DeviceConfig) -> Network:
    """Return a network whose layers, or some of them, give codes of at most `code_bits` bits.

    All of them have as many thresholds, so that they may be put together, or be added. For a results unit
    these lie in equal steps, in most networks. Of a network that would not be legal then, itself.

    Parameters
    ----------
    rng : Generator
    network : Network
        Of weights and hidden values of one bit.
    config : DeviceConfig
        With `code_bits` of at least 2. Weights may have several bits if it has `convolution`.
    """
    even = config.result_lanes > 0 and rng.random() < _EVEN
    if even:
        steps = (1 << int(rng.integers(2, config.code_bits + 1))) - 1
    else:
        steps = int(rng.integers(2, 1 << min(config.code_bits, MAX_COMPARED_BITS)))
    share = rng.choice([0.5, 1.0])
    # Magnitudes of weights that a layer may have.
    drawn = _MAGNITUDES[int(rng.integers(len(_MAGNITUDES)))] if config.convolution else (1,)
    tops = [network.input.maximum]
    layers: list[Layer] = []
    for index, (layer, reads) in enumerate(zip(network.layers, network.reads, strict=True)):
        top = max(tops[number] for number in reads)
        if has_weights(layer):
            many = layer.thresholds is not None and rng.random() < share
            if len(drawn) > 1 and rng.random() < share:
                layer = layer.with_arrays(weights=layer.weights * rng.choice(drawn, layer.weights.shape))
            layer = _coded(rng, layer, top, steps if many else layer.steps, even, image=reads == (0,))
            top = layer.steps
        layers.append(layer)
        tops.append(top)
        assert len(tops) == index + 2
    try:
        network = replace(network, layers=layers, reads=network.reads)
        for share in (_ADDED, _AGAIN):
            network = added(rng, network) if rng.random() < share else network
        return network
    except NetworkError:
        return network


def _coded(
    rng: np.random.Generator, layer: Weighted, top: int, steps: int, even: bool, *, image: bool
) -> Weighted:
    """Return a layer with so many thresholds, for values of at most `top`; padding is one of these."""
    limits = layer.thresholds
    if limits is not None and (steps > 1 or (top > 1 and not image) or layer.weight_width > 1):
        limits = _rising(rng, layer, limits, top, steps, even and steps > 1)
    if isinstance(layer, Conv2d) and top > 1 and not image:
        pad = int(rng.integers(0, top + 1))
        if top > 7:
            # The bits between the first and the last one are alike.
            pad = pad & (top >> 1) + 1 | pad & 1 | ((top >> 1) - 1) * (pad >> 1 & 1)
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
    rng: np.random.Generator, layer: Weighted, limits: NDArray[np.int64], top: int, steps: int, even: bool
) -> NDArray[np.int64]:
    """Return thresholds near the middle of what sums are, or in `even` steps; constant channels stay so."""
    rows = layer.weights.reshape(layer.outputs, -1)
    middle = top * rows.sum(axis=1, dtype=np.int64) // 2 if top > 1 else np.zeros(layer.outputs, np.int64)
    spread = max(2, int(rows.shape[1] ** 0.5 * top * np.abs(rows).max()))
    if even:
        # A multiplier of few bits: what the compiler makes of the sums may take some more.
        first, whole = rng.integers(-spread, 1, layer.outputs), rng.integers(1, 2 * spread + 2, layer.outputs)
        slope = np.maximum((steps << _SLOPE_BITS) // whole, 1)[:, np.newaxis]
        levels = np.arange(1, steps + 1, dtype=np.int64) << _SLOPE_BITS
        found = (middle + first)[:, np.newaxis] - -levels // slope
    else:
        found = middle[:, np.newaxis] + rng.integers(-spread, spread + 1, (layer.outputs, steps))
    constant = (limits == ALWAYS) | (limits == NEVER)
    found[constant] = limits[constant, np.newaxis]
    found = np.sort(found, axis=1)
    return found if steps > 1 else found[:, 0]
