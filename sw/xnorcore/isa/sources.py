"""When a store gives its words, one after the other, for the model of cycles (`refill`)."""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass, field
from typing import Protocol

from .device import DeviceConfig
from .pages import DATA_WORDS, PAGE_WORDS
from .stores import FLASH_BITS, QUEUE_WORDS, StoreKind

__all__ = ["Source", "source_of"]

_PACES = {StoreKind.RAM: 1.0, StoreKind.SDRAM: 2 * 65.5 / 64, StoreKind.SDRAM32: 67 / 64}
"""Cycles of a word; of an SDRAM two beats, or one, and what rows and refreshes take at boards' clocks."""
_TAKEN = 2
"""Cycles from one word of a page to the next, without a queue."""
_JUMP = 50
"""From the request for a word elsewhere to the first bits of its page: the end of a command, and a head."""
_WHOLE = 6
"""From a page's last bits to its first word."""
_QUEUED = 4
"""Cycles from a word that goes into a queue to the next, and from one that leaves it: they take turns."""


class Source(Protocol):
    """A store that is asked for the stream's words, round and round."""

    def begin(self, now: float) -> None:
        """Nothing has been asked for; the stream's length is, in cycle `now`."""
        ...

    def take(self, count: int, earliest: float) -> float:
        """Return the cycle in which the last of so many words is taken, none of them before `earliest`."""
        ...

    def again(self) -> None:
        """The stream's last word has been taken, and its first one follows."""
        ...


@dataclass
class _Even:
    """One that gives its words at an even pace: pauses are shared out."""

    cycles: float
    now: float = 0

    def begin(self, now: float) -> None:
        self.now = now

    def take(self, count: int, earliest: float) -> float:
        self.now = max(self.now, earliest) + count * self.cycles
        return self.now

    def again(self) -> None:
        """Nothing but another address."""


@dataclass
class _Pages:
    """A flash: words of a page are there when all of it is, and the page behind it comes meanwhile.

    Attributes
    ----------
    page : int
        Cycles in which one comes.
    left : int
        Words of the present page that are not taken.
    following : float
        When the first bits of the page behind it come.
    pace : int
        Cycles from one word of a page to the next.
    """

    page: int
    pace: int = _TAKEN
    now: float = 0
    left: int = 0
    following: float = 0

    def begin(self, now: float) -> None:
        # The length's page, and the stream's first one.
        self._jump(now)
        self._jump(self.now)

    def take(self, count: int, earliest: float) -> float:
        self.now = max(self.now, earliest)
        while count:
            if not self.left:
                self._turn()
            some = min(count, self.left)
            self.now += some * self.pace
            self.left -= some
            count -= some
        return self.now

    def again(self) -> None:
        self._jump(self.now)

    def _jump(self, now: float) -> None:
        self.following = now + _JUMP + self.page + 1
        self.now, self.left = self.following + _WHOLE, DATA_WORDS

    def _turn(self) -> None:
        """Leave the page, whose place the page behind the next one takes."""
        there, left = self.following + self.page + _WHOLE, self.now + 1
        self.following = max(self.following + self.page + 1, left + 2)
        self.now, self.left = max(left, there) + 1, DATA_WORDS


@dataclass
class _Queue:
    """Words of another one that wait on the chip.

    Attributes
    ----------
    source : Source
    room : int
        Words that have a place.
    taken : int
        Words so far.
    freed : deque of (int, float)
        Words that had been taken by a cycle, as far back as their places matter.
    """

    source: Source
    room: int
    now: float = 0
    taken: int = 0
    freed: deque[tuple[int, float]] = field(default_factory=deque)

    def __copy__(self) -> _Queue:
        return _Queue(copy(self.source), self.room, self.now, self.taken, self.freed.copy())

    def begin(self, now: float) -> None:
        self.source.begin(now)
        self.now = now

    def take(self, count: int, earliest: float) -> float:
        self.taken += count
        while self.freed and self.freed[0][0] < self.taken - self.room:
            self.freed.popleft()
        place = self.freed[0][1] if self.freed and self.taken > self.room else 0
        came = self.source.take(count, place) + _QUEUED
        self.now = max(self.now + count * _QUEUED, earliest + count * _QUEUED, came)
        self.freed.append((self.taken, self.now))
        return self.now

    def again(self) -> None:
        self.source.again()


def source_of(config: DeviceConfig) -> Source:
    """Return the store of a device."""
    kind = StoreKind(config.store_kind)
    bits = FLASH_BITS.get(kind)
    if not bits:
        return _Even(_PACES[kind])
    queued = kind in QUEUE_WORDS
    source = _Pages(32 // bits * PAGE_WORDS, _QUEUED if queued else _TAKEN)
    return _Queue(source, QUEUE_WORDS[kind]) if queued else source
