"""Compares a device's memories with what was written to them.

Weight and threshold buffers have no read port of their own. They are read through the array: a small
program makes every column emit the stored bits, which land in activation memory. So the check
covers the buffers, the processing elements and the result path at once.

Weights. A position of two beats meets the same weight word w with the activation words 0 and
~(1 << j). Their popcounts, less width / 2 each, add up to 1 - 2 * w[j]: the emitted bit is the
inverse of bit j of w. Thresholds. Two beats with 0 and ~0 cancel for any w, and the accumulator holds
the start value, which is sent as a score.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, UsageError, VerifyError
from ..isa.blocks import Block, word_bytes
from ..isa.device import DeviceConfig
from ..isa.layout import HEADER, pack_descriptor
from ..isa.protocol import Command, Space
from ..link.session import Session
from .requests import read_requests, write_requests

__all__ = ["Readback"]


class Readback:
    """Check blocks against a device; overwrites activation and program memory, and disarms.

    Parameters
    ----------
    session : Session
        Synchronised.
    config : DeviceConfig
    progress : callable, optional
        Called with the number of bytes checked since the last call.
    """

    def __init__(
        self, session: Session, config: DeviceConfig, progress: Callable[[int], None] | None = None
    ) -> None:
        self.session, self.config = session, config
        self._progress = progress or (lambda count: None)

    def weights(self, blocks: list[Block]) -> None:
        """Check weight blocks that all start at address 0; clears start values on the way.

        Raises
        ------
        VerifyError
            Names the first column and address that differ.
        """
        config, g = self.config, self.config.geometry
        size = g.width // 8
        total = max(len(block.data) for block in blocks) // size
        # Without convolution there is no loop over the bits: a run tests one of them.
        bits = g.width if config.convolution else 1
        per_tile = bits * g.words_per_tile
        room = (config.act_depth - 2 * g.width) // per_tile * g.tiles_per_word
        chunk = min(config.threshold_depth, room) // g.tiles_per_word * g.tiles_per_word
        chunk = min(chunk, -(-total // g.tiles_per_word) * g.tiles_per_word)
        if chunk < 1:
            raise UsageError(
                f"this device has no room to read its weights back: {config.act_depth} words of activation "
                f"memory (act_depth), but it takes {2 * g.width + per_tile} at least; load without a check "
                "(verify=False, --no-verify)"
            )
        zeros = bytes(4 * chunk)
        for column in range(g.columns):
            self._write(Block(Space.THRESHOLDS, column, 0, zeros))
        pattern = np.zeros((g.width, 2, g.width), np.uint8)
        pattern[:, 1] = 1 - np.eye(g.width, dtype=np.uint8)
        self._activations(pattern.reshape(-1, g.width))
        for first in range(0, total, chunk):
            tiles = min(chunk, total - first)
            parts = [self._weight_bits(first, tiles, bit, bits) for bit in range(0, g.width, bits)]
            found = np.packbits(np.concatenate(parts, axis=-1), axis=-1, bitorder="little")
            for block in blocks:
                data = block.data[first * size : (first + tiles) * size]
                wanted = np.frombuffer(data, np.uint8).reshape(-1, size)
                self._compare(block, first, wanted, found[: len(wanted), block.bank])

    def _weight_bits(self, first: int, tiles: int, bit: int, bits: int) -> NDArray[np.uint8]:
        """Return bits `bit` to ``bit + bits - 1`` of weight words, shape (tiles, columns, bits)."""
        g = self.config.geometry
        per_tile = bits * g.words_per_tile
        out_base = 2 * g.width
        self._run(
            plane_last=1,
            x_last=bits - 1,
            tile_last=tiles - 1,
            in_base=2 * bit,
            weight_base=first,
            delta_plane=1,
            delta_x=1 if bits > 1 else 0,
            delta_tile=-(2 * bits - 1),
            out_base=out_base,
            out_delta=g.words_per_tile if bits > 1 else 0,
            out_tile_stride=per_tile,
        )
        words = self._read_words(out_base, -(-tiles // g.tiles_per_word) * per_tile)
        # (word group, bit j, word of tile or lane within word, column bit) -> (column, address, bit j)
        found = words.reshape(-1, bits, g.tiles_per_word, g.columns)
        return 1 - found.transpose(0, 2, 3, 1).reshape(-1, g.columns, bits)[:tiles]

    def thresholds(self, blocks: list[Block]) -> None:
        """Check threshold blocks that all start at address 0.

        Raises
        ------
        VerifyError
            Names the first column and address that differ.
        """
        config, g = self.config, self.config.geometry
        total = max(len(block.data) for block in blocks) // 4
        per_tile = config.acc_width * g.words_per_tile
        # A program has no more tiles than there are weight words; each tile here meets the next one.
        chunk = min((config.act_depth - 2) // per_tile, config.weight_depth)
        self._activations(np.repeat(np.array([[0], [1]], np.uint8), g.width, axis=1))
        weights = 1 << np.arange(config.acc_width - 1, -1, -1, dtype=np.int64)
        weights[0] = -weights[0]
        for first in range(0, total, chunk):
            tiles = min(chunk, total - first)
            self._run(
                score=1,
                slices=config.acc_width,
                plane_last=1,
                tile_last=tiles - 1,
                threshold_base=first,
                delta_plane=1,
                delta_tile=-1,
                out_base=2,
                out_tile_stride=per_tile,
            )
            words = self._read_words(2, tiles * per_tile)
            bits = words.reshape(tiles, config.acc_width, -1)[:, :, : g.columns].astype(np.int64) ^ 1
            found = np.einsum("tsc,s->tc", bits, weights).astype("<i4")
            for block in blocks:
                wanted = np.frombuffer(block.data[4 * first : 4 * (first + tiles)], "<i4")
                self._compare(block, first, wanted[:, None], found[: len(wanted), block.bank, None])

    def plain(self, block: Block) -> None:
        """Check a block of program or activation memory, or of the store.

        Raises
        ------
        VerifyError
            Names the first address that differs.
        """
        size = word_bytes(self.config, block.space)
        data = self._read(block.space, block.bank, block.address, len(block.data) // size)
        wanted, found = (np.frombuffer(d, np.uint8).reshape(-1, size) for d in (block.data, data))
        self._compare(block, 0, wanted, found)

    def _compare(self, block: Block, first: int, wanted: NDArray, found: NDArray) -> None:
        self._progress(wanted.nbytes)
        if np.array_equal(wanted, found):
            return
        index = int(np.flatnonzero((wanted != found).any(axis=1))[0])
        where = f"{block.space.name.lower()} bank {block.bank}, address {block.address + first + index}"
        raise VerifyError(
            f"{where}: wrote {_show(wanted[index])}, the device holds {_show(found[index])}; "
            "load again, and check the board's clock and power if it happens twice"
        )

    def _write(self, block: Block) -> None:
        for _ in self.session.stream(write_requests(self.config, block, self.session.max_payload)):
            pass

    def _activations(self, bits: NDArray[np.uint8]) -> None:
        data = np.packbits(bits, axis=-1, bitorder="little").tobytes()
        self._write(Block(Space.ACTIVATIONS, 0, 0, data))

    def _run(self, **fields: int) -> None:
        words = pack_descriptor({"end": 1, **fields})
        # Behind the header, which holds the mark that the device has kept its memories.
        self._write(Block(Space.PROGRAM, 0, HEADER.words, np.array(words, "<u4").tobytes()))
        self.session.call(Command.RUN, HEADER.words.to_bytes(2, "little"))

    def _read(self, space: Space, bank: int, address: int, words: int) -> bytes:
        data = b"".join(self.session.stream(read_requests(self.config, space, bank, address, words)))
        if len(data) != words * word_bytes(self.config, space):
            raise DeviceError(f"READ of {words} words gave {len(data)} bytes; load again")
        return data

    def _read_words(self, address: int, words: int) -> NDArray[np.uint8]:
        data = self._read(Space.ACTIVATIONS, 0, address, words)
        return np.unpackbits(np.frombuffer(data, np.uint8).reshape(words, -1), axis=-1, bitorder="little")


def _show(value: NDArray) -> str:
    return str(int(value[0])) if len(value) == 1 else value.tobytes().hex()
