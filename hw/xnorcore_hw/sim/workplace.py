"""Folders and locks for builds, held while a process lives: what is left by a dead one can be told apart."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_PREFIX = ".build-"
_ATTEMPTS = 10


@contextmanager
def workplace(directory: Path) -> Iterator[Path]:
    """Make an empty folder in `directory`, and remove it afterwards.

    Raises
    ------
    OSError
        If that is not possible.
    """
    folder, descriptor = _make(directory)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def alone(path: Path, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that a file stands for, and remove the file afterwards; whoever else wants it waits.

    Parameters
    ----------
    path : Path
        Of the file, which is made.
    wait : callable
        Called once if somebody else holds the lock.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    descriptor = _hold(path, wait) if fcntl is not None else None
    try:
        yield
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)
            os.close(descriptor)


def _hold(path: Path, wait: Callable[[], None]) -> int | None:
    """Return a descriptor that holds the lock of a file; None in a file system without locks."""
    assert fcntl is not None
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Who held it has removed the file: then the lock is nobody's any more.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    return descriptor
        except OSError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def clear_abandoned(directory: Path) -> None:
    """Remove the folders that `workplace` made in `directory` for processes that are dead.

    The system gives up a process's locks when it ends, however it does: one that can be had is nobody's.
    """
    for folder in directory.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if folder.is_symlink() or not folder.is_dir() or fcntl is None or status.st_uid != os.getuid():
                continue
            descriptor = _lock(folder)
            if descriptor is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


def _make(directory: Path) -> tuple[Path, int | None]:
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))
        if fcntl is None:
            return folder, None
        try:
            descriptor = _lock(folder)
        except FileNotFoundError:
            continue
        except OSError:
            # Without locks in this file system nobody clears: `clear_abandoned` gets none either.
            return folder, None
        # Somebody who clears may have been quicker.
        if descriptor is not None and folder.is_dir():
            return folder, descriptor
        if descriptor is not None:
            os.close(descriptor)
    raise OSError(f"build folders in {directory} disappear at once")


def _lock(folder: Path) -> int | None:
    """Return a descriptor that holds the lock of a folder; None if somebody else has it."""
    assert fcntl is not None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
