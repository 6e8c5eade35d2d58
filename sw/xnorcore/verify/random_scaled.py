"""Random networks with XNOR-Net's K that a device may run."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..isa.device import DeviceConfig
from ..isa.scaling import FACTOR_BITS
from ..model.layers import Conv2d, Dense, InputScale, InputSpec, MaxPool2d
from ..model.network import Network
from ..reference import golden
from .random_networks import random_images, signs

__all__ = ["random_scaled", "scaled_network"]


def scaled_network(
    rng: np.random.Generator,
    widths: tuple[int, ...] = (9, 12, 20),
    *,
    size: tuple[int, ...] = (7, 6, 3),
    bits: int = 4,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    pad: bool = True,
    pool: bool = False,
    image: int = 4,
    classes: int = 4,
    chain: int = 1,
    ends: bool = False,
    name: str = "scaled",
) -> Network:
    """Return blocks of a layer and others with K, and a dense layer.

    Parameters
    ----------
    rng : Generator
    widths : tuple of int
        Channels of a block's layers, and of those of the next ones.
    size : tuple of int
        Shape of the image; of one axis, all layers are dense.
    bits : int
        Of the values that K is the sum of.
    kernel, stride : tuple of int
        Of layers with K.
    pad : bool
        These pad with 0; where maps are smaller than their kernel, they do anyway.
    pool : bool
        They are pooled.
    image : int
        Bits.
    classes : int
    chain : int
        Layers with K of a block, right behind each other: one with thresholds, and those in front of it. 0:
        the dense layer alone has one.
    ends : bool
        The dense layer has a K as well.
    name : str
    """
    layers: list[Any] = []
    shape: tuple[int, ...] = size

    def add(layer: Any) -> None:
        nonlocal shape
        layers.append(layer)
        shape = layer.output_shape(shape)

    reach, largest = (1 << image) - 1 if image > 1 else 1, (1 << bits - 1) - 1
    sizes = [widths[at : at + chain + 1] for at in range(0, len(widths) - chain, chain + 1)]
    for number, block in enumerate(sizes):
        add(_layer(rng, block[0], shape, (3, 3), name=f"sums{len(layers)}"))
        spread = reach * prod(layers[-1].weights.shape[1:]) ** 0.5
        reach, bare = 1, True
        for behind, outputs in enumerate(block[1:], 1):
            taps = shape[-1] * prod(kernel) if len(shape) == 3 else shape[0]
            shift = max((taps * largest).bit_length() - FACTOR_BITS, 0) + int(rng.integers(0, 3))
            add(_scale(rng, shape[-1], spread, bits, shift, f"scale{len(layers)}"))
            # K times a sum is about as large as this.
            limit = int((taps * largest >> shift) * taps**0.5 / 3) + 1
            bare = behind < chain or (ends and number == len(sizes) - 1)
            thresholds = None if bare else rng.integers(-limit, limit + 1, outputs)
            small = len(shape) == 3 and (shape[0] < kernel[0] or shape[1] < kernel[1])
            around = tuple(size // 2 for size in kernel for _ in range(2)) if pad or small else (0, 0, 0, 0)
            options = {"stride": stride, "padding": around, "pad_value": 0}
            add(_layer(rng, outputs, shape, kernel, thresholds, f"times{len(layers)}", options))
            if bare:
                so_far = Network(name, InputSpec(size, image), layers)
                spread = max(float(golden.run(so_far, random_images(rng, so_far, 4)).std()), 1.0)
        if pool and not bare and len(shape) == 3 and min(shape[:2]) > 1:
            add(MaxPool2d((2, 2), (2, 2)))
    if ends:
        shift = int(rng.integers(0, 5))
        add(_scale(rng, shape[-1], spread, bits, shift, f"scale{len(layers)}"))
    add(Dense(signs(rng, classes, prod(shape)), name="end"))
    return Network(name, InputSpec(size, image), layers)


def random_scaled(rng: np.random.Generator, config: DeviceConfig, name: str) -> Network:
    """Return one that may fit a device with `scale_depth`.

    Parameters
    ----------
    rng : Generator
    config : DeviceConfig
    name : str
    """
    maps = config.reads_windows and rng.random() < 0.8
    # K behind K takes 2^bits times the cycles: of few bits, and narrow layers.
    chain = int(rng.integers(0, 4)) if rng.random() < 0.4 else 1
    bits, wide = (min(config.code_bits, 4), 12) if chain > 1 else (config.code_bits, 25)
    blocks = int(rng.integers(1, 3)) if chain == 1 else 1
    sides = int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(1, 5))
    return scaled_network(
        rng,
        tuple(int(one) for one in rng.integers(1, wide, blocks * (chain + 1))),
        size=sides if maps else (int(rng.integers(2, 60)),),
        bits=int(rng.integers(2, bits + 1)),
        kernel=(int(rng.integers(1, 4)), int(rng.integers(1, 4))) if maps else (1, 1),
        stride=(int(rng.integers(1, 3)), int(rng.integers(1, 3))),
        pad=bool(rng.random() < 0.7),
        pool=bool(rng.random() < 0.3),
        image=int(rng.integers(1, 9)),
        chain=chain,
        ends=chain == 0 or bool(rng.random() < 0.3),
        name=name,
    )


def _layer(
    rng: np.random.Generator,
    outputs: int,
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    thresholds: NDArray[np.int64] | None = None,
    name: str = "",
    options: dict[str, Any] | None = None,
) -> Dense | Conv2d:
    """Return a convolution of a map, or a dense layer of a vector."""
    if len(shape) == 1:
        return Dense(signs(rng, outputs, shape[0]), thresholds, name)
    options = {"padding": (1, 1, 1, 1), "pad_value": 0} if options is None else options
    return Conv2d(signs(rng, outputs, *kernel, shape[2]), thresholds, name=name, **options)


def _scale(
    rng: np.random.Generator, channels: int, spread: float, bits: int, mean_shift: int, name: str
) -> InputScale:
    """Return an input scale of sums of such a spread, some of which saturate."""
    shift = int(rng.integers(0, 9)) + max(int(spread).bit_length() - bits - 4, 0)
    factor = (1 << bits - 1) * (1 << shift) / spread
    multiplier = np.rint(rng.uniform(-1, 1, channels) * factor).astype(np.int64)
    offset = np.rint(rng.uniform(-1, 1, channels) * factor * spread / 4).astype(np.int64)
    return InputScale(multiplier, offset, shift, mean_shift, name, bits)
