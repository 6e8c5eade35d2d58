"""Arrays in NumPy's .npy format, read without trusting them: sizes are checked before memory is taken."""

from __future__ import annotations

import io
import warnings
from math import prod
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..errors import FileFormatError

_MAX_DIMENSIONS = 8
_MAX_HEADER = 1 << 16
_PART = 1 << 24
_WANTED = {
    "biu": "images must be bool or integers",
    "biuf": "images must be bool, integers or floats",
    "iu": "labels must be integers",
    "U": "names must be text",
}
# Version 3 exists for records with names that are not Latin.
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read(path: str, file: IO[bytes], size: int, kinds: str = "biu") -> NDArray[Any]:
    """Read one array.

    Parameters
    ----------
    path : str
        For messages.
    file : file of bytes
        At its start; it need not be seekable.
    size : int
        Its length in bytes, as the system or the archive says: what the header promises must fill it.
    kinds : {"biu", "biuf", "iu", "U"}
        Legal kinds of dtype, as NumPy names them.

    Returns
    -------
    array
        Writable.

    Raises
    ------
    FileFormatError
        If it is not an .npy file, holds another dtype, or is truncated or too long.
    """
    # numpy would take memory for a header of any length that the file claims.
    head = io.BytesIO(file.read(_MAX_HEADER))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader = _READERS[npy.read_magic(head)]
            shape, fortran, dtype = reader(head)
    except Exception:  # numpy evaluates the header as a Python literal, with every error that may have
        raise FileFormatError(f"{path}: not an .npy file, or its header is damaged") from None
    if dtype.kind not in kinds or not dtype.itemsize:
        raise FileFormatError(f"{path}: holds {str(dtype)[:40]}, but {_WANTED[kinds]}")
    if len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise FileFormatError(f"{path}: impossible shape {str(shape)[:60]}")
    needed, there = prod(shape) * dtype.itemsize, size - head.tell()
    if needed != there:
        what = "truncated" if needed > there else "too long"
        raise FileFormatError(f"{path}: {what}: shape {shape} needs {needed} bytes, the file has {there}")
    data = bytearray(needed)
    found = head.readinto(data)
    while found < needed and (part := file.read(min(needed - found, _PART))):
        data[found : found + len(part)] = part
        found += len(part)
    # Reading on to the end also makes an archive check what it gave.
    if found != needed or head.read(1) or file.read(1):
        raise FileFormatError(f"{path}: its size changed while it was read")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def dumps(array: NDArray[Any]) -> bytes:
    """Return the bytes of a file that holds `array`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
