"""Random residual networks whose values a device can keep beside its results unit, and add to in place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..folding.fold import ALWAYS, NEVER
from ..isa.device import DeviceConfig
from ..isa.scales import VALUE_BITS
from ..model.layers import Add, Conv2d, Dense, GlobalSum, InputSpec
from ..model.network import Network, Node
from .random_networks import signs

__all__ = ["chain_network", "random_chain"]

_MIDDLE = 1 << VALUE_BITS - 1
_SATURATING = 0.5
"""Share of the networks for devices with codes of 8 bits whose sums saturate."""


def chain_network(
    rng: np.random.Generator,
    widths: tuple[int, ...] = (9, 9, 20, 20),
    *,
    size: tuple[int, int] = (8, 6),
    bits: tuple[int, int] = (3, 2),
    end: str = "signs",
    pad: int = 0,
    image: int = 4,
    classes: int = 4,
    saturates: bool = False,
    projects: int = 0,
    name: str = "residual",
) -> Network:
    """Return a convolution and one for each further width, with a shortcut around it, halved if it is wider.

    Parameters
    ----------
    rng : Generator
    widths : tuple of int
    size : tuple of int
        Of the image, which has 3 channels.
    bits : tuple of int
        Of the first codes, and of those that are added.
    end : str
        Of what a global sum is taken, ``signs`` or ``values``; ``dense``, no sum but signs.
    pad : int
        Around maps.
    image : int
        Bits.
    classes : int
    saturates : bool
        Sums are values of 8 bits, -128 to 127, and become the nearest of these.
    projects : int
        Largest weight of a convolution that halves a map in a shortcut, as networks have them that are
        `saturates`; 0, there is none.
    name : str
    """
    first, added = bits
    most, width = (1 << first) - 1, widths[0]
    threshold = 1 << first - 1
    stem = _conv(rng, width, 3, _even(rng, width, first, 6 << image), "stem")
    layers: list[Any] = [stem]
    value, (height, across) = "stem", size
    for number, outputs in enumerate(widths[1:], 1):
        halved = outputs > width
        layers.append(Node(_sign(width, threshold, f"sign{number}"), value))
        limits = _even(rng, outputs, added, int(2 * (9 * width) ** 0.5))
        conv = _conv(rng, outputs, width, limits, f"conv{number}", 2 if halved else 1, pad)
        layers.append(Node(conv, f"sign{number}"))
        if halved and projects:
            side = 2 - (height | across) % 2
            layers.append(Node(_projection(rng, outputs, width, side, projects, f"half{number}"), value))
            value, height, across = f"half{number}", -(-height // 2), -(-across // 2)
        elif halved:
            layers.append(Node(_half(width, outputs, most, threshold, f"half{number}"), value))
            value, height, across = f"half{number}", -(-height // 2), -(-across // 2)
        # Numbers in the middle are as often above as below.
        offset = (1 << added - 1) - int(rng.integers(0, 2))
        one = Add(f"value{number}")
        threshold, most = threshold + offset, most + (1 << added) - 1
        if saturates:
            one = Add(f"value{number}", threshold - _MIDDLE, 2 * _MIDDLE - 1)
            threshold, most = _MIDDLE, min(most + _MIDDLE - threshold, 2 * _MIDDLE - 1)
        layers.append(Node(one, (f"conv{number}", value)))
        value, width = f"value{number}", outputs
    if end != "values":
        layers.append(Node(_sign(width, threshold, "last"), value))
        value = "last"
    if end == "dense":
        layers.append(Node(Dense(signs(rng, classes, width * height * across), name="end"), value))
    else:
        layers += [Node(GlobalSum("sum"), value), Dense(signs(rng, classes, width), name="end")]
    return Network(name, InputSpec((*size, 3), image), layers)


def random_chain(rng: np.random.Generator, config: DeviceConfig, name: str) -> Network:
    """Return one that may fit a device, with `code_bits` above 1 and convolution of images.

    Parameters
    ----------
    rng : Generator
    config : DeviceConfig
    name : str
    """
    width, widths = int(rng.integers(1, 20)), []
    for _ in range(int(rng.integers(2, 6))):
        widths.append(width)
        width += int(rng.integers(1, 20)) if rng.random() < 0.4 else 0
    first, added = (int(rng.integers(2, min(config.code_bits, most) + 1)) for most in (6, 4))
    ends = ["signs", "dense"] + ["values"] * (config.code_bits == VALUE_BITS)
    saturates = config.code_bits == VALUE_BITS and rng.random() < _SATURATING
    projects = int(rng.choice([0, 1, 7, 15])) if saturates else 0
    return chain_network(
        rng,
        tuple(widths),
        size=(int(rng.integers(3, 10)), int(rng.integers(3, 10))),
        bits=(VALUE_BITS if saturates else first, added),
        end=str(rng.choice(ends)),
        pad=int(rng.integers(-1, 2)),
        image=int(rng.integers(1, 9)),
        saturates=saturates,
        projects=projects,
        name=name,
    )


def _conv(
    rng: np.random.Generator,
    outputs: int,
    inputs: int,
    limits: NDArray[np.int64],
    name: str,
    stride: int = 1,
    pad: int = 0,
) -> Conv2d:
    table = signs(rng, outputs, 3, 3, inputs)
    around = (1, 1, 1, 1)
    return Conv2d(table, limits, stride=(stride, stride), padding=around, pad_value=pad, name=name)


def _projection(
    rng: np.random.Generator, outputs: int, channels: int, side: int, largest: int, name: str
) -> Conv2d:
    """Return a layer that halves a map with weights, and gives values of 8 bits."""
    table = rng.integers(-largest, largest + 1, (outputs, side, side, channels)).astype(np.int8)
    limits = _even(rng, outputs, VALUE_BITS, int(64 * largest * (side * side * channels) ** 0.5))
    middle = _MIDDLE * table.reshape(outputs, -1).sum(axis=1, dtype=np.int64, keepdims=True)
    return Conv2d(table, limits + middle, stride=(2, 2), name=name)


def _even(rng: np.random.Generator, outputs: int, bits: int, reach: int) -> NDArray[np.int64]:
    """Return thresholds in equal steps, the middle one near 0."""
    levels = np.arange((1 << bits) - 1) - (1 << bits - 1) + 1
    steps = rng.integers(max(reach >> bits, 1), (2 * reach >> bits) + 2, (outputs, 1))
    return levels * steps + rng.integers(-reach // 3, reach // 3 + 1, (outputs, 1))


def _sign(channels: int, threshold: int, name: str) -> Conv2d:
    """Return a layer that says what is at least a threshold."""
    table = np.eye(channels).reshape(channels, 1, 1, channels)
    return Conv2d(table, np.full(channels, threshold), name=name)


def _half(channels: int, outputs: int, most: int, new: int, name: str) -> Conv2d:
    """Return a layer that gives half of a map of values up to `most`, and channels that are all `new`."""
    table = np.tile(np.arange(1, most + 1), (outputs, 1))
    table[channels:] = np.where(np.arange(most) < new, ALWAYS, NEVER)
    return Conv2d(np.eye(outputs, channels).reshape(outputs, 1, 1, channels), table, stride=(2, 2), name=name)
