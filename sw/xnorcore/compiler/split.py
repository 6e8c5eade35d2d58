"""Cuts a network whose weights do not fit the device at once into passes that do.

The activations of a batch stay on the device from pass to pass; weights and start values of each pass
arrive over the link before it runs. A layer may be cut between tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import CapacityError
from ..isa.device import DeviceConfig
from .nest import Lowered

__all__ = ["Piece", "cut"]


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
        """The layer's start values that belong to the piece: one for each tile."""
        return slice(self.first, self.first + self.tiles)

    def shared(self, config: DeviceConfig) -> int:
        """Tiles that share a result word."""
        return 1 if self.layer.values.slices else config.geometry.tiles_per_word


def cut(lowered: Sequence[Lowered], names: Sequence[str], config: DeviceConfig) -> list[list[Piece]]:
    """Group layers, and parts of layers, into passes that fit the weight and threshold buffers.

    Returns
    -------
    list of list of Piece
        One pass if everything fits.

    Raises
    ------
    CapacityError
        If not even the smallest part of a layer fits.
    """
    passes: list[list[Piece]] = [[]]
    weights, starts = config.weight_depth, config.threshold_depth
    for index, (layer, name) in enumerate(zip(lowered, names, strict=True)):
        weight_size = layer.weights.shape[1] // layer.tiles
        # Tiles that share result words stay together: the first of them clears the others' lanes.
        shared = 1 if layer.values.slices else min(config.geometry.tiles_per_word, layer.tiles)
        first = 0
        while first < layer.tiles:
            tiles = min(weights // weight_size, starts, layer.tiles - first)
            if first + tiles < layer.tiles:
                tiles = tiles // shared * shared
            if tiles:
                passes[-1].append(Piece(index, layer, first, tiles))
                first += tiles
                weights -= tiles * weight_size
                starts -= tiles
            elif passes[-1]:
                passes.append([])
                weights, starts = config.weight_depth, config.threshold_depth
            else:
                raise CapacityError(
                    f"layer {name!r} needs {shared * weight_size} words per weight buffer and "
                    f"{shared} start values at once at geometry {config.geometry}, the device "
                    f"has {config.weight_depth} (weight_depth) and {config.threshold_depth} (threshold_depth)"
                )
    return passes
