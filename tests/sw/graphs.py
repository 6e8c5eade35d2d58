"""Networks that branch and join, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from xnorcore.model.network import Concat, Conv2d, Dense, InputSpec, MaxPool2d, Network, Node


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def dense(outputs: int, inputs: int, name: str, *, seed: int = 0, scores: bool = False) -> Dense:
    random = np.random.default_rng([seed, outputs, inputs])
    limits = None if scores else random.integers(-3, 4, outputs)
    return Dense(random.choice([-1, 1], (outputs, inputs)), limits, name)


def conv(
    outputs: int, inputs: int, name: str = "", kernel: int = 3, *, seed: int = 0, **options: Any
) -> Conv2d:
    random = np.random.default_rng([seed, outputs, inputs, kernel])
    weights = random.choice([-1, 1], (outputs, kernel, kernel, inputs))
    half = kernel // 2
    options = {"padding": (half, half, half, half), **options}
    return Conv2d(weights, random.integers(-3, 4, outputs), name=name, **options)


def inception(
    left: int = 8, right: int = 8, image: tuple[int, int, int] = (6, 7, 3), bits: int = 2
) -> Network:
    """A trunk, three branches of which one pools, their concatenation, and two layers behind it."""
    return Network(
        "inception", InputSpec(image, bits),
        [
            conv(9, image[2], "stem"),
            Node(conv(left, 9, "one", 1), "stem"),
            Node(conv(right, 9, "three"), "stem"),
            Node(conv(5, 9, "before"), "stem"),
            MaxPool2d((3, 3), (1, 1), "pool", (1, 1, 1, 1)),
            Node(Concat("join"), ("one", "three", "pool")),
            conv(6, left + right + 5, "mix", pad_value=1),
            dense(4, 6 * image[0] * image[1], "last", scores=True),
        ],
    )  # fmt: skip


def densenet(growth: int = 5, image: tuple[int, int, int] = (5, 4, 2)) -> Network:
    """Every layer reads all before it: values in several concatenations, and concatenations in others."""
    return Network(
        "densenet", InputSpec(image, 1),
        [
            conv(growth, image[2], "a"),
            conv(growth, growth, "b"),
            Node(Concat("ab"), ("a", "b")),
            conv(growth, 2 * growth, "c", pad_value=-1),
            Node(Concat("abc"), ("ab", "c")),
            MaxPool2d((2, 2), (2, 2), "pool"),
            conv(growth, 3 * growth, "d"),
            Node(dense(3, growth * (image[0] // 2) * (image[1] // 2), "end", scores=True), "d"),
        ],
    )  # fmt: skip


def vectors(sizes: tuple[int, int] = (20, 9), image: int = 30, ends: bool = False) -> Network:
    """Two dense branches; `ends`: their concatenation is the result."""
    layers: list[Any] = [
        dense(17, image, "trunk"),
        Node(dense(sizes[0], 17, "left"), "trunk"),
        Node(dense(sizes[1], 17, "right"), "trunk"),
        Node(Concat("join"), ("right", "left", "trunk")),
    ]
    if not ends:
        layers.append(dense(10, sum(sizes) + 17, "last", scores=True))
    return Network("vectors", InputSpec((image,), 1), layers)
