"""When words of weights come from a store, for the model of cycles (`timing`)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil

from .codes import start_words
from .device import DeviceConfig
from .stores import FLASH_BITS, StoreKind
from .stream import packed_columns, word_parts

__all__ = ["Refill", "batch_more"]

_BEGIN = 1
"""Cycles from a layer's first possible beat to the stream's length being known, the first time."""
_LATE = 2
"""Cycles from the last part of a word to the first beat that may leave because of it."""


@dataclass(frozen=True)
class _Pace:
    """How a store gives words.

    Attributes
    ----------
    cycles : float
        For a word of many, a multiple of 1/32.
    late : int
        By which a word may come later than at that pace.
    """

    cycles: float = 1
    late: int = 0


def _page(bits: int) -> int:
    """Return the cycles in which a page of a flash comes, behind a jump."""
    return 32 // bits * 64 + 96


_PACES = {
    StoreKind.RAM: _Pace(),
    # Two beats, or one. Rows and refreshes take less than a fourteenth, at most so many cycles in a piece.
    StoreKind.SDRAM: _Pace(2 * 69 / 64, 72),
    StoreKind.SDRAM32: _Pace(69 / 64, 72),
    # A checksum in 64 words. A page counts when all of it is there; two begin a stream, and its end spoils
    # one: of two batches in a row, that is four.
    **{kind: _Pace(32 // bits * 65.25 / 64, 4 * _page(bits)) for kind, bits in FLASH_BITS.items()},
}


def batch_more(config: DeviceConfig) -> int:
    """Return the cycles that a batch between others may take more than computed, with weights from the store.

    A stream's end spoils a page, and its beginning waits for one: of a flash.
    """
    bits = FLASH_BITS.get(StoreKind(config.store_kind))
    return 2 * _page(bits) if bits else 0


class Refill:
    """The prefetcher and its rings, tile after tile, in cycles of the clock of `timing`.

    A store that has pauses of its own is taken to give its words at an even pace, with all of its pauses in
    front of every tile: later than it does.

    Parameters
    ----------
    config : DeviceConfig
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        # As many tiles as their start values have room for, with codes of most bits; one place is free.
        most = start_words(config.code_bits)
        self._read = 2 * config.latency + 2 if config.code_bits > 1 else 0
        self._starts = (config.threshold_depth - 1) // most + 1
        # That places are free is known a cycle later, and later by as much as operands are.
        self._known = 4 if config.offset_bits else 1
        row = g.columns // packed_columns(config) * word_parts(config)
        pace = _PACES.get(StoreKind(config.store_kind), _Pace())
        self._late = pace.late
        self._head, self._row = pace.cycles * (1 + most * g.columns), pace.cycles * row
        self._depth = config.weight_depth - int(row == 1)
        # Cycle in which the last word came; None, nothing has been asked for.
        self._time: float | None = None
        self._words = 0
        # Tiles that have ended: the word behind each, and when its places were free.
        self._free: deque[tuple[int, int]] = deque()
        self._ends: deque[int] = deque(maxlen=self._starts)

    def begin(self, ready: int) -> None:
        """A layer may have its first beat in cycle `ready`."""
        if self._time is None:
            self._time = ready + _BEGIN + self._late
        else:
            self.ended(ready - 2)

    def tile(self, words: int) -> int:
        """Return the first cycle in which the last beat of the next tile's first position may leave."""
        assert self._time is not None
        self._time = self._begun(self._time, 0)
        # Words that go where nothing was come at their own pace; the others behind those that leave.
        for _ in range(words):
            self._words += 1
            self._time = self._placed(self._time + self._row)
        return ceil(self._begun(self._time, 1) + self._row + self._late) + _LATE

    def _begun(self, time: float, ahead: int) -> float:
        """Return when the start values of the tile so many `ahead` are written, behind `time`."""
        # As many tiles before it, one has to be through.
        place = len(self._ends) - self._starts + 1 + ahead
        if place >= 0:
            time = max(time, self._ends[place])
        return time + self._head

    def _placed(self, time: float) -> float:
        """Return when a word is written whose last part could come at `time`."""
        behind = self._words - self._depth + 1
        while self._free and self._free[0][0] < behind:
            self._free.popleft()
        if behind > 0 and self._free:
            time = max(time, self._free[0][1] + self._row)
        return time

    def ended(self, cycle: int) -> None:
        """The tile's places are free behind `cycle`: its last beat leaves, or the next layer is loaded."""
        self._free.append((self._words, cycle + self._known))
        self._ends.append(cycle + 1 + self._read)
