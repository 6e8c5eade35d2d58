"""The folder of what can be made again: compiled simulators, copies of kept networks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..errors import EngineError

__all__ = ["cache_directory"]


def cache_directory() -> Path:
    """Return the folder of compiled simulators, without creating it.

    ``$XNORCORE_CACHE`` if set, else ``xnorcore`` in the user's cache folder. An absolute path: the loader
    looks for bare names elsewhere.

    Raises
    ------
    EngineError
        If there is no home folder.
    """
    try:
        chosen = os.environ.get("XNORCORE_CACHE")
        if chosen:
            return Path(chosen).expanduser().absolute()
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "xnorcore"
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base).absolute() if base else Path.home() / ".cache") / "xnorcore"
    except RuntimeError as error:
        raise EngineError(f"no folder for the simulator cache ({error}); set XNORCORE_CACHE") from None
