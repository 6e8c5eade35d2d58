"""What a worker does: one piece at a time, and only with the sources that whoever asks has."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import XnorcoreError

__all__ = ["attempt", "same", "sources"]

# PyTorch's random numbers and threads, and what a command sets in its environment, are of the whole process.
_ONE_AT_A_TIME = threading.Lock()


def attempt(call: Callable[..., Any], *arguments: Any) -> tuple[Any, XnorcoreError | None]:
    """Call a function; return its result, or the error that a user can mend."""
    with _ONE_AT_A_TIME:
        try:
            return call(*arguments), None
        except XnorcoreError as error:
            return None, error


def same(value: Any) -> Any:
    """Return the value: a piece of work that puts it where others need it, again if that place is lost."""
    return value


def sources(packages: Sequence[str]) -> str:
    """Return a hash of the Python files of packages; of one that is not installed, nothing."""
    return _sources(tuple(packages))


@lru_cache
def _sources(packages: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for package in packages:
        spec = find_spec(package)
        for folder in map(Path, spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(folder.rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
