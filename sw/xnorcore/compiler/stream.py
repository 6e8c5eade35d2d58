"""Puts weights and start values that exceed the buffers into a device's store, in the order of their use.

What exceeds the store as well comes in passes through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..errors import CapacityError
from ..isa.blocks import Block
from ..isa.device import DeviceConfig
from ..isa.stores import FLASHES
from ..isa.stream import (
    Tile,
    block_of_tile,
    block_words,
    most_tiles,
    most_words,
    store_blocks,
    words_taken,
)  # fmt: skip
from .nest import Lowered
from .split import Budget, Piece, cut

__all__ = ["cut_stream", "exceeds_flash", "stream_blocks", "stream_words"]


def cut_stream(
    lowered: Sequence[Lowered], names: Sequence[str], config: DeviceConfig
) -> list[list[Piece]] | None:
    """Cut a network into passes whose weights the store holds; None if it, or the rings, hold no part of it.

    A store in flash is not written anew for every call: it holds all or nothing.
    """
    longest = max(layer.weights.shape[1] // layer.tiles for layer in lowered)
    if not config.store_words or longest > most_words(config):
        return None
    if config.store_kind in FLASHES:
        passes = None if exceeds_flash(lowered, config) else [_whole(lowered)]
    else:
        room = config.store_words - words_taken(0, config)
        try:
            passes = cut(lowered, names, config, Budget((room,), lambda layer: (_tile_words(layer, config),)))
        except CapacityError:
            passes = None
    return passes and [
        [part for piece in pieces for part in _counted(piece, names, config)] for pieces in passes
    ]


def _counted(piece: Piece, names: Sequence[str], config: DeviceConfig) -> Iterator[Piece]:
    """Yield a piece in parts of as many tiles as a device counts in a layer.

    Raises
    ------
    CapacityError
        If values are added in place, which goes through all tiles at once.
    """
    shared = piece.shared(config)
    most = most_tiles(config) // shared * shared
    if piece.tiles > most and (not most or piece.layer.descriptor.adding):
        raise CapacityError(
            f"layer {names[piece.index]!r} has {piece.tiles} tiles, but a device takes {most} of a store at "
            "once; give the ring of weights more words (weight_depth)"
        )
    for first in range(piece.first, piece.first + piece.tiles, max(most, 1)):
        yield replace(piece, first=first, tiles=min(most, piece.first + piece.tiles - first))


def exceeds_flash(lowered: Sequence[Lowered], config: DeviceConfig) -> str:
    """Return what is to be said of a network that is too large for a store in flash; nothing of any other."""
    if config.store_kind not in FLASHES:
        return ""
    words = stream_words(_whole(lowered), config)
    if words <= config.store_words:
        return ""
    return f"; and of the store it takes {words:,} words, which has {config.store_words:,} (store_words)"


def _whole(lowered: Sequence[Lowered]) -> list[Piece]:
    return [Piece(index, layer, 0, layer.tiles) for index, layer in enumerate(lowered)]


def stream_words(pieces: Sequence[Piece], config: DeviceConfig) -> int:
    """Return the words of the store that pieces of layers take."""
    return words_taken(sum(piece.tiles * _tile_words(piece.layer, config) for piece in pieces), config)


def _tile_words(layer: Lowered, config: DeviceConfig) -> int:
    numbers = layer.levels + (layer.scales is not None)
    return block_words(layer.weights.shape[1] // layer.tiles, numbers, config)


def stream_blocks(pieces: Sequence[Piece], config: DeviceConfig) -> tuple[Block, ...]:
    """Return what is written into the store."""
    return store_blocks(list(_tiles(pieces, config)), config)


def _tiles(pieces: Sequence[Piece], config: DeviceConfig) -> Iterator:
    for piece in pieces:
        layer = piece.layer
        starts, size = layer.stored_starts(config.acc_width), layer.weights.shape[1] // layer.tiles
        starts = starts.reshape(len(starts), layer.tiles, layer.levels)
        for tile in range(piece.first, piece.first + piece.tiles):
            words = layer.weights[:, tile * size : (tile + 1) * size]
            scales = None if layer.scales is None else layer.scales[:, tile]
            yield block_of_tile(Tile(words, starts[:, tile], scales), config)
