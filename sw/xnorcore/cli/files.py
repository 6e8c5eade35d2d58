"""Image and result files of the command line, in NumPy's .npy format."""

from __future__ import annotations

import io
import os
import stat
import warnings
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import FileFormatError, InputError, UsageError
from ..network import Network, prepare
from ..xnorfile import atomic_write

MAX_FILE = 4 << 30
"""Largest image file in bytes."""
_MAX_DIMENSIONS = 8
_MAX_HEADER = 1 << 16
# Version 3 exists for records with names that are not Latin.
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_images(path: str, network: Network) -> NDArray[np.uint8]:
    """Read images for a network from an .npy file.

    The file's size is compared with what its header promises before any memory is taken for the images.

    Returns
    -------
    array of uint8, shape (n, network.input.size)
        As `xnorcore.network.prepare` returns them; at least one image.

    Raises
    ------
    UsageError
        If the file cannot be read.
    FileFormatError
        If it is not an .npy file of booleans or integers, or is truncated.
    InputError
        If there is no image in it, or the images do not fit the network.
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"cannot read {path}: not a regular file")
            if status.st_size > MAX_FILE:
                raise FileFormatError(f"{path}: {status.st_size} bytes, the limit is {MAX_FILE}; split it")
            array = _read(path, file, status.st_size)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        images = prepare(network, array)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not len(images):
        raise InputError(f"{path}: holds no images")
    return images


def _read(path: str, file: BinaryIO, size: int) -> NDArray[Any]:
    # numpy would take memory for a header of any length that the file claims.
    head = io.BytesIO(file.read(_MAX_HEADER))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = _READERS[npy.read_magic(head)]
            shape, fortran, dtype = reader(head)
    except Exception:  # numpy evaluates the header as a Python literal, with every error that may have
        raise FileFormatError(f"{path}: not an .npy file, or its header is damaged") from None
    if dtype.kind not in "biu":
        raise FileFormatError(f"{path}: holds {str(dtype)[:40]}, but images must be bool or integers")
    if len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise FileFormatError(f"{path}: impossible shape {str(shape)[:60]}")
    needed, there = prod(shape) * dtype.itemsize, size - head.tell()
    if needed != there:
        what = "truncated" if needed > there else "too long"
        raise FileFormatError(f"{path}: {what}: shape {shape} needs {needed} bytes, the file has {there}")
    file.seek(head.tell())
    data = file.read(needed)
    if len(data) != needed:
        raise FileFormatError(f"{path}: truncated while it was read")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def check_output(path: str | None, source: str | None = None) -> None:
    """Refuse an output file that could not be written, or is the input, before the work that fills it.

    Raises
    ------
    UsageError
        If there is no such folder, it is not writable, or the name belongs to something else than a file.
    """
    if path is None:
        return
    target = Path(path)
    if source is not None and target.exists() and Path(source).exists() and target.samefile(source):
        raise UsageError(f"cannot write {path}: it is the input file; choose another name")
    if not target.name or target.is_dir():
        raise UsageError(f"cannot write {path!r}: it is a directory; name a file in it")
    if target.exists() and not target.is_file():
        raise UsageError(f"cannot write {path}: not a regular file")
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {path}: no directory {target.parent}; create it first")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: no permission to write in {target.parent}")


def write_array(path: str | None, array: NDArray[Any]) -> None:
    """Write an .npy file, which appears complete or not at all; nothing if `path` is None.

    Raises
    ------
    UsageError
        If it cannot be written.
    """
    if path is None:
        return
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    atomic_write(path, buffer.getvalue())
