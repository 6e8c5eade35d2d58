"""What leaves a device between its passes, and comes back: weights cross the link once for many images.

A program in passes is cut into stages. In a stage of one pass the weights are written once, and then batch
after batch gets back the words that the pass reads, runs, and gives the words that are needed later. In a
stage of several passes a batch stays on the device, and all their weights are written for each batch: better
where maps are larger than weights, and for a single batch, of which nothing ever leaves the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..isa.device import Geometry
from ..isa.places import MemoryMap
from ..isa.program import Program, Section

__all__ = ["Span", "Stage", "kept_bytes", "stages", "written"]

_FRAMES = 28
"""Bytes that reading or writing a run of words takes beside them, on the wire, both ways."""


@dataclass(frozen=True)
class Span:
    """Consecutive words of a region of activation memory.

    Attributes
    ----------
    region : str
    first, words : int
        First word, counted from the region's beginning; how many.
    """

    region: str
    first: int
    words: int

    @property
    def slice(self) -> slice:
        """The words among those of the region."""
        return slice(self.first, self.first + self.words)


@dataclass(frozen=True, eq=False)
class Stage:
    """Passes that a batch goes through without leaving the device.

    Attributes
    ----------
    passes : range
    restored, saved : tuple of Span
        What a batch brings along, and what it leaves.
    valid : mapping of str to array of bool
        Words of each saved region that the stage has written; others of the spans mean nothing.
    """

    passes: range
    restored: tuple[Span, ...]
    saved: tuple[Span, ...]
    valid: dict[str, NDArray[np.bool_]]

    @property
    def repeated(self) -> bool:
        """Whether weights are written for each batch."""
        return len(self.passes) > 1


def stages(program: Program, batches: int) -> tuple[Stage, ...]:
    """Cut the passes into stages so that as few bytes as possible cross the link.

    Parameters
    ----------
    program : Program
        One whose results the host reads.
    batches : int
        That come one after the other.
    """
    live = _Live(program)
    cuts = [0, live.count] if batches == 1 else _cuts(live, batches)
    return tuple(live.stage(range(first, stop)) for first, stop in pairwise(cuts))


def kept_bytes(program: Program) -> int:
    """Return the most bytes of an image's words that the host has to keep between stages."""
    sizes = program.regions.sizes
    regions = {one.target.region for section in program.sections for one in section.descriptors}
    return sum(sizes[region] for region in regions | {"image"}) * program.config.geometry.width // 8


def written(section: Section, regions: MemoryMap, g: Geometry) -> dict[str, NDArray[np.bool_]]:
    """Say which words of which regions the layers of a section write.

    Returns
    -------
    dict of str to array of bool, shape (words,)
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for one in section.descriptors:
        slices, shared = (one.slices, 1) if one.slices else (1, g.tiles_per_word)
        tiles = np.arange(-(-one.nest.count("tile") // shared)) * one.out_tile
        step = one.out_step + (slices - 1) * g.words_per_tile
        positions = np.arange(one.nest.count("y") * one.nest.count("x")) * step
        words = np.arange(one.packed or slices * g.words_per_tile)
        planes = np.arange(1 if one.slices else one.bits) * one.plane
        strips = np.arange(g.rows if one.strips else 1) * (one.strips.target if one.strips else 0)
        places = one.target.offset + _sums(_sums(_sums(tiles, strips), planes), _sums(positions, words))
        mask = found.setdefault(one.target.region, np.zeros(regions.sizes[one.target.region], np.bool_))
        mask[places[places < len(mask)]] = True  # the last strips may end beyond the map
    return found


def _sums(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.unique(one[:, np.newaxis] + other)


class _Live:
    """Which regions each pass reads and writes.

    Attributes
    ----------
    count : int
        Passes.
    names : list of str
        Regions.
    writes : list of dict of str to array of bool
    reads, words : array, shape (passes, regions)
        Whether a pass reads a region; how many of its words it writes.
    weights : array, shape (passes,)
        Bytes.
    """

    def __init__(self, program: Program) -> None:
        self.program, sections = program, program.sections
        self.count = len(sections)
        self.writes = [written(one, program.regions, program.config.geometry) for one in sections]
        # The loader has written the images before the first pass.
        self.writes[0]["image"] = np.ones(program.regions.sizes["image"], np.bool_)
        self.names = sorted({name for one in self.writes for name in one})
        sources = [{one.source.region for one in section.descriptors} for section in sections]
        self.reads = np.array([[name in one for name in self.names] for one in sources])
        self.words = np.array(
            [[int(one[name].sum()) if name in one else 0 for name in self.names] for one in self.writes]
        )
        self.weights = np.array([sum(len(block.data) for block in one.buffers) for one in sections])

    def needed(self, stop: int) -> NDArray[np.bool_]:
        """Say which regions are read behind the passes before `stop`, or are results."""
        result = [name == self.program.results.region for name in self.names]
        return np.logical_or.reduce([*self.reads[stop:], np.array(result)])

    def stage(self, passes: range) -> Stage:
        """Return the stage of some passes."""
        inside, before = slice(passes.start, passes.stop), slice(passes.start)
        restored: list[Span] = []
        for name, read in zip(self.names, np.logical_or.reduce(self.reads[inside]), strict=True):
            if read and (mask := self._mask(name, before)) is not None:
                restored += self._spans(name, mask)
        saved: list[Span] = []
        valid: dict[str, NDArray[np.bool_]] = {}
        for name, need in zip(self.names, self.needed(passes.stop), strict=True):
            if need and (mask := self._mask(name, inside)) is not None:
                saved += self._spans(name, mask)
                valid[name] = mask
        return Stage(passes, tuple(restored), tuple(saved), valid)

    def _mask(self, name: str, passes: slice) -> NDArray[np.bool_] | None:
        masks = [one[name] for one in self.writes[passes] if name in one]
        return np.logical_or.reduce(masks) if masks else None

    def _spans(self, name: str, mask: NDArray[np.bool_]) -> list[Span]:
        """Return runs of words; small gaps between them cost less than a frame."""
        gap = _FRAMES // (self.program.config.geometry.width // 8)
        places = np.flatnonzero(mask)
        if not len(places):
            return []
        ends = np.flatnonzero(np.diff(places) > gap + 1)
        firsts, lasts = places[[0, *(ends + 1)]], places[[*ends, -1]]
        return [Span(name, int(a), int(b - a + 1)) for a, b in zip(firsts, lasts, strict=True)]


def _cuts(live: _Live, batches: int) -> list[int]:
    """Return where stages begin, and the end, so that the fewest bytes cross the link."""
    program, count = live.program, live.count
    g = program.config.geometry
    word = g.width // 8
    down, up = g.rows, 1 if program.spread else g.rows
    behind = np.array([live.needed(stop) for stop in range(1, count + 1)])
    best, back = np.full(count + 1, np.inf), [0] * (count + 1)
    best[0] = 0
    for first in range(count):
        # Of the stages from here to each later pass.
        read = np.logical_or.accumulate(live.reads[first:], axis=0) * live.words[:first].sum(axis=0)
        write = np.cumsum(live.words[first:], axis=0) * behind[first:]
        swapped = down * _cost(read, word) + up * _cost(write, word)
        weights = np.cumsum(live.weights[first:]) * float(batches)
        weights[0] = live.weights[first]
        costs = best[first] + weights + float(batches) * swapped
        for stop, cost in enumerate(costs, first + 1):
            if cost < best[stop]:
                best[stop], back[stop] = cost, first
    cuts = [count]
    while cuts[-1]:
        cuts.append(back[cuts[-1]])
    return cuts[::-1]


def _cost(words: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return the bytes that words of some regions, the last axis, take on the wire."""
    return (words * size + (words > 0) * _FRAMES).sum(axis=-1)
