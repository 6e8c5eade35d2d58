"""Layers of chains in place: what gives codes, compares all channels alike, or halves a map."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..isa.codes import start_words
from ..model.layers import Add, Conv2d, Layer
from ..model.network import Network

__all__ = ["codes_of", "new_channels", "readers_of"]


def readers_of(network: Network, value: int) -> tuple[dict[int, int], list[int], list[int], list[Layer]]:
    """Return who reads a value: its signs, with their threshold; halves of its map; additions; others."""
    signs: dict[int, int] = {}
    halves: list[int] = []
    adds: list[int] = []
    others: list[Layer] = []
    for index in network.readers[value]:
        layer = network.layers[index]
        threshold = _sign(layer)
        if isinstance(layer, Add):
            adds.append(index)
        elif threshold is not None:
            signs[index] = threshold
        elif isinstance(layer, Conv2d) and layer.stride == (2, 2) and layer.steps > 1 and _same(layer):
            halves.append(index)
        else:
            others.append(layer)
    return signs, halves, adds, others


def codes_of(layer: Layer) -> int:
    """Return the thresholds of a convolution that gives codes of a full number of bits; 0, it is none."""
    codes = (
        isinstance(layer, Conv2d) and layer.steps > 1 and layer.steps == start_words(layer.steps.bit_length())
    )
    return layer.steps if isinstance(layer, Conv2d) and codes else 0


def _sign(layer: Layer) -> int | None:
    """Return what a layer compares all channels with, if it does nothing else."""
    if not isinstance(layer, Conv2d) or layer.steps != 1 or layer.thresholds is None:
        return None
    limits = np.unique(layer.thresholds)
    plain = layer.stride == (1, 1) and layer.outputs == layer.weights.shape[3] and _same(layer)
    return int(limits[0]) if plain and len(limits) == 1 else None


def _same(layer: Conv2d) -> bool:
    """Whether a layer's first outputs count its channels, and its others nothing."""
    count = layer.weights.shape[3]
    if layer.kernel != (1, 1) or any(layer.padding) or layer.outputs < count:
        return False
    return bool((layer.weights.reshape(layer.outputs, count) == np.eye(layer.outputs, count)).all())


def new_channels(layer: Layer, most: int) -> int | str | None:
    """Return what the new channels of a layer are that halves a map; ``none``; None, it is not just that."""
    assert isinstance(layer, Conv2d) and layer.thresholds is not None
    count, limits = layer.weights.shape[3], layer.thresholds
    if layer.steps < most or (limits[:count] != np.arange(1, layer.steps + 1)).any():
        return None
    new: NDArray[np.int64] = np.unique((limits[count:] <= 0).sum(axis=1))
    if len(new) == 1:
        return int(new[0])
    return None if len(new) else "none"
