"""Cuts a network whose weights do not fit the device at once into passes that do.

The activations of a batch stay on the device from pass to pass; weights and start values of each pass
arrive over the link before it runs. A layer may be cut between tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CapacityError
from ..isa.device import DeviceConfig
from .nest import Lowered

__all__ = ["Budget", "Piece", "cut"]


@dataclass(frozen=True)
class Piece:
    """Consecutive tiles of one layer.

    Attributes
    ----------
    index : int
        Number of the layer.
    layer : Lowered
    first, tiles : int
        First tile, and how many.
    """

    index: int
    layer: Lowered
    first: int
    tiles: int

    @property
    def weight_words(self) -> slice:
        """The layer's weight words that belong to the piece."""
        size = self.layer.weights.shape[1] // self.layer.tiles
        return slice(self.first * size, (self.first + self.tiles) * size)

    @property
    def start_words(self) -> slice:
        """The layer's start values that belong to the piece: as many for each tile."""
        size = self.layer.levels
        return slice(self.first * size, (self.first + self.tiles) * size)

    @property
    def scales(self) -> NDArray[np.uint32]:
        """Words of the results unit, one for each start value of a column; 0 where it makes no codes."""
        words, scales = self.start_words, self.layer.scales
        if scales is None:
            return np.zeros((len(self.layer.weights), words.stop - words.start), np.uint32)
        return scales[:, words]

    def before(self, config: DeviceConfig) -> int:
        """Return by how many words the piece begins to read behind where the layer does."""
        return self.first * self.layer.nest.step("tile") // config.geometry.width

    def shared(self, config: DeviceConfig) -> int:
        """Tiles that share a result word."""
        return 1 if self.layer.values.slices else config.geometry.tiles_per_word


@dataclass(frozen=True)
class Budget:
    """What a pass may hold.

    Attributes
    ----------
    room : tuple of int
        Of each memory.
    takes : callable
        What a tile of a layer takes of each.
    """

    room: tuple[int, ...]
    takes: Callable[[Lowered], tuple[int, ...]]


def cut(
    lowered: Sequence[Lowered], names: Sequence[str], config: DeviceConfig, budget: Budget | None = None
) -> list[list[Piece]]:
    """Group layers, and parts of layers, into passes that fit the weight and threshold buffers.

    Parameters
    ----------
    lowered : sequence of Lowered
    names : sequence of str
        The layers', in messages.
    config : DeviceConfig
    budget : Budget, optional
        Those of the buffers if not given.

    Returns
    -------
    list of list of Piece
        One pass if everything fits.

    Raises
    ------
    CapacityError
        If not even the smallest part of a layer fits.
    """
    depths = config.weight_depth, config.threshold_depth
    budget = budget or Budget(depths, lambda layer: (_words(layer), layer.levels))
    passes: list[list[Piece]] = [[]]
    left = budget.room
    for index, (layer, name) in enumerate(zip(lowered, names, strict=True)):
        takes = budget.takes(layer)
        # Tiles that share result words stay together: the first of them clears the others' lanes.
        shared = 1 if layer.values.slices else min(config.geometry.tiles_per_word, layer.tiles)
        first = 0
        while first < layer.tiles:
            tiles = min(layer.tiles - first, *(has // size for has, size in zip(left, takes, strict=True)))
            if first + tiles < layer.tiles:
                tiles = tiles // shared * shared
            if tiles:
                passes[-1].append(Piece(index, layer, first, tiles))
                first += tiles
                left = tuple(has - tiles * size for has, size in zip(left, takes, strict=True))
            elif passes[-1]:
                passes.append([])
                left = budget.room
            else:
                raise CapacityError(
                    f"layer {name!r} needs {shared * _words(layer)} words per weight buffer and "
                    f"{shared * layer.levels} start values at once at geometry {config.geometry}, the device "
                    f"has {config.weight_depth} (weight_depth) and {config.threshold_depth} (threshold_depth)"
                )
    return passes


def _words(layer: Lowered) -> int:
    """Return the weight words of a tile, per column."""
    return layer.weights.shape[1] // layer.tiles
