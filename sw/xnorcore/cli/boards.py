"""Devices of boards by name, wherever boards are installed."""

from __future__ import annotations

from importlib import metadata

from ..errors import UsageError
from ..isa.device import DeviceConfig

__all__ = ["BOARDS", "configuration", "configurations"]

BOARDS = "xnorcore.boards"
"""Entry-point group of boards: each entry is called and returns a dict of name to `DeviceConfig`."""


def configurations() -> dict[str, DeviceConfig]:
    """Return the default device of every board that is installed."""
    found: dict[str, DeviceConfig] = {}
    for entry in sorted(metadata.entry_points(group=BOARDS), key=lambda entry: entry.name):
        found |= entry.load()()
    return found


def configuration(name: str) -> DeviceConfig:
    """Return a board's default device.

    Raises
    ------
    UsageError
        If there is no such board.
    """
    known = configurations()
    if name not in known:
        raise UsageError(f"unknown board {name!r}; known: {', '.join(known) or 'none is installed'}")
    return known[name]
