"""Where compiled simulators live, and what makes two of them the same."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import xnorcore
from xnorcore.errors import EngineError
from xnorcore.files.cache import cache_directory
from xnorcore.files.userfile import move_into_place

from .workplace import alone, clear_abandoned, workplace

_DIGITS = 16
"""Of the checksum in a file's name."""
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_HERE = Path(__file__).resolve().parent


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


def cached(name: str, build: Callable[[Path], Path], say: Callable[[str], None] = lambda text: None) -> Path:
    """Return a file of the cache whose contents are as they were built, building it if there is none.

    Its name ends with a checksum of its contents: file and checksum appear in one step. What runs inside
    this process has to be ours: nobody else may own it or be allowed to write it.

    Parameters
    ----------
    name : str
        Name with ending; the checksum is put in between.
    build : callable
        ``build(folder)`` makes the file in an empty folder and returns its path. It is moved into place
        whole, so a build that fails or is interrupted leaves nothing half-built. While one process builds
        it, others that want it wait.
    say : callable, optional
        Told in a line of text about a file that was not as it should be, and about waiting.

    Raises
    ------
    EngineError
        If the cache folder cannot be written, or cannot keep files from others.
    """
    directory = cache_directory()
    try:
        if found := _found(directory, name, say):
            return found
        directory.mkdir(parents=True, exist_ok=True)
        clear_abandoned(directory)
        with alone(
            directory / f".{name}.lock", lambda: say(f"waiting for another process that builds {name}")
        ):
            return _found(directory, name, say) or _built(directory, name, build)
    except OSError as error:
        raise EngineError(
            f"cannot write the simulator cache {directory}: {error.strerror or error}; "
            "set XNORCORE_CACHE to a writable folder"
        ) from error


def _found(directory: Path, name: str, say: Callable[[str], None]) -> Path | None:
    """Return the file that is there; throw away those that are not as they should be."""
    for found in _candidates(directory, name):
        try:
            fault = _fault(found)
        except FileNotFoundError:  # another process has just thrown it away
            continue
        if not fault:
            return found
        say(f"simulator {found.name} in the cache {fault}: building it again")
        discard(found)
    return None


def _built(directory: Path, name: str, build: Callable[[Path], Path]) -> Path:
    """Build the file, and move it into place."""
    with workplace(directory) as folder:
        built = build(folder)
        built.chmod(stat.S_IMODE(built.stat().st_mode) & ~_OTHERS)
        target = directory / f"{Path(name).stem}-{_checksum(built)}{Path(name).suffix}"
        move_into_place(built, target)
    if fault := _fault(target):
        raise EngineError(
            f"simulator cache {directory}: what was just built there {fault}; set XNORCORE_CACHE to a "
            "folder of your own"
        )
    return target


def discard(path: Path) -> None:
    """Take a file out of the cache, if it can be."""
    with contextlib.suppress(OSError):
        path.unlink()


def _candidates(directory: Path, name: str) -> list[Path]:
    stem, ending = re.escape(Path(name).stem), re.escape(Path(name).suffix)
    pattern = re.compile(f"{stem}-[0-9a-f]{{{_DIGITS}}}{ending}")
    if not directory.is_dir():
        return []
    return sorted(entry for entry in directory.iterdir() if pattern.fullmatch(entry.name))


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:_DIGITS]


def _fault(path: Path) -> str:
    """Say in words why a file of the cache must not be loaded; empty if it may."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if hasattr(os, "getuid"):
        if status.st_uid not in (os.getuid(), 0):
            return "belongs to another user"
        if status.st_mode & _OTHERS:
            return "can be written by other users"
    return "" if _checksum(path) == path.stem.rpartition("-")[2] else "is damaged"
