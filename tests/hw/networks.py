"""Random networks and images for gateware tests."""

from __future__ import annotations

import itertools

import numpy as np

from xnorcore.model.network import Dense, InputSpec, Network


def random_network(
    rng: np.random.Generator, sizes: tuple[int, ...], bits: int = 1, scores: bool = True, wild: bool = False
) -> Network:
    """Return a dense network whose thresholds are near the middle, or anywhere if `wild`."""
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        weights = rng.choice([-1, 1], (outputs, inputs)).astype(np.int8)
        last = index == len(sizes) - 2
        thresholds = None
        if not (last and scores):
            top = (1 << bits) - 1 if index == 0 and bits > 1 else 1
            middle = top * weights.sum(axis=1) // 2 if top > 1 else 0
            spread = inputs * top + 2 if wild else max(2, int(inputs**0.5 * top / 2))
            thresholds = middle + rng.integers(-spread, spread + 1, outputs)
            if wild:
                thresholds[::5] = rng.choice([-(2**31), 2**31 - 1])
        layers.append(Dense(weights, thresholds))
    return Network("random", InputSpec((sizes[0],), bits), layers)


def random_images(rng: np.random.Generator, network: Network, count: int) -> np.ndarray:
    """Return images over the whole range of the input."""
    return rng.integers(0, 1 << network.input.bits, (count, *network.input.shape)).astype(np.uint8)
