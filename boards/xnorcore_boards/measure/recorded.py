"""The builds that were measured: the file of them behind the documentation's table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from xnorcore.errors import BuildError
from xnorcore.isa.device import DeviceConfig

from .estimate import config_of

__all__ = ["MEASURED", "measured", "read_records"]

MEASURED = Path(__file__).with_name("measured.json")
"""Measured builds by board; part of the package."""


def read_records(path: Path = MEASURED) -> dict[str, Any]:
    """Return the measured builds by board; none if there is no file.

    Raises
    ------
    BuildError
        If the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BuildError(f"cannot read {path}: {error}; restore it from the repository") from None


def measured(name: str, config: DeviceConfig, clock_hz: int, path: Path = MEASURED) -> dict[str, Any] | None:
    """Return a board's measured build, if it is one of this configuration at this clock."""
    found = read_records(path).get(name)
    if not found or config_of(found["config"]) != config or found["clock_mhz"] != round(clock_hz / 1e6, 3):
        return None
    return found
