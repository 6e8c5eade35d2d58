"""How the store holds weights and start values: one stream of 32-bit words, in the order of their use.

Word 0 is the address of the last word; in flash it has a sector of its own. Behind it lies a block for each
tile: the number of weight words of a column, from bit 24 on how many start values it has, but one, and in
bit 31 whether there are words of the results unit; the start value of every column, threshold after
threshold; the unit's word of every column; and for each of the weight words that of every column, least
significant part first. Where a word of weights has 8 or 16 bits, neighbouring columns share a word of the
store. Behind the last block, the first one follows again.

In flash, every 64th word is a checksum (`xnorcore.isa.pages`). In other stores a check word
(`xnorcore.isa.sums`) is behind word 0, behind each block's first word, and behind its last one, where it is
taken for a part of the block.

A tile's words go on in the rings where those of the tile before have ended, whatever the layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from .blocks import Block
from .device import DeviceConfig
from .pages import PAGE_WORDS, checksums, paged, paged_place, unpaged
from .protocol import STORE_BANK, Space
from .stores import FLASH_SECTOR, FLASHES
from .sums import checked, stream_sum

__all__ = [
    "FIRST_BLOCK", "LEVELS_AT", "SCALED_AT", "Tile", "block_of_tile", "block_words", "check_stream",
    "most_tiles", "most_words", "packed_columns", "shortened", "store_blocks", "stream_of", "tile_at",
    "word_parts", "words_taken",
]  # fmt: skip


LEVELS_AT = 24
"""Bit of a block's first word above which is how many start values a column has, but one."""
SCALED_AT = 31
"""Bit that says that the results unit has words, as many as a start value has, behind these."""
_WORDS = (1 << LEVELS_AT) - 1
FIRST_BLOCK = 2
"""Word of a store that is no flash where the first block begins."""


@dataclass(frozen=True, eq=False)
class Tile:
    """What a store has for a tile.

    Attributes
    ----------
    weights : array of uint8, shape (columns, words, width / 8)
    starts : array of int64, shape (columns, levels)
        As the threshold buffers hold them.
    scales : array of uint32, shape (columns,), or None
        Words of the results unit, if it makes the codes: then there is one start value.
    """

    weights: NDArray[np.uint8]
    starts: NDArray[np.int64]
    scales: NDArray[np.uint32] | None = None


def _levels(head: int) -> int:
    """Return the start values of a column that a block has."""
    return (head >> LEVELS_AT & (1 << SCALED_AT - LEVELS_AT) - 1) + 1


def _numbers(head: int) -> int:
    """Return these, and the word of the results unit."""
    return _levels(head) + (head >> SCALED_AT)


def packed_columns(config: DeviceConfig) -> int:
    """Return how many columns' words of weights share a word of the store."""
    width = config.geometry.width
    return 32 // width if width in (8, 16) else 1


def word_parts(config: DeviceConfig) -> int:
    """Return how many words of the store a column's word of weights takes."""
    return -(-config.geometry.width // 32)


def most_words(config: DeviceConfig) -> int:
    """Return the most weight words per column that a tile may have.

    A beat that was held up leaves once the word behind its own has come too, and two places may stay free.
    """
    return config.weight_depth - 3


def most_tiles(config: DeviceConfig) -> int:
    """Return the most tiles of a descriptor: their loop is as long as the buffer of weights."""
    return config.weight_depth


def check_stream(what: str, fields: Mapping[str, int], words: int, config: DeviceConfig) -> None:
    """Check what a descriptor says of the store.

    Parameters
    ----------
    what : str
        The descriptor, in messages.
    fields : mapping
    words : int
        Of weights, of a tile.
    config : DeviceConfig

    Raises
    ------
    CompileError
        If the device has no store, no ring for such tiles, or does not count as many, or there is a base.
    """
    if not fields["stream"]:
        return
    if not config.store_words:
        raise CompileError(f"{what} takes weights from a store, which the device has not (store_words=0)")
    if fields["weight_base"] or fields["threshold_base"]:
        raise CompileError(f"{what} takes weights from the store, but has a base in their buffers")
    if words > most_words(config):
        raise CompileError(
            f"{what} has tiles of {words} words, but a ring of {config.weight_depth} (weight_depth) takes "
            f"{most_words(config)}"
        )
    if fields["tile_last"] >= most_tiles(config):
        raise CompileError(
            f"{what} has {fields['tile_last'] + 1} tiles, but the device takes {most_tiles(config)} from a "
            "store at once (weight_depth)"
        )


def _words_of_row(config: DeviceConfig) -> int:
    """Return the words of the store that one word of weights of every column takes."""
    return config.geometry.columns // packed_columns(config) * word_parts(config)


def block_words(words: int, numbers: int, config: DeviceConfig) -> int:
    """Return the words of the store that a tile takes, check words included; in flash, pages have those.

    Parameters
    ----------
    words, numbers : int
        Of weights, and start values and words of the results unit, of each column.
    config : DeviceConfig
    """
    checks = 0 if _in_flash(config) else 2
    return 1 + numbers * config.geometry.columns + words * _words_of_row(config) + checks


def block_of_tile(tile: Tile, config: DeviceConfig) -> NDArray[np.uint32]:
    """Return the block of one tile."""
    weights, levels = tile.weights, tile.starts.T
    columns, words, size = weights.shape
    check = np.asarray if _in_flash(config) else checked
    padded = np.zeros((words, columns, -(-size // 4) * 4 if packed_columns(config) == 1 else size), np.uint8)
    padded[:, :, :size] = weights.transpose(1, 0, 2)
    numbers = [levels.astype("<i4").reshape(-1).view("<u4"), *([] if tile.scales is None else [tile.scales])]
    values = np.concatenate([*numbers, padded.reshape(-1).view("<u4")])
    head = words | len(levels) - 1 << LEVELS_AT | int(tile.scales is not None) << SCALED_AT
    return np.concatenate([check(np.array([head], np.uint32)), check(values)])


def tile_at(store: NDArray[np.uint32], place: int, config: DeviceConfig) -> tuple[Tile, int]:
    """Return the tile of the block at a word, and the word behind it.

    Parameters
    ----------
    store : array of uint32
        A stream without checksums (`stream_of`).

    Raises
    ------
    CompileError
        If the block has no length that the device can take.
    """
    g, head = config.geometry, int(store[place]) if place < len(store) else 0
    words, first = head & _WORDS, place + 1 + _numbers(head) * g.columns
    behind = first + words * _words_of_row(config)
    if not 1 <= words <= most_words(config) or behind > len(store):
        raise CompileError(
            f"the block at word {place} of the stream has {words} words of weights, but a tile has 1 to "
            f"{most_words(config)}, and the stream {len(store)} words"
        )
    numbers = store[place + 1 : first].reshape(-1, g.columns)
    starts = numbers[: _levels(head)].view(np.int32).astype(np.int64).T
    raw = store[first:behind].astype("<u4").view(np.uint8)
    size = g.width // 8
    weights = raw.reshape(words, g.columns, -1)[:, :, :size].transpose(1, 0, 2)
    return Tile(weights, starts, numbers[-1] if head >> SCALED_AT else None), behind


def words_taken(words: int, config: DeviceConfig) -> int:
    """Return the words of the store that a stream takes with its length: so many words of blocks."""
    return FLASH_SECTOR + len(paged(np.zeros(words, np.uint32))) if _in_flash(config) else FIRST_BLOCK + words


def store_blocks(blocks: Sequence[NDArray[np.uint32]], config: DeviceConfig) -> tuple[Block, ...]:
    """Return what is written into the store for a stream; its length is a block by itself, the first one."""
    stream = np.concatenate(blocks)
    found = [_length(len(stream), config)]
    place = first = FLASH_SECTOR if _in_flash(config) else FIRST_BLOCK
    stored = paged(stream) if _in_flash(config) else stream
    while place < first + len(stored):
        bank, address = divmod(place, STORE_BANK)
        part = stored[place - first :][: STORE_BANK - address]
        found.append(Block(Space.STORE, bank, address, part.astype("<u4").tobytes()))
        place += len(part)
    return tuple(found)


def shortened(buffers: Sequence[Block], tiles: int, config: DeviceConfig) -> tuple[Block, ...]:
    """Return the blocks of `store_blocks` with the length of their first `tiles` tiles; the others stay."""
    length, *rest = buffers
    stream = np.frombuffer(b"".join(block.data for block in rest), "<u4")
    if _in_flash(config):
        stream = unpaged(stream)
    place = 0
    for _ in range(tiles):
        head = int(stream[place])
        place += block_words(head & _WORDS, _numbers(head), config)
    return (replace(length, data=_length(place, config).data), *rest)


def _length(words: int, config: DeviceConfig) -> Block:
    if not _in_flash(config):
        last = checked(np.array([FIRST_BLOCK - 1 + words], np.uint32))
        return Block(Space.STORE, 0, 0, last.astype("<u4").tobytes())
    last = np.array([FLASH_SECTOR + paged_place(words - 1)], np.uint32)
    return Block(Space.STORE, 0, 0, paged(last).astype("<u4").tobytes())


def _in_flash(config: DeviceConfig) -> bool:
    return config.store_kind in FLASHES


def stream_of(store: NDArray[np.uint32], config: DeviceConfig) -> NDArray[np.uint32]:
    """Return the store's stream as it is without checksums: the number of words of its blocks, and those.

    Raises
    ------
    CompileError
        If a page of the stream, or a part of it, has another checksum.
    """
    if not _in_flash(config):
        return _unchecked(store, config)
    last = int(store[0])
    if not FLASH_SECTOR <= last < len(store):
        raise CompileError(f"the store's stream ends at word {last:,}, not at one from {FLASH_SECTOR:,} on")
    pages = store[: (min(last, len(store) - 1) | PAGE_WORDS - 1) + 1].reshape(-1, PAGE_WORDS)
    used = np.arange(len(pages)) >= FLASH_SECTOR // PAGE_WORDS
    used[0] = True
    for page in np.flatnonzero(used & (checksums(pages) != 0)):
        raise CompileError(f"page {page} of the store is not what its checksum says")
    words = unpaged(store[FLASH_SECTOR : pages.size])
    whole, rest = divmod(last - FLASH_SECTOR, PAGE_WORDS)
    return np.concatenate([np.array([whole * (PAGE_WORDS - 1) + rest + 1], np.uint32), words])


def _unchecked(store: NDArray[np.uint32], config: DeviceConfig) -> NDArray[np.uint32]:
    """Return the stream of a store that is no flash, as `stream_of`."""
    _check(store[:FIRST_BLOCK], 0)
    last, place = int(store[0]), FIRST_BLOCK
    found = [np.zeros(1, np.uint32)]
    while place <= last:
        _check(store[place : place + 2], place)
        head = int(store[place])
        behind = place + block_words(head & _WORDS, _numbers(head), config)
        _check(store[place + 2 : behind], place)
        found += [store[place : place + 1], store[place + 2 : behind - 1]]
        place = behind
    stream = np.concatenate(found)
    stream[0] = len(stream) - 1
    return stream


def _check(words: NDArray[np.uint32], place: int) -> None:
    if not len(words) or stream_sum(words):
        raise CompileError(f"the block at word {place:,} of the store is not what its checksum says")
