"""The vocabulary of lowering: maps in memory, loop nests, and what a layer becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..isa.layout import LOOPS

__all__ = ["Lowered", "Nest", "Region", "Windows"]


@dataclass(frozen=True)
class Region:
    """A feature map in activation memory: pixels row by row, each in whole words.

    Attributes
    ----------
    height, width, channels : int
    pitch : int
        Words of a pixel; lanes without a channel are 0.
    base : int
        First word.
    """

    height: int
    width: int
    channels: int
    pitch: int
    base: int = 0

    @property
    def pixels(self) -> int:
        """Positions of the map."""
        return self.height * self.width


@dataclass(frozen=True)
class Windows:
    """An image interleaved by the loader: the values under a kernel are consecutive bits of one plane.

    Attributes
    ----------
    window : int
        Bits of a window, (kernel column, kernel row, channel), channel fastest.
    column : int
        Bits from one image column to the next.
    rows : int
        Rows of positions; each starts at a word.
    row_words, plane_words : int
        Words from one row, one plane, to the next.
    planes : int
    expanded : bool
        Planes hold (x, x) of 1-bit values and (1, 0) of zero padding: they add up and do not double.
    base : int
        First word, within the image's region.
    """

    window: int
    column: int
    rows: int
    row_words: int
    plane_words: int
    planes: int
    expanded: bool
    base: int = 0


@dataclass(frozen=True)
class Lowered:
    """A layer as the device runs it.

    Attributes
    ----------
    fields : dict
        Descriptor fields except addresses in buffers and memories.
    weights : array of uint8, shape (columns, words, width / 8)
    starts : array of int64, shape (columns, start values)
    tiles : int
        Groups of output channels, of equal shares of `weights` and `starts`.
    height, width, pitch : int
        Result map, and words of a position.
    words : int
        Activation memory that the result takes; strips of unequal height leave some unused.
    slices : int
        Score slices, or 0.
    factor : int
    offset : array of int64, shape (outputs,)
        Natural sum = factor * accumulator + offset.
    beats, drains : int
        Array cycles per batch.
    acc_bits : int
        Accumulator bits that provably suffice.
    """

    fields: Mapping[str, int]
    weights: NDArray[np.uint8]
    starts: NDArray[np.int64]
    tiles: int
    height: int
    width: int
    pitch: int
    words: int
    slices: int
    factor: int
    offset: NDArray[np.int64]
    beats: int
    drains: int
    acc_bits: int


@dataclass
class Nest:
    """Loop counts and address coefficients, in bits, by loop."""

    counts: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)

    def loop(self, name: str, count: int, step: int) -> None:
        """Set the count and the address step of a loop."""
        self.counts[name], self.steps[name] = count, step

    def fields(self, word: int) -> dict[str, int]:
        """Return the descriptor's loop fields, for words of `word` bits."""
        fields: dict[str, int] = {}
        behind = 0
        for loop in LOOPS:
            count, step = self.counts.get(loop, 1), self.steps.get(loop, 0)
            fields[f"{loop}_last"] = count - 1
            words, bits = divmod(step - behind, word)
            behind += step * (count - 1)
            if loop in ("run", "col"):
                assert count == 1 or (words, bits) == (1, 0)
                continue
            fields[f"delta_{loop}"] = words if count > 1 or loop == "tile" else 0
            if count > 1 or loop == "tile":
                fields[f"bits_{loop}"] = bits
        assert not fields.pop("bits_row", 0) and not fields.pop("bits_plane", 0)
        return fields

    @property
    def beats(self) -> int:
        """Beats of the nest."""
        return int(np.prod([self.counts.get(loop, 1) for loop in LOOPS], dtype=np.int64))
