"""Runs descriptors on memories, whole layers at once: products, sums, thresholds, pooling, write-back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import CompileError
from ..codes import start_words
from ..device import DeviceConfig
from ..layout import HEADER, PROGRAM_MAGIC, header_of, unpack_descriptor
from ..starts import plane_starts
from ..stream import Tile, stream_of, tile_at
from .loading import store_images
from .memories import Memories, wrapped
from .results import inside_memory, write_back
from .walk import Walk

__all__ = ["LayerTrace", "Machine"]

_CHUNK = 1 << 24
"""Most operand bits that are gathered at once."""


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """What one descriptor did.

    Attributes
    ----------
    place : int
        Program word of the descriptor.
    fields : dict
    sums : array of int64, shape (rows, positions, tiles * columns)
        Accumulators after a position's last beat that multiplies, start values and the rows' sums included;
        positions in the order (y, x, win_y, win_x), the last two those of a pooling window.
    writes : list of int
        Words of activation memory that were written, in order.
    """

    place: int
    fields: dict[str, int]
    sums: NDArray[np.int64]
    writes: list[int]


class Machine:
    """A device that does in one step what the gateware does in many cycles.

    Parameters
    ----------
    config : DeviceConfig

    Attributes
    ----------
    memories : Memories
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.config = config
        self.memories = Memories(config)
        # Next word of the store; where the rings go on.
        self._place, self._next_word, self._next_start = 1, 0, 0
        self._stream: NDArray[np.uint32] | None = None

    def rewind(self) -> None:
        """Begin with the store's first tile again, as every request but INFER makes a device do."""
        self._place, self._stream = 1, None

    @property
    def header(self) -> dict[str, int]:
        """The fields of the program in program memory.

        Raises
        ------
        CompileError
            If there is none.
        """
        words = [int(word) for word in self.memories.program[: HEADER.words]]
        header = header_of(self.config).unpack(words)
        if header["magic"] != PROGRAM_MAGIC:
            raise CompileError(f"program word 0 is {header['magic']:#010x}, not {PROGRAM_MAGIC:#010x}")
        return header

    def load(self, images: NDArray[np.uint8], parity: int = 0) -> None:
        """Put a batch into an input region, as the loader does.

        Parameters
        ----------
        images : array of uint8, shape (n, bytes per image)
            As on the wire; one for each row at most, or one for all rows where the program spreads it.
        parity : int
            Which of the two regions.
        """
        store_images(self.memories, self.header, images, parity)

    def infer(self, images: NDArray[np.uint8], parity: int = 0) -> tuple[bytes, list[LayerTrace]]:
        """Run one batch through the program.

        Returns
        -------
        bytes
            Result bytes, image after image, as INFER answers.
        list of LayerTrace
        """
        header = self.header
        self.load(images, parity)
        traces = self.run(header["entry"], parity)
        first = header[f"out_base{parity}"]
        words = self.memories.activations[: len(images), first : first + header["out_words"]]
        sent = np.packbits(words, axis=-1, bitorder="little")[:, :, : header["out_bytes"]]
        return sent.tobytes(), traces

    def run(self, entry: int, parity: int | None = None) -> list[LayerTrace]:
        """Run the descriptors from `entry` to the one with `end`, as RUN does, or as a batch of `parity`.

        Raises
        ------
        CompileError
            They do not end, or lead out of a memory.
        """
        if parity is None:
            self.rewind()
        traces = []
        words = [int(word) for word in self.memories.program]
        place, end = entry, False
        while not end:
            fields, after = unpack_descriptor(words, place)
            traces.append(self._layer(place, fields, parity))
            place, end = after, bool(fields["end"])
        if parity is None:
            self.rewind()
        return traces

    def _layer(self, place: int, fields: dict[str, int], parity: int | None) -> LayerTrace:
        header = self.header if fields["in_image"] or fields["out_image"] else {}
        bases = {
            side: fields[f"{side}_base"]
            + (header[f"{side}_base{parity or 0}"] if fields[f"{side}_image"] else 0)
            for side in ("in", "out")
        }
        walk = Walk.of(fields, self.config)
        tiles = [self._tile(fields, walk, bases["in"], tile) for tile in range(walk.counts["tile"])]
        sums, steps = (np.concatenate(parts, axis=-1) for parts in zip(*tiles, strict=True))
        writes = write_back(self.memories, fields, walk, bases["out"], sums, steps)
        return LayerTrace(place, fields, sums, writes)

    def _tile(
        self, fields: Mapping[str, int], walk: Walk, base: int, tile: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the accumulators of one tile, and what leads from threshold to threshold.

        Shapes (rows, positions, columns) and (thresholds - 1, columns). Of a layer of the results unit the
        latter is one word for each column.
        """
        g = self.config.geometry
        planes, copies, taps = walk.counts["plane"], walk.counts["copy"], walk.taps
        kinds = 1 + fields["edge_left"] + fields["edge_right"]
        held = self._held(fields, kinds * copies * taps, tile)
        starts = held.starts[:, 0]
        signs = 2 * held.weights.reshape(g.columns, kinds, copies, taps * g.width).astype(np.float32) - 1
        sums = np.zeros((g.rows, walk.positions, g.columns), np.int64)
        step = max(_CHUNK // (taps * g.width), 1)
        for kind, positions in enumerate(walk.kinds):
            for at in range(0, len(positions), step):
                chunk = positions[at : at + step]
                for row in range(g.rows):
                    operands = (
                        self._operands(fields, walk, base, tile, row, pair, chunk)
                        for pair in np.ndindex(planes, copies)
                    )
                    sums[row, chunk] = self._accumulate(fields, operands, signs[:, kind], starts)
        words = held.starts[:, 1:].T if held.scales is None else held.scales[np.newaxis].astype(np.int64)
        return sums, words

    def _accumulate(
        self,
        fields: Mapping[str, int],
        operands: Iterable[NDArray[np.float32]],
        signs: NDArray[np.float32],
        starts: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """Return what the accumulators of a row hold behind some operands, those of all planes and copies.

        Shape (positions, columns).
        """
        bits, copies = self.config.acc_width, signs.shape[1]
        acc = shared = np.zeros((1, len(starts)), np.int64)
        part = 0
        for number, x in enumerate(operands):
            left = copies - number % copies
            doubles = fields["double"] and left == fields["single_last"] + 1
            if doubles and number:
                acc, shared = 2 * acc, 2 * shared
            if doubles or not number:
                acc = acc + plane_starts(starts, part, bits)
                part += 1
            # Products of -1 and +1, or 0 where a tap counts as nothing: whole numbers below 2**24.
            count = (x.reshape(len(x), -1) @ signs[:, -left].T).astype(np.int64) // 2
            acc = wrapped(acc + count * (2 if fields["near"] and left > fields["near"] else 1), bits)
            if left == 1:
                shared = shared - x.sum(axis=(1, 2)).astype(np.int64)[:, np.newaxis] // 2
        return wrapped(acc + shared, bits) if fields["row_sum"] else acc

    def _held(self, fields: Mapping[str, int], taps: int, tile: int) -> Tile:
        """Return what the buffers hold of a tile, its weights as bits, shape (columns, `taps`, width)."""
        config, memories = self.config, self.memories
        levels = 1 if fields["rescaled"] else start_words(fields["code_last"] + 1)
        first, start = fields["weight_base"] + tile * taps, fields["threshold_base"] + tile * levels
        if not fields["stream"]:
            inside_memory("weights", range(first, first + taps), config.weight_depth)
            inside_memory("start values", range(start, start + levels), config.threshold_depth)
            scales = memories.scales[:, start] if fields["rescaled"] else None
            weights, starts = memories.weights[:, first:], memories.starts[:, start : start + levels]
            return Tile(weights[:, :taps], starts, scales)
        if not config.store_words:
            raise CompileError("weights come from a store, which the device has not (store_words=0)")
        if self._stream is None:
            self._stream = stream_of(memories.store, config)
        there, self._place = tile_at(self._stream, self._place, config)
        found = there.weights.shape[1], there.starts.shape[1]
        if found != (taps, levels) or (there.scales is None) == bool(fields["rescaled"]):
            raise CompileError(
                f"a tile of {taps} words and {levels} start values meets one of {found[0]} and {found[1]} in "
                "the store, or only one of them has words of the results unit"
            )
        if self._place > self._stream[0]:
            self._place = 1
        # Through the rings, which then hold what a device has in them.
        ring = (self._next_word + np.arange(taps)) % config.weight_depth
        memories.weights[:, ring] = np.unpackbits(there.weights, axis=-1, bitorder="little")
        places = (self._next_start + np.arange(levels)) % config.threshold_depth
        memories.starts[:, places] = wrapped(there.starts, config.acc_width)
        if there.scales is not None:
            memories.scales[:, places[0]] = there.scales
        given = Tile(memories.weights[:, ring], memories.starts[:, places], there.scales)
        self._next_word = (self._next_word + taps) % config.weight_depth
        self._next_start = (self._next_start + levels) % config.threshold_depth
        return given

    def _operands(
        self,
        fields: Mapping[str, int],
        walk: Walk,
        base: int,
        tile: int,
        row: int,
        at: tuple[int, int],
        chunk: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return what meets the weights in a plane and copy: -1, +1 or 0, shape (positions, taps, width)."""
        config, width = self.config, self.config.geometry.width
        k, (plane, copy) = config.offset_bits, at
        bits = walk.addresses[chunk, plane, copy] + ((base << k) + tile * walk.tile_step)
        if fields["strips"]:
            bits = bits + (row * fields["in_strip"] << k)
        words, offsets = bits >> k, (bits & ((1 << k) - 1)) * config.column_align
        memory = self.memories.activations[row]
        inside = walk.inside[chunk]
        if not fields["strips"]:
            # Rows of strips after the first may reach beyond the map, for results that nobody reads.
            read = words[inside] % (1 << 16)
            if read.size and read.max() >= config.act_depth:
                raise CompileError(f"a beat reads word {read.max()} of {config.act_depth} (act_depth)")
        if offsets.any():
            two = np.concatenate(
                [memory[words % config.act_depth], memory[(words + 1) % config.act_depth]], axis=-1
            )
            places = offsets[:, :, np.newaxis] + np.arange(width)
            values = np.take_along_axis(two, places, axis=-1)
        else:
            values = memory[words % (1 << 16) % config.act_depth]
        if fields["padded"] and not fields["pad_zero"]:
            values = np.where(inside[:, :, np.newaxis], values, np.uint8(_pad(fields, plane)))
        if fields["lanes"]:
            values = values * ~(walk.ends[:, np.newaxis] & (np.arange(width) >= fields["lanes"]))
        if fields["balance"] and plane:
            values = values.copy()
            values[:, walk.ends, width - 1] = 1
        signs = 2 * values.astype(np.float32) - 1
        if fields["padded"] and fields["pad_zero"]:
            signs *= inside[:, :, np.newaxis]
        return signs


def _pad(fields: Mapping[str, int], plane: int) -> int:
    """Return the bit that a plane reads beside the map."""
    if not fields["double"] or not plane:
        return fields["pad_one"]
    return fields["pad_last" if plane == fields["plane_last"] else "pad_between"]
