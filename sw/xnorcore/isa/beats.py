"""The beats and slices of one layer, and when each may leave: the innermost part of `timing`."""

from __future__ import annotations

from math import prod

from .codes import start_words
from .descriptor import Descriptor
from .device import DeviceConfig
from .layout import LOOPS
from .oneport import OnePort
from .packed import PARTS
from .refill import Refill
from .scales import result_spacing, unit_cycles

__all__ = ["Beats"]


class Beats:
    """The beats and slices of one descriptor.

    Attributes
    ----------
    busy, drain : int
        How many there are of each.
    further : int
        Thresholds of a code behind the first one, each of which takes a cycle that reads nothing.
    adds : int
        Sums of rows that are added to a position's, each in a cycle that reads nothing.
    parts : int
        Words of a result.
    apart : int
        Cycles between two results at the least: those that write one, or take it through the results unit.
    late : int
        By how many cycles results come later than signs do.
    refill : Refill or None
        Where the weights come from, if not from the buffers.
    waited : int
        Cycles that beats have waited for them.
    """

    def __init__(self, descriptor: Descriptor, config: DeviceConfig) -> None:
        nest, g = descriptor.nest, config.geometry
        counts = {loop: nest.count(loop) for loop in LOOPS}
        self.tiles, self.window = counts["tile"], counts["win_x"] * counts["win_y"]
        self.results = counts["x"] * counts["y"]
        self.position = prod(counts[loop] for loop in ("run", "col", "row", "copy", "plane"))
        self.words = self.position // counts["plane"]
        self.refill: Refill | None = None
        self.waited = 0
        # Beats of a position from the last one on that takes a start value.
        self.behind = self.position
        if descriptor.double:
            self.behind = self.words // counts["copy"] * min(descriptor.single, counts["copy"])
        self.share = config.threshold_share
        bits = 1 if descriptor.slices else descriptor.bits
        unit = descriptor.rescaled and not descriptor.slices
        self.further = 0 if unit else start_words(bits) - 1
        # Start values of each column, and the word of the results unit.
        self.numbers = 2 if unit else self.further + 1
        self.adds = g.rows if descriptor.row_sum else 0
        self.parts = g.words_per_tile * (g.rows if descriptor.strips else 1) * bits
        if descriptor.packed:
            self.parts = PARTS
        short = descriptor.adding.short if descriptor.adding else 0
        self.apart = result_spacing(self.parts, config, short) if unit else self.parts
        self.late = unit_cycles(config, short) if unit else 0
        self.silent, self.slices = 0, 0
        self.whole = True
        if descriptor.slices:
            self.slices = min(descriptor.slices, config.acc_width - 1)
            self.silent = config.acc_width - 1 - self.slices
            self.whole = descriptor.slices == config.acc_width
        self.busy = nest.beats
        more = self.silent + self.slices + self.window * (self.adds + self.further)
        self.drain = self.tiles * self.results * more

    def run(self, first: int, free: int, memory: OnePort) -> tuple[int, int]:
        """Return the cycles of the first and the last beat with a result, or with a part of one to pool.

        Parameters
        ----------
        first : int
            In which a beat may leave.
        free : int
            In which one may that has a result.
        memory : OnePort
        """
        emitted = end = 0
        for tile in range(self.tiles):
            if self.refill:
                if tile:
                    self.refill.ended(end)
                there = self.refill.tile() - self.words + 1
                self.waited += max(there - first, 0)
                first = max(first, there)
            begins, end, used = self._result(first, free, memory, opens=True)
            emitted = emitted if tile else begins
            end, used = self._further(end, used, memory)
            # The next tile's start values are read where these are used up.
            first, free = max(end + 1, used + self.share), end + self.apart
        return emitted, end

    def _further(self, end: int, used: int, memory: OnePort) -> tuple[int, int]:
        """Return the cycles of a tile's last emission, and of its last start value, from its first result's.

        From where the memories are as they were behind an earlier result, all goes on as it did from there.
        """
        left = self.results - 1
        seen = {memory.state(end): (left, end)}
        while left:
            _, end, used = self._result(end + 1, end + self.apart, memory, opens=False)
            left -= 1
            state = memory.state(end)
            if state in seen:
                count, before = seen[state]
                times, left = divmod(left, count - left)
                later = times * (end - before)
                memory.pass_over(later)
                end, used, seen = end + later, used + later, {}
            else:
                seen[state] = left, end
        return end, used

    def _result(self, first: int, free: int, memory: OnePort, *, opens: bool) -> tuple[int, int, int]:
        """Return the cycles of the first and the last emission of a result, and of its last start value.

        `opens`: it is the first of its tile.
        """
        memory.forget(first)
        before = memory.read(first, self.position - 1)
        wanted = free if self.whole else before
        emits = memory.read(before + 1 if self.adds else max(before + 1, wanted), 1)
        if self.adds:
            # What leaves with the last beat leaves with the last of these.
            emits = max(emits + self.adds, wanted)
        used = emits if self.behind == 1 else memory.read(first, self.position - self.behind + 1)
        if not self.slices:
            end = emits + self.further
            for _ in range(self.window - 1):
                used = memory.read(end + 1, self.position - self.behind + 1)
                end = self._next(end, memory)
            memory.write(end + self.late, self.parts)
            return emits, end, used
        if self.whole:
            memory.write(emits, self.parts)
        free = emits + self.parts if self.whole else free
        # A tile's first beat is at the outputs until the slices behind it have left.
        wait = self.share if opens and self.position == 1 else 1
        begins = max(emits + wait + self.silent, free)
        memory.write(begins, self.slices * self.parts)
        return emits if self.whole else begins, begins + (self.slices - 1) * self.parts, used

    def _next(self, end: int, memory: OnePort) -> int:
        """Return the cycle of the last emission of a window's next position."""
        if not self.late:
            return memory.read(end + 1, self.position) + self.adds + self.further
        # The unit takes every position by itself.
        before = memory.read(end + 1, self.position - 1)
        if self.adds:
            return max(memory.read(before + 1, 1) + self.adds, end + self.apart)
        return memory.read(max(before + 1, end + self.apart), 1)
