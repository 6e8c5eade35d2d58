"""Where compiled simulators live, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import xnorcore
from xnorcore.errors import EngineError

_HERE = Path(__file__).resolve().parent


def cache_directory() -> Path:
    """Return the folder of compiled simulators, without creating it.

    ``$XNORCORE_CACHE`` if set, else ``xnorcore`` in the user's cache folder.
    """
    chosen = os.environ.get("XNORCORE_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "xnorcore"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "xnorcore"


def source_digest() -> str:
    """Return a hash of every source file that can change what is simulated."""
    digest = hashlib.sha256()
    for root in (_HERE.parent, Path(xnorcore.__file__).resolve().parent):
        for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".cc", ".h")):
            data = path.read_bytes()
            digest.update(f"{path.relative_to(root)}\0{len(data)}\0".encode())
            digest.update(data)
    return digest.hexdigest()


def key(*parts: object) -> str:
    """Return 24 hexadecimal digits that name a build: `parts` and the machine's kind."""
    text = json.dumps([[str(part) for part in parts], sys.platform, platform.machine()])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def cached(name: str, build: Callable[[Path], Path]) -> Path:
    """Return the file `name` of the cache, building it first if it is not there.

    Parameters
    ----------
    name : str
    build : callable
        ``build(folder)`` makes the file in an empty folder and returns its path. It is moved into place
        whole, so a build that fails, is interrupted or runs twice at once leaves nothing half-built.

    Raises
    ------
    EngineError
        If the cache folder cannot be written.
    """
    directory = cache_directory()
    target = directory / name
    if target.is_file():
        return target
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=directory) as folder:
            built = build(Path(folder))
            built.replace(target)
    except OSError as error:
        raise EngineError(
            f"cannot write the simulator cache {directory}: {error.strerror or error}; "
            "set XNORCORE_CACHE to a writable folder"
        ) from error
    return target
