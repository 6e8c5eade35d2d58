"""Compiled inner loops of `xnorcore.reference.fast`, where some are installed and can be built."""

from __future__ import annotations

import os
from functools import cache
from importlib import metadata
from typing import Any

GROUP = "xnorcore.kernels"
"""Entry-point group; an entry is called and returns the loops, or None where they cannot be built."""
VARIABLE = "XNORCORE_KERNELS"
"""Environment variable: ``numpy`` does without them."""


@cache
def load() -> Any:
    """Return compiled loops, or None."""
    if os.environ.get(VARIABLE) == "numpy":
        return None
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        found = entry.load()()
        if found is not None:
            return found
    return None
