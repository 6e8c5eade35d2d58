"""IDX files: unsigned bytes behind a header of sizes, as MNIST and its successors come, plain or gzipped."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import FileFormatError, UsageError
from ..files.userfile import open_regular

LIMIT = 1 << 28
"""Largest content in bytes; MNIST's largest file holds 47 MB."""

MAX_RATIO, FREE = 64, 16 << 20
"""Compressed data may grow by this factor and by so many bytes: images grow fivefold."""

_UNSIGNED_BYTES = 0x08


def find(folder: Path, name: str) -> Path | None:
    """Return the file `name` in `folder`, plain or with ``.gz``, or None; `opened` refuses pipes."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists() and not path.is_dir():
            return path
    return None


def read(path: Path, dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes. Sizes are checked before anything is allocated.

    Parameters
    ----------
    path : pathlib.Path
        With the suffix ``.gz``: gzipped.
    dimensions : int
        What the file must have: 1 for labels, 3 for images.

    Returns
    -------
    numpy.ndarray
        uint8, writable.

    Raises
    ------
    FileFormatError
        If the file cannot be read, is no such IDX file, is larger than `LIMIT` or its content is shorter or
        longer than its header says.
    """
    with opened(path) as file:
        packed = path.stat().st_size if path.suffix == ".gz" else None
        return _parse(file, path, dimensions, packed)


def check_growth(what: str, packed: int, size: int) -> None:
    """Refuse compressed data that says it becomes far larger than images do.

    Raises
    ------
    FileFormatError
        If `size` is more than `MAX_RATIO` times `packed`, and `FREE`.
    """
    if size > MAX_RATIO * packed + FREE:
        raise FileFormatError(
            f"{what}: {packed} bytes would become {size}, the limit is {MAX_RATIO * packed + FREE}; "
            "store it without compression"
        )


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a plain or gzipped file, and say so in one line if it cannot be read, at whatever point.

    Raises
    ------
    FileFormatError
        If it is no regular file, cannot be read, or its compression is damaged.
    """
    try:
        with open_regular(path) as file:
            if path.suffix == ".gz":
                with gzip.open(file) as content:
                    yield content  # type: ignore[misc]
            else:
                yield file
    except (UsageError, IsADirectoryError):
        raise FileFormatError(f"{str(path)!r} is not a regular file; give another one") from None
    except (OSError, EOFError, zlib.error) as error:
        raise FileFormatError(f"{str(path)!r} cannot be read: {error}; install or copy it again") from None


def _parse(file: IO[bytes], path: Path, dimensions: int, packed: int | None) -> np.ndarray:
    header = file.read(4 + 4 * dimensions)
    magic = bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if header[:4] != magic:
        raise FileFormatError(
            f"{str(path)!r} starts with {header[:4].hex() or 'nothing'}, but an IDX file of bytes with "
            f"{dimensions} dimensions starts with {magic.hex()}; give the right file"
        )
    if len(header) < 4 + 4 * dimensions:
        raise FileFormatError(f"{str(path)!r} ends in its header; install or copy it again")
    shape = [int(size) for size in np.frombuffer(header, ">u4", offset=4)]
    size = prod(shape)
    if not 1 <= size <= LIMIT:
        raise FileFormatError(
            f"{str(path)!r} says that it holds {' x '.join(map(str, shape))} bytes, but 1 to {LIMIT} are "
            "legal; give another file"
        )
    if packed is not None:
        check_growth(repr(str(path)), packed, size)
    # One byte more than there should be: a file that is too long shows itself, and costs no memory.
    content = file.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise FileFormatError(
            f"{str(path)!r} should hold {size} bytes behind its header, but holds {found}; "
            "install or copy it again"
        )
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)
