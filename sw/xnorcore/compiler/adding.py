"""Additions of codes, which take no step: what reads the sums reads all that is added, with weights for each.

w * (a + b) is w * a + w * b. So what is added lies side by side, as for a concatenation, and the weights of a
channel stand once for each value that is added to it, and are as many times as large as that counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..model.layers import Conv2d, Weighted, has_weights
from ..model.network import Network
from .copies import MAX_COPIES

__all__ = ["Sums", "joined_sums", "most_times", "shares", "spread"]


@dataclass(frozen=True, eq=False)
class Sums:
    """A value whose channels are sums of channels that lie side by side in memory.

    Attributes
    ----------
    channels : array of int64
        Which channel each of these belongs to.
    times : array of int64
        How many times it counts there.
    """

    channels: NDArray[np.int64]
    times: NDArray[np.int64]

    @classmethod
    def of(cls, channels: int) -> Sums:
        """Return those of a value that is none: each channel is itself."""
        return cls(np.arange(channels), np.ones(channels, np.int64))

    @property
    def most(self) -> int:
        """Most times that a channel counts."""
        return int(self.times.max())


def joined_sums(parts: list[tuple[Sums, int]], added: bool) -> Sums:
    """Return what a join gives.

    Parameters
    ----------
    parts : list of (Sums, int)
        What is joined, and how many times each counts.
    added : bool
        They are added; otherwise concatenated.
    """
    counts = [0 if added else int(part.channels.max()) + 1 for part, _ in parts]
    firsts = np.cumsum([0, *counts])
    channels = [part.channels + first for (part, _), first in zip(parts, firsts, strict=False)]
    return Sums(np.concatenate(channels), np.concatenate([part.times * times for part, times in parts]))


def most_times(network: Network) -> int:
    """Return how many times a value may count in a sum, so that a device has the signs for every weight."""
    weights = [layer.weights for layer in network.layers if has_weights(layer)]
    largest = max([1, *(max(int(one.max()), -int(one.min())) for one in weights)])
    return max((MAX_COPIES - 1) // largest, 1)


def shares(times: int, most: int) -> list[int]:
    """Return odd numbers, each at most `most`, that add up to `times`.

    Odd weights stay odd with them, and weights that are all odd take the fewest signs (`copies_of`).
    """
    found = []
    while times:
        share = min(times, most)
        found.append(share - (share % 2 == 0))
        times -= found[-1]
    return found


def spread(layer: Weighted, sums: Sums, name: str) -> Weighted:
    """Return a layer as it reads channels side by side that are added.

    Parameters
    ----------
    layer : Dense or Conv2d
    sums : Sums
        What it reads, with weights that stay within 8 bits (`most_times`).
    name : str
        The layer's, in messages.

    Raises
    ------
    CompileError
        If it pads with a sum that is none of equal values.
    """
    channels, count = sums.channels, int(sums.channels.max()) + 1
    taps = layer.weights.reshape(layer.outputs, -1, count)[:, :, channels] * sums.times.astype(np.int8)
    if not isinstance(layer, Conv2d):
        return layer.with_arrays(weights=taps.reshape(layer.outputs, prod(taps.shape[1:])))
    weights, pad = taps.reshape(layer.outputs, *layer.kernel, len(channels)), layer.pad_value
    if pad and any(layer.padding):
        many = np.unique(np.bincount(channels, sums.times)).astype(int).tolist()
        if len(many) > 1 or pad % many[0]:
            raise CompileError(
                f"layer {name!r} pads with {pad}, where it reads sums of {' and of '.join(map(str, many))} "
                "values: a device pads each of these with one code; pad with 0, or with a multiple; `golden` "
                "and `eval` compute it"
            )
        pad //= many[0]
    return Conv2d(
        weights, layer.thresholds, stride=layer.stride, padding=layer.padding, pad_value=pad, name=layer.name
    )
