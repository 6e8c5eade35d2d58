"""When words of weights come from a store, for the model of cycles (`timing`)."""

from __future__ import annotations

from collections import deque
from copy import copy
from math import ceil

from .codes import MAX_COMPARED_BITS, start_words
from .device import DeviceConfig
from .scales import unit_cycles
from .sources import Source, source_of
from .stores import FLASHES
from .stream import packed_columns, word_parts

__all__ = ["Refill"]

_BEGIN = 1
"""Cycles from a layer's first possible beat to the stream's length being known, the first time."""
_LATE = 2
"""Cycles from the last part of a word to the first beat that may leave because of it."""


class Refill:
    """The prefetcher and its rings, tile after tile, in cycles of the clock of `timing`.

    Parameters
    ----------
    config : DeviceConfig
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        # As many tiles as their start values have room for, with codes of most bits; one place is free.
        most = start_words(min(config.code_bits, MAX_COMPARED_BITS))
        read = config.latency + (unit_cycles(config) if config.result_lanes else 0)
        self._read = 2 * read + 2 if config.code_bits > 1 else 0
        self._starts = (config.threshold_depth - 1) // most + 1
        # That places are free is known a cycle later, and later by as much as operands are.
        self._known = 4 if config.offset_bits else 1
        row = g.columns // packed_columns(config) * word_parts(config)
        # Check words: behind a block's first word, and before it, of the block, or the length, there.
        self._checks = config.store_kind not in FLASHES
        self._columns, self._row = g.columns, row
        self._source = source_of(config)
        self._depth = config.weight_depth - int(row == 1)
        self._begins, self._words = True, 0
        # Weight words of each tile, and numbers in front of them; and the next one of them.
        self._lengths, self._next = [(1, 1)], 0
        # Tiles that have ended: the word behind each, and when its places were free.
        self._free: deque[tuple[int, int]] = deque()
        self._ends: deque[int] = deque(maxlen=self._starts)

    def run(self, lengths: list[tuple[int, int]]) -> None:
        """A program begins, with tiles of so many weight words, and numbers of each column besides."""
        self._lengths, self._next = lengths or [(1, 1)], 0

    def begin(self, ready: int) -> None:
        """A layer may have its first beat in cycle `ready`."""
        if self._begins:
            self._begins = False
            self._source.begin(ready + _BEGIN)
        else:
            self.ended(ready - 2)

    def tile(self) -> int:
        """Return the first cycle in which the last beat of the next tile's first position may leave.

        It is taken to wait for the word behind its own, which one that is not held up does not.
        """
        self._begun(self._source, 0)
        # Words that go where nothing was come at their own pace; the others behind those that leave.
        for _ in range(self._lengths[self._next][0]):
            self._words += 1
            self._source.take(self._row, self._place())
        self._next = (self._next + 1) % len(self._lengths)
        if not self._next:
            self._source.again()
        # What comes ahead is asked for again.
        ahead = copy(self._source)
        self._begun(ahead, 1)
        # A tile's last word has come with the check word behind it.
        check = int(self._checks and self._lengths[self._next][0] == 1)
        return ceil(ahead.take(self._row + check, 0)) + _LATE

    def _begun(self, source: Source, ahead: int) -> None:
        """Take the start values of the tile so many `ahead`, and words of the results unit."""
        # As many tiles before it, one has to be through.
        place = len(self._ends) - self._starts + 1 + ahead
        head = 1 + self._lengths[self._next][1] * self._columns + 2 * self._checks
        source.take(head, self._ends[place] if place >= 0 else 0)

    def _place(self) -> float:
        """Return when there is a place for the next word."""
        behind = self._words - self._depth + 1
        while self._free and self._free[0][0] < behind:
            self._free.popleft()
        return self._free[0][1] if behind > 0 and self._free else 0

    def ended(self, cycle: int) -> None:
        """The tile's places are free behind `cycle`: its last beat leaves, or the next layer is loaded."""
        self._free.append((self._words, cycle + self._known))
        self._ends.append(cycle + 1 + self._read)
