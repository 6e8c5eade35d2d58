"""Puts weights and start values that exceed the buffers into a device's store, in the order of their use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..isa.blocks import Block
from ..isa.device import DeviceConfig
from ..isa.stream import (
    block_of_tile,
    most_words,
    packed_columns,
    store_blocks,
    word_parts,
    words_taken,
)  # fmt: skip
from .nest import Lowered
from .split import Piece

__all__ = ["stream_blocks", "stream_words", "streams"]


def streams(lowered: Sequence[Lowered], config: DeviceConfig) -> bool:
    """Return whether weights come from the store: the buffers are too small, but neither it nor the rings."""
    if not config.store_words:
        return False
    weights = sum(layer.weights.shape[1] for layer in lowered)
    starts = sum(layer.tiles for layer in lowered)
    if weights <= config.weight_depth and starts <= config.threshold_depth:
        return False
    longest = max(layer.weights.shape[1] // layer.tiles for layer in lowered)
    return longest <= most_words(config) and stream_words(lowered, config) <= config.store_words


def stream_words(lowered: Sequence[Lowered], config: DeviceConfig) -> int:
    """Return the words of the store that a network takes."""
    columns = config.geometry.columns
    row = columns // packed_columns(config) * word_parts(config)
    words = sum(layer.tiles * (1 + columns) + layer.weights.shape[1] * row for layer in lowered)
    return words_taken(words, config)


def stream_blocks(pieces: Sequence[Piece], config: DeviceConfig) -> tuple[Block, ...]:
    """Return what is written into the store."""
    return store_blocks(list(_tiles(pieces, config)), config)


def _tiles(pieces: Sequence[Piece], config: DeviceConfig) -> Iterator:
    for piece in pieces:
        layer = piece.layer
        starts, size = layer.stored_starts(config.acc_width), layer.weights.shape[1] // layer.tiles
        for tile in range(piece.first, piece.first + piece.tiles):
            words = layer.weights[:, tile * size : (tile + 1) * size]
            yield block_of_tile(words, starts[:, tile], config)
