"""A compiled network: what is written to a device, and how its results are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..compiler.nest import Lowered
from ..errors import DeviceError
from ..model.network import Network
from .device import DeviceConfig
from .protocol import Space


def word_bytes(config: DeviceConfig, space: Space) -> int:
    """Return the bytes of a word of `space` on the link."""
    return 4 if space in (Space.PROGRAM, Space.THRESHOLDS) else config.geometry.width // 8


@dataclass(frozen=True)
class Block:
    """Consecutive words of one memory bank.

    Attributes
    ----------
    space : Space
    bank : int
        Column or row; 0 for program memory.
    address : int
        First word.
    data : bytes
        Whole words, least significant byte first (docs/protocol.md, WRITE).
    """

    space: Space
    bank: int
    address: int
    data: bytes


@dataclass(frozen=True)
class LayerPlan:
    """What one layer costs on the device.

    Attributes
    ----------
    name : str
    beats : int
        Array cycles that multiply, per batch.
    drains : int
        Array cycles that shift scores out, per batch.
    waits : int
        Cycles that wait for start values of columns that share a threshold memory, per batch.
    macs : int
        Useful XNOR multiply-accumulates per image.
    acc_bits : int
        Accumulator bits that provably hold every intermediate value.
    weight_words, threshold_words : int
        Buffer words per column.
    """

    name: str
    beats: int
    drains: int
    waits: int
    macs: int
    acc_bits: int
    weight_words: int
    threshold_words: int


@dataclass(frozen=True)
class Results:
    """Where the results of an image are in activation memory.

    Attributes
    ----------
    base, words : int
    word_bytes : int
        Bytes of each word that matter, from the least significant on.
    """

    base: int
    words: int
    word_bytes: int


@dataclass(frozen=True)
class Pass:
    """A further pass of a network whose weights do not fit at once.

    Attributes
    ----------
    blocks : tuple of Block
        Weights, start values, and descriptors behind the header.
    entries : tuple of int
        Program addresses to run, one for each layer: a layer never overwrites what it reads, so that a
        run may be repeated when its answer is lost.
    """

    blocks: tuple[Block, ...]
    entries: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Stop:
    """A layer with weights at whose end a device may stop, and where its results are then.

    Attributes
    ----------
    index : int
        Layer of the network whose result is in memory: the layer itself, or the pooling that follows it.
    ends : tuple of (int, int)
        Pass, and program word of the layer's descriptor, for every pass that computes a part of the layer.
    base : int
        First result word in activation memory.
    lowered : Lowered
        The layer as the device runs it.
    """

    index: int
    ends: tuple[tuple[int, int], ...]
    base: int
    lowered: Lowered

    @property
    def number(self) -> int:
        """The pass that ends the layer."""
        return self.ends[-1][0]

    @property
    def starts(self) -> NDArray[np.int64]:
        """What each channel's accumulator starts from, planes put together; shape (outputs,)."""
        lowered = self.lowered
        columns, outputs = len(lowered.starts), len(lowered.offset)
        staged = lowered.starts.reshape(columns, lowered.tiles, -1)
        weights = 1 << np.arange(staged.shape[2] - 1, -1, -1, dtype=np.int64)
        return (staged @ weights).T.reshape(-1)[:outputs]


@dataclass(frozen=True, eq=False)
class Program:
    """A network compiled for one device configuration.

    Attributes
    ----------
    network : Network
    config : DeviceConfig
    blocks : tuple of Block
        Everything to write, program header last; of the first pass, if there are several.
    layers : tuple of LayerPlan
    used : dict
        Words used of each device memory, by the name of its `DeviceConfig` field.
    identifier : bytes
        Eight bytes; equal programs on equal configurations have equal identifiers.
    image_bytes : int
        Bytes of one image on the wire.
    result_bytes : int
        Bytes of one image's results on the wire.
    spread : bool
        The rows of the array share one image, and a batch is one image.
    later : tuple of Pass
        Empty if all weights fit.
    results : Results
    stops : tuple of Stop
        One for each of `layers`; the last one is the end of the program.
    stopped : bool
        The program ends early (`xnorcore.compiler.stops`): INFER does not send its results.
    starts : array of int64, shape (outputs,), or None
        What the accumulators of the results start from, if that is to be taken off.
    """

    network: Network
    config: DeviceConfig
    blocks: tuple[Block, ...]
    layers: tuple[LayerPlan, ...]
    used: dict[str, int]
    identifier: bytes
    image_bytes: int
    result_bytes: int
    spread: bool
    later: tuple[Pass, ...]
    results: Results
    stops: tuple[Stop, ...]
    _result: Lowered
    stopped: bool = False
    starts: NDArray[np.int64] | None = None

    @property
    def beats(self) -> int:
        """Array cycles per batch that multiply: the array's own bound."""
        return sum(layer.beats for layer in self.layers)

    @property
    def passes(self) -> int:
        """Times that weights are written for a batch; 1 if they are written once and stay."""
        return 1 + len(self.later)

    @property
    def results_read(self) -> bool:
        """Whether the host reads the results from activation memory, a batch at a time."""
        return bool(self.later) or self.stopped

    @property
    def bytes_per_batch(self) -> int:
        """Bytes of weights and start values that cross the link for each batch; 0 with one pass."""
        if not self.later:
            return 0
        blocks = [block for group in (self.blocks, *(p.blocks for p in self.later)) for block in group]
        return sum(len(b.data) for b in blocks if b.space in (Space.WEIGHTS, Space.THRESHOLDS))

    @property
    def batch(self) -> int:
        """Images that the array works on at once."""
        return 1 if self.spread else self.config.geometry.rows

    @property
    def cycles(self) -> int:
        """Cycles per batch to expect: beats, drains, waits, and one pipeline latency per layer."""
        changes = len(self.layers) * self.config.latency
        return sum(layer.beats + layer.drains + layer.waits for layer in self.layers) + changes

    def contents(self, space: Space, bank: int) -> list[int]:
        """Return the words of a memory bank that `blocks` writes, from address 0 on."""
        size = word_bytes(self.config, space)
        words: dict[int, int] = {}
        for block in self.blocks:
            if (block.space, block.bank) == (space, bank):
                for index in range(0, len(block.data), size):
                    word = block.data[index : index + size]
                    words[block.address + index // size] = int.from_bytes(word, "little")
        return [words.get(address, 0) for address in range(max(words, default=-1) + 1)]

    def decode(self, raw: bytes, images: int) -> NDArray:
        """Turn result bytes into what `golden.run` returns.

        Parameters
        ----------
        raw : bytes
            ``images * result_bytes`` bytes, image after image.
        images : int

        Returns
        -------
        array
            int64 scores, or uint8 bits, of shape (images, outputs).

        Raises
        ------
        DeviceError
            If the number of bytes is wrong.
        """
        if len(raw) != images * self.result_bytes:
            expected = images * self.result_bytes
            raise DeviceError(f"{images} images gave {len(raw)} result bytes, not {expected}")
        g, result = self.config.geometry, self._result
        outputs, positions = len(result.offset), result.height * result.width
        size = result_word_bytes(self.config, outputs, score=result.slices > 0)
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        if not result.slices:
            bits = bits.reshape(images, positions, 8 * self.result_bytes // positions)[:, :, :outputs]
            return np.ascontiguousarray(bits.reshape(images, positions * outputs))
        # (image, position, tile, slice, word of the tile, bit) -> (image, position, channel, slice)
        tiles = -(-outputs // g.columns)
        bits = bits.reshape(images, positions, tiles, result.slices, g.words_per_tile, 8 * size)
        bits = bits.transpose(0, 1, 2, 4, 5, 3)[:, :, :, :, : g.columns]
        channels = tiles * bits.shape[3] * bits.shape[4]
        bits = bits.reshape(images, positions, channels, result.slices)[:, :, :outputs]
        weights = 1 << np.arange(result.slices - 1, -1, -1, dtype=np.int64)
        weights[0] = -weights[0]
        sums = (bits.astype(np.int64) ^ 1) @ weights
        if self.starts is not None:
            # The sum itself fits the slices, with its start value it need not: both count modulo their range.
            half = 1 << (result.slices - 1)
            sums = (sums - self.starts + half) % (2 * half) - half
        sums = sums * result.factor + result.offset
        return sums.reshape(images, positions * outputs)


def result_word_bytes(config: DeviceConfig, outputs: int, score: bool) -> int:
    """Return the bytes of a result word that are sent: those that can hold a channel."""
    g = config.geometry
    return -(-min(g.width, g.columns if score else g.width, outputs) // 8)
