"""Files out of a gzipped tarball that is not trusted: read by name and exact size, never extracted."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import FileFormatError
from ..files.userfile import open_regular

MAX_MEMBERS = 4096
MAX_BYTES = 96 << 20
"""Most bytes of the tarball, compressed and decompressed; MNIST's has 55 MB."""


class _Bounded:
    """A stream that ends with an error behind so many bytes: a small file cannot become endless work."""

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self._file, self._left = file, limit

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size if 0 <= size <= self._left else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(f"more than {MAX_BYTES} bytes decompressed")
        return data


def read(path: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    """Read files from a ``.tgz``.

    Parameters
    ----------
    path : pathlib.Path
    sizes : dict of str to int
        By the last part of each wanted file's name: the size that it must have.

    Returns
    -------
    dict of str to bytes

    Raises
    ------
    FileFormatError
        If the tarball is damaged or too large, a file is missing, there twice, or of another size.
    """
    found: dict[str, bytes] = {}
    try:
        with open_regular(path) as file, gzip.open(file) as compressed:
            if os.fstat(file.fileno()).st_size > MAX_BYTES:
                raise FileFormatError(f"{str(path)!r} has more than {MAX_BYTES} bytes; give another file")
            stream: Any = _Bounded(compressed, MAX_BYTES)
            # A stream is read once, from front to back; links and paths have no meaning in it.
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                for count, member in enumerate(archive):
                    if count >= MAX_MEMBERS:
                        raise FileFormatError(
                            f"{str(path)!r} holds more than {MAX_MEMBERS} files; give another tarball"
                        )
                    name = PurePosixPath(member.name).name
                    if name in sizes and member.isreg():
                        _take(path, archive, member, name, sizes[name], found)
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError, OverflowError) as error:
        raise FileFormatError(
            f"{str(path)!r} is not a gzipped tarball, or is damaged: {error}; get it again"
        ) from None
    missing = sorted(set(sizes) - set(found))
    if missing:
        raise FileFormatError(f"{str(path)!r} does not hold {', '.join(missing)}; give another tarball")
    return found


def _take(
    path: Path,
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    name: str,
    size: int,
    found: dict[str, bytes],
) -> None:
    if name in found:
        raise FileFormatError(f"{str(path)!r} holds {name} twice; give another tarball")
    if member.size != size:
        raise FileFormatError(
            f"{name} in {str(path)!r} has {member.size} bytes, but must have {size}; give another tarball"
        )
    file = archive.extractfile(member)
    content = b"" if file is None else file.read(size)
    if len(content) != size:
        raise FileFormatError(f"{name} in {str(path)!r} is truncated; get it again")
    found[name] = content
