"""Random legal networks of every kind of layer and every convention, and images for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from ..folding.complement import absorb_complements, fold_pooled_batchnorm
from ..folding.fold import ALWAYS, NEVER
from ..model.layers import Conv2d, Dense, GlobalSum, InputSpec, Layer, MaxPool2d
from ..model.network import Network
from ..model.values import Shape
from .random_graphs import branched

__all__ = ["Bounds", "dense_network", "random_images", "random_network", "signs", "thresholds"]

CHANNELS = (1, 2, 3, 4, 5, 7, 8, 11, 16, 17, 22, 32, 33, 64, 70)
"""Channels to choose from: below, at and above the words and tiles of small arrays."""
BRANCHED = 0.4
"""Share of networks that are no chains."""
ENDINGS = ("bits", "scores", "dense", "dense bits", "sum", "sum bits")
"""How a network of maps ends; each is equally likely."""


@dataclass(frozen=True)
class Bounds:
    """Largest sizes of a random network.

    Attributes
    ----------
    side : int
        Rows and columns of an image.
    channels : int
        Of a convolution.
    convs, dense : int
        Layers of each kind.
    values : int
        Of a dense layer's input or output.
    maps : bool
        Whether there may be convolutions at all.
    """

    side: int = 11
    channels: int = 33
    convs: int = 3
    dense: int = 4
    values: int = 160
    maps: bool = True


def signs(rng: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """Return random weights, -1 and +1."""
    return rng.choice(np.array([-1, 1], np.int8), shape)


def thresholds(
    rng: np.random.Generator, weights: NDArray[np.int8], top: int = 1, *, reach: int = 0, wild: float = 0.1
) -> NDArray[np.int64]:
    """Return thresholds that are near the middle of each channel's sums.

    Parameters
    ----------
    rng : Generator
    weights : array of -1 and +1, shape (outputs, ...)
    top : int
        Largest input value: 1 for signs.
    reach : int, optional
        Largest magnitude of a sum; default: taps times `top`.
    wild : float
        Share of channels at the ends of what the sums reach, beyond them, or at the ends of the legal range.
    """
    rows = weights.reshape(len(weights), -1)
    middle = top * rows.sum(axis=1, dtype=np.int64) // 2 if top > 1 else 0
    taps = rows.shape[1]
    ends = reach or taps * top
    spread = max(2, int(taps**0.5 * ends / taps / 2))
    result = middle + rng.integers(-spread, spread + 1, len(rows))
    odd = rng.random(len(rows)) < wild
    result[odd] = rng.choice([ALWAYS, NEVER, ends, -ends, ends + 1, -ends - 1], int(odd.sum()))
    return result


def dense_network(
    rng: np.random.Generator,
    sizes: Sequence[int],
    bits: int = 1,
    *,
    scores: bool = True,
    wild: float = 0.0,
) -> Network:
    """Return a network of dense layers.

    Parameters
    ----------
    rng : Generator
    sizes : sequence of int
        Values of the image and of every layer.
    bits : int
        Of an input value.
    scores : bool
        Whether the last layer has no thresholds.
    wild : float
        As for `thresholds`.
    """
    layers = []
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        weights = signs(rng, outputs, inputs)
        top = (1 << bits) - 1 if index == 0 else 1
        last = scores and index == len(sizes) - 2
        layers.append(Dense(weights, None if last else thresholds(rng, weights, top, wild=wild)))
    return Network("random", InputSpec((sizes[0],), bits), layers)


def random_images(rng: np.random.Generator, network: Network, count: int) -> NDArray[np.uint8]:
    """Return images over the whole range of the input, shape (count, *input shape).

    Of several, the last one is nearly dark, and of more the one before nearly white: sums of layers are
    as far from their middle as such weights let them be.
    """
    shape, most = network.input.shape, (1 << network.input.bits) - 1
    images = rng.integers(0, most + 1, (count, *shape), dtype=np.uint8)
    for image, value in zip(images[:0:-1], (0, most), strict=False):
        image[rng.random(shape) < 0.9] = value
    return images


def random_network(rng: np.random.Generator, bounds: Bounds | None = None, name: str = "random") -> Network:
    """Return a legal network: any input, any layers, any of the conventions of docs/numerics.md.

    Input scales are left out: they are for the reference model alone.
    """
    bounds = bounds or Bounds()
    bits = int(rng.choice([1, int(rng.integers(2, 9))], p=[0.4, 0.6]))
    if bounds.maps and rng.random() < 0.75:
        draw = _Maps(rng, bounds, bits)
        shape, layers = draw.image, draw.layers()
    else:
        sizes = [_up_to(rng, bounds.values) for _ in range(int(rng.integers(2, bounds.dense + 2)))]
        chain = dense_network(rng, sizes, bits, scores=bool(rng.random() < 0.6), wild=0.1)
        layers = list(chain.layers)
        # A dense layer flattens an image that has rows and columns.
        shape = _factors(rng, sizes[0]) if rng.random() < 0.3 else (sizes[0],)
    bare = Network(name, InputSpec(shape, bits), layers)
    outputs = bare.outputs
    scale = offset = None
    if bare.output_kind == "scores" and rng.random() < 0.3:
        scale, offset = rng.normal(size=outputs), rng.normal(size=outputs)
    classes = int(rng.integers(1, outputs + 1)) if rng.random() < 0.3 else None
    network = Network(name, InputSpec(shape, bits), layers, classes, scale, offset)
    return branched(rng, network) if rng.random() < BRANCHED else network


def _up_to(rng: np.random.Generator, most: int) -> int:
    """Return 1 to `most`; small sizes are as likely as large ones."""
    return int(np.exp(rng.uniform(0, np.log(most + 0.999))))


def _factors(rng: np.random.Generator, size: int) -> Shape:
    height = int(rng.choice([n for n in range(1, size + 1) if size % n == 0]))
    rest = size // height
    width = int(rng.choice([n for n in range(1, rest + 1) if rest % n == 0]))
    return height, width, rest // width


class _Maps:
    """Draws the layers of a network that begins with a convolution."""

    def __init__(self, rng: np.random.Generator, bounds: Bounds, bits: int) -> None:
        self.rng, self.bounds, self.bits = rng, bounds, bits
        self.image = (*(int(n) for n in rng.integers(1, bounds.side + 1, 2)), self._channels(8))
        self.chain: list[Layer] = []
        self.masks: dict[int, NDArray[np.bool_]] = {}
        self.shape = self.image

    def layers(self) -> list[Layer]:
        """Return the layers."""
        for _ in range(int(self.rng.integers(1, self.bounds.convs + 1))):
            self._conv()
        ending = str(self.rng.choice(ENDINGS))
        if ending == "scores":
            self._conv(scores=True)
        elif ending != "bits":
            self._dense(summed=ending.startswith("sum"), bits=ending.endswith("bits"))
        try:
            return list(absorb_complements(self.chain, self.masks))
        except NetworkError:
            # No layer can absorb the complement: what is emitted is a legal network all the same.
            return self.chain

    def _channels(self, most: int) -> int:
        return int(self.rng.choice([n for n in CHANNELS if n <= most]))

    def _conv(self, scores: bool = False) -> None:
        rng, (height, width, inputs) = self.rng, self.shape
        bits = self.bits if not self.chain else 1
        padded = rng.random() < 0.5
        sides = [int(rng.integers(1, min(7, side + 2 * padded) + 1)) for side in (height, width)]
        pads = [
            int(rng.integers(0, side)) if padded else 0 for side in (sides[0], sides[0], sides[1], sides[1])
        ]
        # A kernel that is larger than the map needs padding to fit.
        pads[1] = max(pads[1], sides[0] - height - pads[0])
        pads[3] = max(pads[3], sides[1] - width - pads[2])
        if pads[1] >= sides[0] or pads[3] >= sides[1]:
            sides, pads = [1, 1], [0, 0, 0, 0]
        weights = signs(rng, self._channels(12 if scores else self.bounds.channels), *sides, inputs)
        top = (1 << bits) - 1
        taps = prod(weights.shape[1:])
        limits: NDArray[np.int64] | None = None if scores else thresholds(rng, weights, top)
        pooled = not scores and rng.random() < 0.45
        mask: NDArray[np.bool_] | None = None
        if pooled and rng.random() < 0.4:
            weights, limits, mask = self._batchnorm(weights, top * taps)
        layer = Conv2d(
            weights,
            limits,
            stride=self._pair(1, 4) if rng.random() < 0.4 else (1, 1),
            padding=(pads[0], pads[1], pads[2], pads[3]),
            pad_value=int(rng.integers(-1, 2)) if bits == 1 else 0,
            name=f"conv{len(self.chain)}" if rng.random() < 0.8 else "",
        )
        if mask is not None:
            self.masks[len(self.chain)] = mask
        self._add(layer)
        if pooled:
            self._pool()

    def _pool(self) -> None:
        """Pool as most networks do, or, for some, with any window, stride and padding."""
        rng, (height, width, _) = self.rng, self.shape
        if rng.random() < 0.6:
            if min(height, width) >= 2:
                most = min(height, width, 3)
                self._add(MaxPool2d(self._pair(2, most), self._pair(2, 3) if rng.random() < 0.6 else None))
            return
        window = self._pair(1, 7)
        pads = [int(rng.integers(0, side)) for side in (window[0], window[0], window[1], window[1])]
        # A window that is larger than the map needs padding to fit.
        window = min(window[0], height + pads[0] + pads[1]), min(window[1], width + pads[2] + pads[3])
        top, bottom, left, right = (min(pad, window[axis // 2] - 1) for axis, pad in enumerate(pads))
        pool = MaxPool2d(window, self._pair(1, 7), padding=(top, bottom, left, right))
        if min(pool.output_shape(self.shape)) > 0:
            self._add(pool)

    def _batchnorm(
        self, weights: NDArray[np.int8], reach: int
    ) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.bool_]]:
        """Fold a batch norm with gamma of either sign, behind the pooling."""
        rng, count = self.rng, len(weights)
        return fold_pooled_batchnorm(
            weights,
            gamma=rng.choice([-1.5, -0.25, 0.0, 0.5, 2.0], count, p=[0.25, 0.25, 0.1, 0.2, 0.2]),
            beta=rng.normal(size=count),
            mean=rng.normal(size=count) * reach / 8,
            var=rng.random(count) * reach + 0.1,
            eps=1e-5,
            sign_zero=int(rng.choice([-1, 1])),
        )

    def _dense(self, summed: bool, bits: bool) -> None:
        rng = self.rng
        positions = self.shape[0] * self.shape[1]
        if summed:
            self._add(GlobalSum())
        inputs, reach = (self.shape[0], positions) if summed else (prod(self.shape), 1)
        while not summed and rng.random() < 0.4:
            weights = signs(rng, _up_to(rng, self.bounds.values), inputs)
            self._add(Dense(weights, thresholds(rng, weights)))
            inputs = len(weights)
        weights = signs(rng, int(rng.integers(1, 13)), inputs)
        limits = thresholds(rng, weights, reach=inputs * reach) if bits else None
        self._add(Dense(weights, limits, "last"))

    def _add(self, layer: Layer) -> None:
        self.chain.append(layer)
        self.shape = layer.output_shape(self.shape)

    def _pair(self, low: int, high: int) -> tuple[int, int]:
        first, second = self.rng.integers(low, high + 1, 2)
        return int(first), int(second)
