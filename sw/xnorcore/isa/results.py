"""What comes back of a program: where its results are, what their bits mean, and where it may stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .device import DeviceConfig, Geometry

__all__ = ["Results", "Stop", "SumsPlan", "Values", "bytes_at_once"]


def bytes_at_once(geometry: Geometry) -> int:
    """Return the bytes of a word of results that the device keeps when it has read the word: for more, again.

    As much as one tile's bits fill. With more than four rows all of it: behind the choice between so many
    there is no time for one between bytes.
    """
    word = geometry.width // 8
    tile = 1 << (-(-geometry.columns // 8) - 1).bit_length()
    return min(word, tile) if geometry.rows <= 4 else word


@dataclass(frozen=True)
class Results:
    """Where the results of an image are in activation memory.

    Attributes
    ----------
    base, words : int
    word_bytes : int
        Bytes of each word that matter, from the least significant on.
    region : str
        Of the program's `MemoryMap`, at whose beginning they are.
    """

    base: int
    words: int
    word_bytes: int
    region: str = "results"

    def reads(self, config: DeviceConfig) -> int:
        """Return how often the responder reads a word for the results of an image."""
        return self.words * -(-self.word_bytes // bytes_at_once(config.geometry))


@dataclass(frozen=True, eq=False)
class Values:
    """What the bits of a result map mean.

    Attributes
    ----------
    height, width, pitch : int
        Positions, and words of each.
    outputs : int
        Channels.
    slices : int
        Bits of each score, or 0 where a channel is a bit.
    factor : int
    offset : array of int64, shape (outputs,)
        Natural sum = (factor * accumulator + offset) / divisor, rounded down where it leaves a remainder.
    lanes : array of int64, shape (outputs,), optional
        Where in the words of a position each channel's bit is, or in which column its score; default: one
        behind the other.
    planes : int
        Bits of a channel that is no score, each in a map of its own, the least significant first.
    apart : int
        Words from one of these maps to the next.
    divisor : int
    times : Values, optional
        Of XNOR-Net's K, one score for each position, behind those that the host multiplies by it.
    """

    height: int
    width: int
    pitch: int
    outputs: int
    slices: int
    factor: int
    offset: NDArray[np.int64]
    lanes: NDArray[np.int64] | None = None
    planes: int = 1
    apart: int = 0
    divisor: int = 1
    times: Values | None = None

    @property
    def spread(self) -> int:
        """Words from the first one of a result to behind its last one."""
        return self.apart * (self.planes - 1) + self.height * self.width * self.pitch

    def word_bytes(self, config: DeviceConfig) -> int:
        """Return the bytes of a result word that are sent: those that can hold a channel."""
        g = config.geometry
        if self.lanes is not None:
            return int((self.lanes % g.width).max()) // 8 + 1
        return -(-min(g.width, g.columns if self.slices else g.width, self.outputs) // 8)

    def words(self, config: DeviceConfig) -> int:
        """Return the words of a result that are sent: of a single position only those that hold channels."""
        words = self.spread
        if self.times:
            return words + self.times.words(config)
        if self.slices or words != self.pitch:
            return words
        last = self.outputs - 1 if self.lanes is None else int(self.lanes.max())
        return last // config.geometry.width + 1

    def decode(
        self, raw: bytes, images: int, config: DeviceConfig, starts: NDArray[np.int64] | None = None
    ) -> NDArray:
        """Turn result bytes into bits (uint8), codes or sums (int64), shape (images, positions * outputs).

        Parameters
        ----------
        raw : bytes
        images : int
        config : DeviceConfig
        starts : array of int64, shape (outputs,), optional
            What the accumulators start from, if that is to be taken off.
        """
        g, outputs, positions = config.geometry, self.outputs, self.height * self.width
        if not images:
            return np.empty((0, positions * outputs), np.int64 if self.slices else np.uint8)
        if self.times:
            return self._multiplied(raw, images, config, self.times)
        bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little")
        if not self.slices:
            bits = self._maps(bits, images, config)
            if self.lanes is None:
                bits = bits[..., :outputs]
            else:
                word, bit = np.divmod(self.lanes, g.width)
                bits = bits[..., word * 8 * self.word_bytes(config) + bit]
            bits = bits.reshape(images, self.planes, positions * outputs)
            if self.planes == 1:
                return np.ascontiguousarray(bits[:, 0])
            return np.einsum("ipv,p->iv", bits, 1 << np.arange(self.planes, dtype=np.uint8))
        # (image, position, tile, slice, word of the tile, bit) -> (image, position, channel, slice)
        tiles = -(-outputs // g.columns)
        size = 8 * self.word_bytes(config)
        bits = bits.reshape(images, positions, tiles, self.slices, g.words_per_tile, size)
        bits = bits.transpose(0, 1, 2, 4, 5, 3)[:, :, :, :, : g.columns]
        channels = tiles * bits.shape[3] * bits.shape[4]
        columns = np.arange(outputs) if self.lanes is None else self.lanes
        bits = bits.reshape(images, positions, channels, self.slices)[:, :, columns]
        weights = 1 << np.arange(self.slices - 1, -1, -1, dtype=np.int64)
        weights[0] = -weights[0]
        sums = (bits.astype(np.int64) ^ 1) @ weights
        if starts is not None:
            # The sum itself fits the slices, with its start value it need not: both count modulo their range.
            half = 1 << (self.slices - 1)
            sums = (sums - starts + half) % (2 * half) - half
        return ((sums * self.factor + self.offset) // self.divisor).reshape(images, positions * outputs)

    def _multiplied(self, raw: bytes, images: int, config: DeviceConfig, times: Values) -> NDArray[np.int64]:
        """Return scores times their K, whose words hold as many bytes as the others'."""
        words = np.frombuffer(raw, np.uint8).reshape(images, self.words(config), -1)
        scores = replace(self, times=None).decode(words[:, : self.spread].tobytes(), images, config)
        behind = words[:, self.spread :, : times.word_bytes(config)]
        kept = times.decode(behind.tobytes(), images, config)
        return (scores.reshape(*kept.shape, -1) * kept[..., np.newaxis]).reshape(images, -1)

    def _maps(self, bits: NDArray[np.uint8], images: int, config: DeviceConfig) -> NDArray[np.uint8]:
        """Return the words of each plane, shape (images, planes, positions, bits of a position)."""
        positions, size = self.height * self.width, 8 * self.word_bytes(config)
        if self.planes == 1:
            return bits.reshape(images, 1, positions, -1)
        words = bits.reshape(images, self.words(config), size)
        used = self.apart * np.arange(self.planes)[:, np.newaxis] + np.arange(positions * self.pitch)
        return words[:, used].reshape(images, self.planes, positions, -1)


@dataclass(frozen=True, eq=False)
class Stop:
    """A layer at whose end a device may stop, and where its results are then.

    Attributes
    ----------
    index : int
        Layer of the network whose result is in memory: the layer itself, or the pooling that follows it.
    number : int
        Of what the device runs for it, as in `Section.parts`; the last, where a layer takes two.
    region : str
        Where in activation memory.
    values : Values
    plan : int
        Layer that was computed: `index`, or the one in front of the pooling.
    sums : SumsPlan or None
        How that layer's sums can be had in place of its bits; None where there are none.
    """

    index: int
    number: int
    region: str
    values: Values
    plan: int
    sums: SumsPlan | None


@dataclass(frozen=True, eq=False)
class SumsPlan:
    """A layer as it would be without thresholds and pooling.

    Attributes
    ----------
    loops : mapping of str to (int, int)
        Counts and steps of the loops over positions, all of them.
    values : Values
    tile_words : int
        Words of a tile's sums.
    starts : array of int64, shape (outputs,)
        What its accumulators start from: thresholds, negated.
    """

    loops: Mapping[str, tuple[int, int]]
    values: Values
    tile_words: int
    starts: NDArray[np.int64]
