"""The vocabulary of lowering: maps in memory, and what a layer becomes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..isa.descriptor import Descriptor, Nest
from ..isa.device import DeviceConfig
from ..isa.program import Values
from ..isa.starts import stored_starts

__all__ = ["Lowered", "Positions", "Region", "Windows"]


@dataclass(frozen=True)
class Region:
    """A feature map in activation memory: pixels row by row, each in whole words.

    Attributes
    ----------
    height, width, channels : int
    pitch : int
        Words of a pixel; lanes without a channel are 0.
    lanes : array of int, shape (channels,), optional
        Where in a pixel each channel is; default: one behind the other. If the number of lanes that are left
        over is odd, the last one is left over.
    bits : int
        Of a value; each has a map of its own, the least significant one first, one behind the other.
    plane_words : int
        From one of these to the next.
    packed : int
        Words of a position, if these are kernel rows (`xnorcore.isa.packed`).
    """

    height: int
    width: int
    channels: int
    pitch: int
    lanes: NDArray[np.int64] | None = None
    bits: int = 1
    plane_words: int = 0
    packed: int = 0

    @property
    def places(self) -> NDArray[np.int64]:
        """Where in a pixel each channel is."""
        return np.arange(self.channels) if self.lanes is None else self.lanes

    @property
    def pixels(self) -> int:
        """Positions of the map."""
        return self.height * self.width


@dataclass(frozen=True)
class Windows:
    """An image interleaved by the loader: the values under a kernel are consecutive bits of one plane.

    Attributes
    ----------
    whole : bool
        Every window starts at a word and is (kernel row, kernel column, channel), channel fastest.
        Otherwise neighbours overlap, and a window is (kernel column, kernel row, channel).
    window, column, used : int
        Bits of a window, of each of its columns, and of these those that are values; the others are 0. A
        whole window is one column.
    across : int
        Bits from one position's window to the next one's.
    rows : int
        Rows of positions; each starts at a word.
    row_words, plane_words : int
        Words from one row, one plane, to the next.
    planes : int
    expanded : bool
        Planes hold (x, x) of 1-bit values and (1, 0) of zero padding: they add up and do not double.
    """

    whole: bool
    window: int
    column: int
    used: int
    across: int
    rows: int
    row_words: int
    plane_words: int
    planes: int
    expanded: bool

    @property
    def places(self) -> NDArray[np.int64]:
        """Where in a window each value is."""
        places = np.arange(self.window).reshape(-1, self.column)
        return places[:, : self.used].reshape(-1)


@dataclass(frozen=True)
class Positions:
    """All positions of a layer, before pooling.

    Attributes
    ----------
    height, width : int
    down, across : int
        Bits of activation memory from one row of positions, from one position, to the next.
    """

    height: int
    width: int
    down: int
    across: int


@dataclass(frozen=True, eq=False)
class Lowered:
    """A layer as the device runs it.

    Attributes
    ----------
    descriptor : Descriptor
        Without places in memory but for the offsets from where its source and its result begin.
    weights : array of uint8, shape (columns, words, width / 8)
    starts : array of int64, shape (columns, tiles, levels)
        What accumulators start from, for each threshold: one number, however many planes take part of it.
    tiles : int
        Groups of output channels, of equal shares of `weights`.
    values : Values
        The result map, and what its bits mean.
    words : int
        Activation memory that the result takes; strips of unequal height leave some unused.
    positions : Positions
    reach : int
        Largest magnitude of the sum without a start value, in units of the accumulator.
    beats, drains : int
        Array cycles per batch.
    acc_bits : int
        Accumulator bits that provably suffice.
    scales : array of uint32, shape (columns, tiles), or None
        Words of the results unit, if it makes the codes.
    """

    descriptor: Descriptor
    weights: NDArray[np.uint8]
    starts: NDArray[np.int64]
    tiles: int
    values: Values
    words: int
    positions: Positions
    reach: int
    beats: int
    drains: int
    acc_bits: int
    scales: NDArray[np.uint32] | None = None

    @property
    def nest(self) -> Nest:
        """The layer's loops."""
        return self.descriptor.nest

    @property
    def levels(self) -> int:
        """Start values of a tile."""
        return self.descriptor.levels

    @property
    def source(self) -> Region:
        """The result, as the next layer reads it."""
        values = self.values
        return Region(
            values.height,
            values.width,
            values.outputs,
            values.pitch,
            values.lanes,
            values.planes,
            values.apart,
            self.descriptor.packed,
        )

    def beside(self, pitch: int, offset: int, width: int) -> Lowered:
        """Return the layer as it writes its part of wider pixels.

        Parameters
        ----------
        pitch : int
            Words of a pixel.
        offset : int
            Words of it in front of the part.
        width : int
            Bits of a word.
        """
        one, old = self.descriptor, self.values.pitch
        strips = one.strips and replace(one.strips, target=one.strips.target // old * pitch)
        step = pitch if one.out_step else 0
        lanes = offset * width + self.source.places
        apart, target = self.values.apart // old * pitch, one.target.moved(offset)
        return replace(
            self,
            descriptor=replace(
                one, out_step=step, strips=strips, target=target, plane=apart * (one.bits > 1)
            ),
            values=replace(self.values, pitch=pitch, lanes=lanes, apart=apart),
            words=self.words // old * pitch,
        )

    def start_of(self, columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what the accumulators of columns start from, counted on from tile to tile."""
        return self.starts[:, :, 0].T.reshape(-1)[columns]

    def stored_starts(self, acc_width: int) -> NDArray[np.int64]:
        """Return the words of the threshold buffers, shape (columns, tiles * levels)."""
        first = stored_starts(self.starts[:, :, :1], self.descriptor.parts, acc_width)
        words = np.concatenate([first, np.diff(self.starts, axis=-1)], axis=-1)
        return words.reshape(len(words), -1)


def stored_words(outputs: int, config: DeviceConfig) -> int:
    """Return the words that the result bits of `outputs` channels take per position."""
    g = config.geometry
    tiles = -(-outputs // g.columns)
    return tiles * g.words_per_tile if g.columns >= g.width else -(-tiles // g.tiles_per_word)
