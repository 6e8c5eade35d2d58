"""Convolutional networks whose last layers have most of the weights."""

from __future__ import annotations

import numpy as np

from xnorcore.model.network import Concat, Conv2d, Dense, InputSpec, MaxPool2d, Network, Node
from xnorcore.verify.random_networks import signs

POOL = MaxPool2d((2, 2), (2, 2))


def conv(
    rng: np.random.Generator, outputs: int, inputs: int, size: int = 3, bits: int = 1, **options
) -> Conv2d:
    reach = (2**bits - 1) * size * (inputs**0.5)
    weights = signs(rng, outputs, size, size, inputs)
    middle = (2**bits - 1) * weights.reshape(outputs, -1).sum(axis=1) // 2 if bits > 1 else 0
    return Conv2d(weights, middle + rng.integers(-reach, reach + 1, outputs), **options)


def dense(rng: np.random.Generator, outputs: int, inputs: int, ends: bool = False) -> Dense:
    reach = int(inputs**0.5)
    return Dense(signs(rng, outputs, inputs), None if ends else rng.integers(-reach, reach + 1, outputs))


def cnv(bits: int = 4) -> Network:
    """The shape of FINN's CNV, small: maps of 12, 5 (pooled), 3 and 1 rows, and dense layers."""
    rng = np.random.default_rng(bits)
    layers = [
        conv(rng, 8, 2, bits=bits), conv(rng, 16, 8), POOL, conv(rng, 40, 16), conv(rng, 48, 40),
        dense(rng, 70, 48), dense(rng, 10, 70, ends=True),
    ]  # fmt: skip
    return Network("cnv", InputSpec((14, 14, 2), bits), layers)


def strided() -> Network:
    """Rows that step over two of a map of 7, a kernel of 1 x 1, and scores at each position of a map."""
    rng = np.random.default_rng(2)
    layers = [
        conv(rng, 16, 1), conv(rng, 40, 16, stride=(2, 2)), conv(rng, 50, 40, 1), conv(rng, 30, 50, 2),
        Conv2d(signs(rng, 5, 1, 1, 30)),
    ]  # fmt: skip
    return Network("strided", InputSpec((9, 9, 1), 1), layers)


def joined() -> Network:
    """Bits of two dense layers that end the network side by side: one reads a padded map."""
    rng = np.random.default_rng(3)
    first = conv(rng, 12, 2, padding=(1, 1, 1, 1), pad_value=1)
    layers = [
        first, Node(dense(rng, 10, 12 * 36), 1), Node(dense(rng, 60, 12 * 36), 1), dense(rng, 60, 60),
        Node(dense(rng, 20, 60), 4), Node(Concat("join"), [2, 5]),
    ]  # fmt: skip
    return Network("joined", InputSpec((6, 6, 2), 1), layers)


def twice() -> Network:
    """Two layers that read the image, the second behind one that could go over all images."""
    rng = np.random.default_rng(4)
    layers = [
        conv(rng, 8, 2), dense(rng, 30, 8 * 16), Node(conv(rng, 16, 2), 0), dense(rng, 40, 16 * 16),
        Node(Concat("join"), [2, 4]), dense(rng, 60, 70), dense(rng, 9, 60, ends=True),
    ]  # fmt: skip
    return Network("twice", InputSpec((6, 6, 2), 1), layers)
