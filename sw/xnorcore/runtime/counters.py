"""Reads the performance counters, which docs/architecture.md defines, also while images pass."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DeviceError
from ..isa.layout import COUNTERS, STORE_COUNTERS
from ..isa.protocol import Command
from ..link.pieces import END
from ..link.session import Session

__all__ = [
    "COUNT",
    "IDLE",
    "LOOK",
    "Watch",
    "causes_per_image",
    "read_counters",
    "unpack_counters",
    "watched",
]

IDLE = ("fetch", "hazard", "port", "tail", "wait_weights")
"""Counters of cycles in which the array does nothing for a batch that runs, by cause."""
LOOK = -1
"""What stands for a look at the counters where images of a request are counted."""
COUNT = (Command.COUNTERS, b"\0")
"""The request that reads the counters and leaves them as they are."""


def read_counters(session: Session) -> dict[str, int]:
    """Return the performance counters of a device that has any, by name.

    Raises
    ------
    DeviceError
        If it answers with another number of them.
    LinkError
        As for every request.
    """
    return unpack_counters(session.call(*COUNT))


def unpack_counters(payload: bytes) -> dict[str, int]:
    """Return what an answer to `COUNT` says, by name.

    Raises
    ------
    DeviceError
        If it has another number of counters.
    """
    for names in (COUNTERS, COUNTERS + STORE_COUNTERS):
        if len(payload) == 4 * len(names):
            return dict(zip(names, np.frombuffer(payload, "<u4").tolist(), strict=True))
    raise DeviceError(f"COUNTERS returned {len(payload)} bytes, not {4 * len(COUNTERS)}")


def causes_per_image(counters: Mapping[str, int], images: int) -> dict[str, Any]:
    """Return cycles per image: ``busy``, ``drain``, ``idle`` by cause, and the waits for the link."""
    share = {name: count / images for name, count in counters.items()}
    return {
        "busy": share["busy"],
        "drain": share["drain"],
        "idle": {name: share[name] for name in IDLE if name in share},
        "wait_output": share["wait_output"],
        "wait_input": share["wait_input"],
    }


@dataclass
class Watch:
    """Who looks at the counters while images are on their way.

    Attributes
    ----------
    seen : callable
        Called with the counters, as they were between two batches.
    every_s : float
        Seconds between two looks, at least. The device has no image in it while it answers.
    """

    seen: Callable[[dict[str, int]], None]
    every_s: float = 0.5

    def __post_init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        """Return whether it is time for the next look, which is then taken."""
        now = time.monotonic()
        if now - self._last < self.every_s:
            return False
        self._last = now
        return True


def watched(
    requests: Iterable[tuple[int, bytes]], expected: list[int], watch: Watch | None
) -> Iterator[tuple[int, bytes]]:
    """Put a look at the counters between INFER requests of different images, where one is due.

    Parameters
    ----------
    requests : iterable of (int, bytes)
        Command and payload.
    expected : list of int
        `requests` appends to it for each that it yields; for a look, `LOOK` is.
    watch : Watch or None
        None: nobody looks.
    """
    for number, (command, payload) in enumerate(requests):
        if watch is not None and number and not payload[0] & ~END and watch.due():
            expected.insert(-1, LOOK)
            yield COUNT
        yield command, payload
