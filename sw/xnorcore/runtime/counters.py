"""Reads the performance counters, which docs/architecture.md defines."""

from __future__ import annotations

import numpy as np

from ..errors import DeviceError
from ..isa.layout import COUNTERS
from ..isa.protocol import Command
from ..link.session import Session

__all__ = ["read_counters"]


def read_counters(session: Session) -> dict[str, int]:
    """Return the performance counters of a device that has any, by name.

    Raises
    ------
    DeviceError
        If it answers with another number of them.
    LinkError
        As for every request.
    """
    payload = session.call(Command.COUNTERS, b"\0")
    if len(payload) != 4 * len(COUNTERS):
        raise DeviceError(f"COUNTERS returned {len(payload)} bytes, not {4 * len(COUNTERS)}")
    return dict(zip(COUNTERS, np.frombuffer(payload, "<u4").tolist(), strict=True))
