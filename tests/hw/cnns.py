"""Random convolutional networks."""

from __future__ import annotations

import random

import numpy as np

from xnorcore.model.layers import Conv2d, Dense, GlobalSum, InputSpec, MaxPool2d
from xnorcore.model.network import Network


def _weights(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1, 1], shape).astype(np.int8)


def _thresholds(rng: np.random.Generator, weights: np.ndarray, top: int) -> np.ndarray:
    flat = weights.reshape(len(weights), -1)
    middle = top * flat.sum(axis=1) // 2 if top > 1 else 0
    spread = int(flat.shape[1] ** 0.5 * top / 2) + 1
    return middle + rng.integers(-spread, spread + 1, len(weights))


def random_cnn(seed: int, *, channels: int = 20, size: int = 11, layers: int = 3) -> Network:
    """Return a legal network of one to `layers` convolutions with everything around them at random."""
    pick, rng = random.Random(seed), np.random.default_rng(seed)
    bits = pick.choice([1, 1, 2, 4, 8])
    shape = (pick.randint(4, size), pick.randint(4, size), pick.choice([1, 2, 3, 5]))
    spec = InputSpec(shape, bits)
    chain: list = []
    for index in range(pick.randint(1, layers)):
        height, width, inputs = shape
        kernel = (pick.randint(1, min(4, height)), pick.randint(1, min(4, width)))
        padding = (0, 0, 0, 0)
        if pick.random() < 0.4:
            top, bottom, left, right = (
                pick.randint(0, side - 1) for side in (*kernel[:1] * 2, *kernel[1:] * 2)
            )
            padding = (top, bottom, left, right)
        pad_value = pick.choice([0, -1, 1]) if bits == 1 or index else 0
        outputs = pick.randint(1, channels)
        weights = _weights(rng, outputs, *kernel, inputs)
        top = (1 << bits) - 1 if index == 0 else 1
        layer = Conv2d(
            weights,
            _thresholds(rng, weights, top),
            stride=(pick.choice([1, 1, 2, 3]), pick.choice([1, 1, 2, 4])),
            padding=padding,
            pad_value=pad_value,
        )
        chain.append(layer)
        shape = layer.output_shape(shape)
        if pick.random() < 0.3:
            window = (pick.randint(1, 7), pick.randint(1, 7))
            pads = (
                pick.randint(0, window[0] - 1), pick.randint(0, window[0] - 1),
                pick.randint(0, window[1] - 1), pick.randint(0, window[1] - 1),
            )  # fmt: skip
            pool = MaxPool2d(window, (pick.randint(1, 7), pick.randint(1, 7)), padding=pads)
            if min(pool.output_shape(shape)) > 0:
                chain.append(pool)
                shape = pool.output_shape(shape)
        elif min(shape[:2]) >= 3 and pick.random() < 0.5:
            pool = MaxPool2d((pick.choice([2, 3]), pick.choice([2, 3])), (pick.choice([2, 3]), 2))
            chain.append(pool)
            shape = pool.output_shape(shape)
    ending = pick.choice(["bits", "dense", "dense", "sum", "scores"])
    if ending == "scores":
        weights = _weights(rng, pick.randint(1, 12), 1, 1, shape[2])
        chain.append(Conv2d(weights))
    elif ending != "bits":
        if ending == "sum":
            chain.append(GlobalSum())
            inputs = shape[2]
        else:
            inputs = int(np.prod(shape))
        chain.append(Dense(_weights(rng, pick.randint(2, 12), inputs)))
    return Network(f"cnn{seed}", spec, chain)
