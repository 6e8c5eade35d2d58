"""How accumulators become bits, codes or slices of scores in activation memory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ..layout import plane_words, signed
from ..packed import clears, field_bits, parts_of
from ..scales import ADDEND_BITS, MULTIPLIER_BITS, NO_CHANNEL, VALUE_BITS, added, rescaled
from ..scaling import Scaling, factors, folded, multiplied
from .memories import Memories, wrapped
from .walk import Walk

__all__ = ["inside_memory", "write_back"]


def write_back(
    memories: Memories,
    fields: Mapping[str, int],
    walk: Walk,
    base: int,
    sums: NDArray[np.int64],
    steps: NDArray[np.int64],
) -> list[int]:
    """Turn accumulators into bits or codes, pool them and put them into activation memory.

    Between thresholds lie `steps`, or they are words of the results unit, shape (1, channels).
    """
    config, counts = memories.config, walk.counts
    g = config.geometry
    rows, tiles = len(sums), counts["tile"]
    score = bool(fields["score"])
    window = 1 if score else counts["win_y"] * counts["win_x"]
    slices = max(fields["slices"], 1) if score else 1
    # A slice is the inverse of a bit of the accumulator, the most significant first.
    shifts = np.arange(slices - 1, -1, -1) if score else np.array([config.acc_width - 1])
    unit = not score and fields["rescaled"]
    coded = not score and fields["code_last"] > 0
    if unit:
        made = fields["value_last"] if fields["valued"] else fields["code_last"]
        words = steps.astype(np.uint32)
        codes = rescaled(sums, words, made + 1)
        if fields["valued"]:
            codes = _changed(memories, fields, counts, codes, words)
        if fields["scaling"]:
            codes = _scaled(memories, fields, sums, codes, words)
        codes = codes.reshape(rows, -1, window, sums.shape[-1]).max(axis=2)
        bits = _planes_of(codes, fields["code_last"] + 1)
    elif coded:
        bits = _planes(sums, steps, fields["code_last"] + 1, window, config.acc_width)
    else:
        bits = (~(sums[..., np.newaxis] >> shifts) & 1).astype(np.uint8)
        bits = bits.reshape(rows, -1, window, sums.shape[-1], slices).max(axis=2)
    bits = bits.reshape(rows, -1, tiles, g.columns, bits.shape[-1])
    if fields["packed"]:
        left_out = fields["value_short"] * config.result_lanes
        return _write_rows(memories, fields, counts["x"], base, bits[:, :, 0, left_out:, 0])
    shared = 1 if score else g.tiles_per_word
    words = g.words_per_tile
    delta = signed(fields["out_delta"]) + (slices - 1) * words
    strip = fields["out_strip"] if fields["strips"] else 0
    written: list[int] = []
    for tile in range(tiles):
        lane = tile % shared
        tile_base = base + tile // shared * signed(fields["out_tile_stride"])
        apart = plane_words(fields) if coded else words
        count = bits.shape[-1]
        first = tile_base + np.arange(bits.shape[1])[:, np.newaxis] * delta + np.arange(count) * apart
        for row in range(rows):
            # (positions, columns, slices or planes) -> (positions, slices, words, bits of a word)
            parts = bits[row, :, tile].transpose(0, 2, 1).reshape(len(first), count, words, -1)
            places = (first + row * strip)[..., np.newaxis] + np.arange(words)
            inside_memory("results", range(int(places.min()), int(places.max()) + 1), config.act_depth)
            into = slice(None) if fields["strips"] else slice(row, row + 1)
            size = parts.shape[-1]
            if lane == 0:
                memories.activations[into, places] = 0
            memories.activations[into, places, lane * size : (lane + 1) * size] = parts
            written += places.reshape(-1).tolist() if row == 0 or strip else []
    return written


def _write_rows(
    memories: Memories, fields: Mapping[str, int], across: int, base: int, bits: NDArray[np.uint8]
) -> list[int]:
    """Write bits, shape (rows, positions, channels), as kernel rows of maps `across` wide."""
    words, width = 1 + fields["row_pairs"], memories.config.geometry.width
    size = field_bits(words, width)
    values = np.zeros((len(bits), size), np.uint8)
    written: list[int] = []
    for position in range(bits.shape[1]):
        x = position % across
        channels = min(size, bits.shape[2])
        values[:, :channels] = bits[:, position, :channels]
        for number, part in enumerate(parts_of(words)):
            if not 0 <= x + part.position < across:
                continue
            # `base` is that of the first part.
            place = base + (position + part.position - 1) * words + part.word
            inside_memory("results", range(place, place + 1), memories.config.act_depth)
            if clears(words, number, x):
                memories.activations[:, place] = 0
            memories.activations[:, place, part.field * size :][:, :size] = values
            written.append(place)
    return written


def _changed(
    memories: Memories,
    fields: Mapping[str, int],
    counts: Mapping[str, int],
    codes: NDArray[np.int64],
    words: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Add codes, shape (rows, positions, channels), to values; return what of these is the result."""
    (rows, positions, channels), columns = codes.shape, memories.config.geometry.columns

    def in_order(given: NDArray) -> NDArray:
        # Results are made tile after tile.
        return (
            given.reshape(-1, positions, channels // columns, columns).swapaxes(1, 2).reshape(len(given), -1)
        )

    order, words = in_order(codes), in_order(np.broadcast_to(words, (1, positions, channels)))
    kept = np.ones((channels // columns, counts["y"], counts["x"], columns), np.bool_)
    # The last columns come first.
    lanes = memories.config.result_lanes
    kept[..., : fields["value_short"] * lanes] = False
    read = kept.copy()
    read[..., columns - fields["value_fresh"] * lanes :] = False
    if fields["value_halves"]:
        kept[:, 1::2], kept[:, :, 1::2] = False, False
    left = int(kept.sum())
    old = np.zeros_like(order)
    if fields["value_adds"]:
        places = np.flatnonzero(read)
        inside_memory("values", range(len(places)), memories.values.shape[1])
        there = min(memories.left, len(places))
        old[:, places[:there]] = memories.values[:, :there]
    inside_memory("values", range(left), memories.values.shape[1])
    new = added(old, order, fields["value_offset"], words)
    memories.values[:, :left], memories.left = new[:, kept.reshape(-1)], left
    given = new + (1 << VALUE_BITS - 1) if fields["code_last"] else (new >= 0).astype(np.int64)
    given = given * (words >> MULTIPLIER_BITS + ADDEND_BITS != NO_CHANNEL)
    return given.reshape(rows, -1, positions, columns).swapaxes(1, 2).reshape(codes.shape)


def _scaled(
    memories: Memories,
    fields: Mapping[str, int],
    sums: NDArray[np.int64],
    codes: NDArray[np.int64],
    words: NDArray[np.uint32],
) -> NDArray[np.int64]:
    """Return what becomes of codes, shape (rows, positions, channels), of a layer that has to do with K."""
    scaling, count = fields["scaling"], sums.shape[1]
    if scaling == Scaling.FOLDED:
        return folded(codes, fields["code_last"] + 1)
    inside_memory("K", range(count), memories.kept.shape[1])
    if scaling == Scaling.MULTIPLIED:
        return multiplied(sums, memories.kept[:, :count, np.newaxis], words)
    memories.kept[:, :count] = factors(sums[:, :, 0], words[:, :1])
    return codes


def _planes(
    sums: NDArray[np.int64], steps: NDArray[np.int64], bits: int, window: int, acc_width: int
) -> NDArray[np.uint8]:
    """Return the bits of pooled codes, shape (rows, positions, channels, bits).

    A code counts the thresholds of a position in their order, each that is the next one for it.
    """
    rows, _, channels = sums.shape
    left = sums.reshape(rows, -1, window, channels)
    code = np.zeros((rows, left.shape[1], channels), np.int64)
    for position in range(window):
        acc = left[:, :, position]
        for level in range(len(steps) + 1):
            if level:
                acc = wrapped(acc + steps[level - 1], acc_width)
            code += (acc >= 0) & (code == level)
    return _planes_of(code, bits)


def _planes_of(codes: NDArray[np.int64], bits: int) -> NDArray[np.uint8]:
    """Return the bits of codes along a new last axis."""
    return (codes[..., np.newaxis] >> np.arange(bits) & 1).astype(np.uint8)


def inside_memory(what: str, words: range, depth: int) -> None:
    """Fail if words lie outside a memory of a depth."""
    if words.start < 0 or words.stop > depth:
        raise CompileError(f"{what}: words {words.start} to {words.stop - 1}, but the memory has {depth}")
