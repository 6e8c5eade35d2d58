"""Networks with codes between layers, and weights of some bits, for devices that run them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tests.sw.fewbits import limits
from xnorcore.model.layers import has_weights
from xnorcore.model.network import (
    Add,
    Concat,
    Conv2d,
    Dense,
    GlobalSum,
    InputSpec,
    MaxPool2d,
    Network,
    Node,
)
from xnorcore.verify.random_networks import signs

AROUND = (1, 1, 1, 1)


def drawn(rng: np.random.Generator, weight: int, *shape: int) -> Any:
    """Weights up to `weight` in magnitude; where that is odd, all of them are."""
    if weight == 1:
        return signs(rng, *shape)
    found = rng.integers(-weight, weight + 1, shape)
    return found | 1 if weight % 2 else found


def redrawn(network: Network, low: int, high: int) -> Network:
    """Return a network with weights from `low` to `high` instead of its own."""
    rng = np.random.default_rng([high - low, len(network.layers)])
    layers = [
        layer.with_arrays(weights=rng.integers(low, high + 1, layer.weights.shape))
        if has_weights(layer)
        else layer
        for layer in network.layers
    ]
    return replace(network, layers=layers, reads=network.reads)


def dense(steps: int, bits: int, *, ends: int = 0, seed: int = 0, weight: int = 1) -> Network:
    """Dense layers of 23, 37, 21, 9 and 5 values; `steps` thresholds, `ends` of them in the last layer."""
    rng = np.random.default_rng([steps, bits, seed])
    layers = [Dense(drawn(rng, weight, 37, 23), limits(rng, 37, steps, 6 * (2**bits - 1) * weight))]
    for outputs, inputs in ((21, 37), (9, 21)):
        table = drawn(rng, weight, outputs, inputs)
        layers.append(Dense(table, limits(rng, outputs, steps, 4 * steps * weight)))
    layers.append(Dense(drawn(rng, weight, 5, 9), limits(rng, 5, ends, 3 * steps * weight)))
    return Network("dense", InputSpec((23,), bits), layers)


def maps(
    steps: int,
    *,
    pad: int = 0,
    pooled: bool = True,
    end: str = "dense",
    seed: int = 0,
    weight: int = 1,
    image: int = 8,
) -> Network:
    """Convolutions of a picture and of two maps of codes, padded with a code; pooling; and an end."""
    rng = np.random.default_rng([steps, pad % 8, seed])

    def conv(outputs: int, inputs: int, size: int, reach: int, **options: Any) -> Conv2d:
        table = drawn(rng, weight, outputs, size, size, inputs)
        return Conv2d(table, limits(rng, outputs, steps, reach * weight), **options)

    padded = conv(11, 13, 3, 8 * steps, padding=(1, 0, 2, 1), pad_value=pad, name="padded")
    layers: list[Any] = [conv(13, 3, 3, 60), padded]
    if pooled:
        layers.append(MaxPool2d())
    layers.append(conv(9, 11, 2, 6 * steps, padding=AROUND, pad_value=pad))
    shape: tuple[int, ...] = (9, 8, 3)
    for layer in layers:
        shape = layer.output_shape(shape)
    if end == "sum":
        layers += [GlobalSum(), Dense(drawn(rng, weight, 4, 9))]
    elif end == "dense":
        layers.append(Dense(drawn(rng, weight, 7, int(np.prod(shape)))))
    return Network("maps", InputSpec((9, 8, 3), image), layers)


def branches(steps: int) -> Network:
    """Maps of codes beside each other, one of which is pooled, read by two layers, one of bits."""
    rng = np.random.default_rng(steps)
    first = Conv2d(signs(rng, 8, 3, 3, 2), limits(rng, 8, steps, 30), name="first")
    left = Conv2d(signs(rng, 5, 2, 2, 8), limits(rng, 5, steps, 9 * steps), name="left")
    right = Conv2d(signs(rng, 4, 2, 2, 8), limits(rng, 4, steps, 9 * steps), name="right")
    both = Conv2d(
        signs(rng, 6, 2, 2, 9), limits(rng, 6, 1, 9 * steps), name="both", padding=AROUND, pad_value=1
    )
    return Network(
        "branches", InputSpec((8, 7, 2), 3),
        [
            first, Node(left, "first"), Node(MaxPool2d(name="small"), "left"), Node(right, "first"),
            Node(MaxPool2d(name="other"), "right"), Node(Concat("join"), ("other", "small")),
            Node(both, "join"), Node(Dense(signs(rng, 3, 6 * 3 * 3)), "both"),
        ],
    )  # fmt: skip


def residual(steps: int, *, size: tuple[int, int] = (7, 6), end: str = "dense", seed: int = 0) -> Network:
    """Two residual blocks: a sum that is compared again, and one of sums, as they are, of four values."""
    rng = np.random.default_rng([steps, *size, seed])

    def conv(outputs: int, inputs: int, side: int, name: str, reach: int = 8, pad: int = 1) -> Conv2d:
        around = AROUND if side == 3 else (0, 0, 0, 0)
        table = limits(rng, outputs, steps, reach * steps)
        return Conv2d(
            signs(rng, outputs, side, side, inputs), table, padding=around, pad_value=pad, name=name
        )

    same = Conv2d(np.eye(9).reshape(9, 1, 1, 9), np.tile(np.arange(steps) + 2, (9, 1)), name="same")
    layers: list[Any] = [
        conv(9, 2, 3, "stem", 20, 0), conv(9, 9, 3, "left"), Node(Add("once"), ("left", "stem")),
        Node(same, "once"), Node(conv(9, 9, 3, "right", 16, 2), "once"),
        Node(Add("twice"), ("right", "same", "once", "right")), conv(5, 9, 1, "last", 9),
    ]  # fmt: skip
    values = size[0] * size[1]
    layers += [GlobalSum("sum")] if end == "sum" else []
    layers.append(Dense(drawn(rng, 1, 4, 5 if end == "sum" else 5 * values)))
    return Network("residual", InputSpec((*size, 2), 2), layers)


def added(steps: int) -> Network:
    """Dense layers whose codes are added, once more with themselves, and put beside others."""
    rng = np.random.default_rng(steps)

    def dense_(outputs: int, inputs: int, name: str) -> Dense:
        return Dense(signs(rng, outputs, inputs), limits(rng, outputs, steps, 6 * steps), name)

    return Network(
        "added", InputSpec((19,), 1),
        [
            dense_(11, 19, "a"), dense_(11, 11, "b"), Node(Add("ab"), ("a", "b")), dense_(11, 11, "c"),
            Node(Add("abcc"), ("c", "ab", "c")), Node(Concat("join"), ("abcc", "c")), dense_(7, 22, "d"),
            Dense(signs(rng, 3, 7)),
        ],
    )  # fmt: skip


def counted(steps: int, *, maps: bool = True, weight: int = 1) -> Network:
    """Sums in which a value counts three times, and twice, and one of these sums three times."""
    rng = np.random.default_rng([steps, maps, weight])

    def layer(outputs: int, inputs: int, name: str, most: int, pad: int = 0) -> Conv2d | Dense:
        table = limits(rng, outputs, steps, 4 * most * weight)
        if not maps:
            return Dense(drawn(rng, weight, outputs, inputs), table, name)
        taps = drawn(rng, weight, outputs, 3, 3, inputs)
        return Conv2d(taps, table, padding=AROUND, pad_value=pad, name=name)

    layers: list[Any] = [
        layer(9, 3, "a", 9), layer(9, 9, "b", steps), Node(Add("four"), ("b", "a", "b", "b")),
        layer(9, 9, "c", 4 * steps, 4), Node(Add("many"), ("c", "four", "four", "c", "four", "a")),
        layer(5, 9, "d", 15 * steps), Dense(drawn(rng, 1, 4, 5 * 30 if maps else 5)),
    ]  # fmt: skip
    return Network("counted", InputSpec((6, 5, 3) if maps else (3,), 2), layers)


def resnet20(steps: int) -> Network:
    """The shape of CIFAR-10's ResNet-20: weights of one bit, and codes whose sums are compared again."""
    rng = np.random.default_rng(steps)

    def conv(outputs: int, inputs: int, side: int, name: str, stride: int = 1, reach: int = 0) -> Conv2d:
        table = limits(rng, outputs, steps, reach or 2 * steps * int((side * side * inputs) ** 0.5))
        around = AROUND if side == 3 else (0, 0, 0, 0)
        weights = signs(rng, outputs, side, side, inputs)
        return Conv2d(weights, table, stride=(stride, stride), padding=around, name=name)

    layers: list[Any] = [conv(16, 3, 3, "stem", reach=1500)]
    trunk, width = "stem", 16
    for stage, block in np.ndindex(3, 3):
        name, outputs, stride = f"s{stage}b{block}", 16 << stage, 2 if stage and not block else 1
        layers += [
            Node(conv(outputs, width, 3, f"{name}a", stride), trunk), conv(outputs, outputs, 3, f"{name}b")
        ]  # fmt: skip
        if stride == 2:
            layers.append(Node(conv(outputs, width, 1, f"{name}c", 2), trunk))
            trunk = f"{name}c"
        table = np.tile(np.arange(1, 2 * steps + 1, 2), (outputs, 1))
        same = Conv2d(np.eye(outputs).reshape(outputs, 1, 1, outputs), table, name=name)
        layers += [Node(Add(f"{name}+"), (f"{name}b", trunk)), same]
        trunk, width = name, outputs
    layers += [GlobalSum("sum"), Dense(signs(rng, 10, 64), name="end")]
    return Network("resnet20", InputSpec((32, 32, 3), 8), layers)
