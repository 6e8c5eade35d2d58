"""Convolutions of 1 x 1 with many weights of 0: a tile reads only words of a pixel where it has others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model.layers import Conv2d
from .nest import Region

__all__ = ["Touched", "touched"]


@dataclass(frozen=True)
class Touched:
    """Words of a pixel that every tile reads: `rows` runs of `run`, `apart` words apart, from `first` on.

    Attributes
    ----------
    first, run, rows, apart : int
    step : int
        By which they lie farther back from tile to tile.
    columns, width : int
        Of the array.
    """

    first: int
    run: int
    rows: int
    apart: int
    step: int
    columns: int
    width: int

    def words(self, tile: int) -> NDArray[np.int64]:
        """Return the words that a tile reads."""
        runs = self.first + tile * self.step + self.apart * np.arange(self.rows)
        return (runs[:, np.newaxis] + np.arange(self.run)).reshape(-1)

    def lanes(self, layer: Conv2d, source: Region) -> NDArray[np.int8]:
        """Return the weights that meet these words, shape (outputs, 1, lanes)."""
        columns, every = self.columns, np.zeros((layer.outputs, source.pitch, self.width), np.int8)
        every.reshape(layer.outputs, -1)[:, source.places] = layer.weights.reshape(layer.outputs, -1)
        tiles = range(-(-layer.outputs // columns))
        parts = [every[tile * columns : (tile + 1) * columns, self.words(tile)] for tile in tiles]
        return np.concatenate(parts).reshape(layer.outputs, 1, -1)


def touched(layer: Conv2d, source: Region, columns: int, width: int) -> Touched | None:
    """Return which words of a pixel the tiles of a layer read; None, if that is all, or follows no rule.

    Parameters
    ----------
    layer : Conv2d
    source : Region
    columns, width : int
        Of the array.
    """
    if layer.kernel != (1, 1) or any(layer.padding):
        return None
    some = layer.weights.reshape(layer.outputs, -1) != 0
    word = source.places // width
    used = [np.unique(word[some[at : at + columns].any(axis=0)]) for at in range(0, layer.outputs, columns)]
    first = used[0]
    if not len(first) or len(first) == source.pitch:
        return None
    run = int(np.argmax(np.diff(first, append=first[-1] + 2) != 1)) + 1
    rows, left = divmod(len(first), run)
    apart = int(first[run] - first[0]) if rows > 1 else 0
    step = int(used[1][0] - first[0]) if len(used) > 1 and len(used[1]) else 0
    found = Touched(int(first[0]), run, rows, apart, step, columns, width)
    every = [found.words(tile) for tile in range(len(used))]
    alike = not left and np.array_equal(every[0], first)
    inside = min(words.min() for words in every) >= 0 and max(words.max() for words in every) < source.pitch
    covers = all(np.isin(words, mine).all() for words, mine in zip(used, every, strict=True))
    return found if alike and inside and covers else None
