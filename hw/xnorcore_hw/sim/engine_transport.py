"""An engine as a transport of the driver, in the device's time."""

from __future__ import annotations

import math

from .engine import Engine

__all__ = ["EngineTransport"]


class EngineTransport:
    """A `Transport` whose other end is an engine and whose time is the device's.

    The clock advances only while `read` waits.

    Parameters
    ----------
    engine : Engine
    clock_hz : int
        Cycles per second.
    name : str
        What messages call it.
    at_once : int
        Cycles between two looks at Ctrl-C, which waits for their end.
    """

    def __init__(self, engine: Engine, clock_hz: int, name: str, at_once: int) -> None:
        self.engine, self.clock_hz, self.name = engine, clock_hz, name
        self._at_once = at_once
        self._last: int | None = None

    @property
    def cycles(self) -> int:
        """Clock cycles run so far, or until it was closed."""
        return self.engine.cycles if self._last is None else self._last

    def write(self, data: bytes) -> None:
        """Queue `data`; it moves while `read` waits."""
        self.engine.write(data)

    def read(self, timeout: float) -> bytes:
        """Run the device until something arrives, for at most `timeout` seconds of its time.

        Parameters
        ----------
        timeout : float
            Seconds of `now`.

        Returns
        -------
        bytes
            Usually up to the end of a frame; ``b""`` after `timeout`.

        Raises
        ------
        EngineError
            If the simulation fails.
        """
        engine = self.engine
        end = engine.cycles + math.ceil(timeout * self.clock_hz)
        while (left := end - engine.cycles) > 0:
            data = engine.run(min(left, self._at_once))
            if data:
                return data
        return b""

    def now(self) -> float:
        """Return seconds of device time, `cycles` / `clock_hz`."""
        return self.cycles / self.clock_hz

    def discard(self) -> None:
        """Drop what has arrived; nothing has, because bytes arrive only while `read` waits."""

    def restart(self) -> None:
        """Switch the device off and on: only what a flash holds is still there."""
        self.engine.reset()

    def close(self) -> None:
        """Stop the simulation."""
        if self._last is None:
            self._last = self.engine.cycles
        self.engine.close()
