"""When memories of one port take results, for the model of cycles (`timing`)."""

from __future__ import annotations

from .device import DeviceConfig

__all__ = ["OnePort"]


class OnePort:
    """The cycles in which results are written to memories of one port, where no beat can read them.

    Slices of scores read nothing. With two ports, nothing waits.
    """

    def __init__(self, config: DeviceConfig) -> None:
        self.single, self.latency = config.act_ports == 1, config.latency
        self._taken: list[tuple[int, int]] = []

    def forget(self, now: int) -> None:
        """Nothing before this cycle will be asked for."""
        self._taken = [span for span in self._taken if span[1] > now]

    def read(self, first: int, beats: int) -> int:
        """Return the cycle of the last one of some beats, of which the first may leave in `first`."""
        after = first  # the cycle in which the next beat may leave
        for start, stop in self._taken:
            ahead = max(start - after, 0)
            if beats <= ahead:
                break
            if stop > after:
                beats, after = beats - ahead, stop
        return after + beats - 1

    def write(self, emitted: int, words: int) -> None:
        """Take the cycles that write a result."""
        if self.single:
            self._taken.append((emitted + self.latency, emitted + self.latency + words))

    def state(self, now: int) -> tuple[tuple[int, int], ...]:
        """Return what is taken behind this cycle, counted from it."""
        return tuple((max(start - now, 1), stop - now) for start, stop in self._taken if stop > now + 1)

    def pass_over(self, cycles: int) -> None:
        """Go on to a later time at which everything is as it is now."""
        self._taken = [(start + cycles, stop + cycles) for start, stop in self._taken]
