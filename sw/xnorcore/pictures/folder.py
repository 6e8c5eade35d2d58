"""Which pictures a path names: a file, or all below a folder; links never lead out of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..files.userfile import refuse_special
from .decoding import SUFFIXES

MAX_PICTURES = 200_000
"""Most pictures of one folder."""
_DEPTH = 8


@dataclass(frozen=True)
class Found:
    """A file that should hold a picture.

    Attributes
    ----------
    path : pathlib.Path
    parts : tuple of str
        Its place below the folder that was named: folders, then the file.
    """

    path: Path
    parts: tuple[str, ...]


def find(path: str | os.PathLike[str]) -> list[Found]:
    """Return the pictures that a path names, in the order of their names.

    Parameters
    ----------
    path : path
        A file of any name, or a folder: then all files below it with a name that ends in one of `SUFFIXES`.
        Hidden files, and links that lead out of the folder, are left out.

    Raises
    ------
    UsageError
        If there is no such file or folder, or no picture in it, or more than `MAX_PICTURES`.
    """
    root = Path(path)
    refuse_special(root)
    if root.is_file():
        return [Found(root, (root.name,))]
    if not root.is_dir():
        raise UsageError(f"no picture {str(root)!r}: neither a file nor a folder")
    found: list[Found] = []
    _walk(root, root.resolve(), (), found)
    if not found:
        raise UsageError(f"no pictures in {str(root)!r}: no file in it ends in {', '.join(SUFFIXES)}")
    return found


def _walk(folder: Path, home: Path, parts: tuple[str, ...], found: list[Found]) -> None:
    try:
        entries = sorted(folder.iterdir(), key=lambda each: each.name)
    except OSError as error:
        raise UsageError(f"cannot read folder {str(folder)!r}: {error.strerror or error}") from None
    for entry in entries:
        if entry.name.startswith(".") or (entry.is_symlink() and not _inside(entry, home)):
            continue
        if entry.is_dir():
            # A link to a folder above would never end.
            if len(parts) < _DEPTH and not entry.is_symlink():
                _walk(entry, home, (*parts, entry.name), found)
        elif entry.suffix.lower() in SUFFIXES and entry.is_file():
            if len(found) >= MAX_PICTURES:
                raise UsageError(f"more than {MAX_PICTURES} pictures in {str(home)!r}; use a part of them")
            found.append(Found(entry, (*parts, entry.name)))


def _inside(entry: Path, home: Path) -> bool:
    try:
        return entry.resolve(strict=True).is_relative_to(home)
    except (OSError, RuntimeError):  # dangling, or a circle
        return False


def is_folder(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a folder with pictures in it, and no files of a data set of arrays."""
    root = Path(path)
    try:
        if not root.is_dir() or any(each.suffix in (".npy", ".bin", ".gz") for each in root.iterdir()):
            return False
        return bool(find(root))
    except (OSError, UsageError):
        return False


def classes_of(path: str | os.PathLike[str]) -> list[str]:
    """Return the classes of a folder ``class/picture``, sorted; none if it is not one.

    A folder is one if it holds folders with pictures, and no pictures of its own. Of a folder with ``test``
    (and ``train``), the classes are the folders in these.
    """
    root = Path(path)
    if not root.is_dir():
        return []
    try:
        names = {each.name for each in root.iterdir() if each.is_dir() and not each.name.startswith(".")}
        if names and names <= {"train", "test"}:
            return sorted({name for part in names for name in classes_of(root / part)})
        found = find(root)
    except (OSError, UsageError):
        return []
    if any(len(each.parts) < 2 for each in found):
        return []
    return sorted({each.parts[0] for each in found})
