"""Stored tensors as arrays: types and sizes are checked before anything is read or allocated."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError, UsageError
from ...files.userfile import open_regular
from ...model.check import brief
from .graph import MAX_ELEMENTS

# By number of onnx.TensorProto.DataType: dtype, field that holds the values when they are not raw bytes.
_TYPES = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
}
MAX_EXTERNAL = 1 << 30
"""Most bytes of external data of one model."""


def element_type(number: int, where: str) -> np.dtype[Any]:
    """Return the dtype of an ONNX element type.

    Raises
    ------
    ImportFailedError
        If it is none that numpy has.
    """
    if number not in _TYPES:
        raise ImportFailedError(f"{where}: element type {type_name(number)} is not supported; export float32")
    return np.dtype(_TYPES[number][0])


def type_name(number: int) -> str:
    """Return an ONNX element type's name, such as bfloat16, with its number if it has none."""
    try:
        return f"{number} ({onnx_type(number)})"
    except ValueError:
        return str(number)


def onnx_type(number: int) -> str:
    """Return the name of an element type.

    Raises
    ------
    ValueError
        If there is no such type.
    """
    from onnx import TensorProto

    return TensorProto.DataType.Name(number).lower()


def to_array(tensor: Any, where: str) -> NDArray[Any]:
    """Return a tensor's values; external data must have been read by `ExternalData` before.

    Parameters
    ----------
    tensor : onnx.TensorProto
    where : str
        For messages.

    Raises
    ------
    ImportFailedError
        If type, shape and stored values do not agree, or a value is not finite.
    """
    dtype = element_type(tensor.data_type, where)
    shape = tuple(tensor.dims)
    count = elements(shape, where)
    if tensor.HasField("segment") or tensor.data_location:
        raise ImportFailedError(f"{where}: is stored in a way that is not supported")
    if tensor.HasField("raw_data"):
        raw = tensor.raw_data
        if len(raw) != count * dtype.itemsize:
            raise ImportFailedError(
                f"{where}: {len(raw)} bytes of data, but shape {brief(shape)} of {dtype.name} takes "
                f"{count * dtype.itemsize}; the file is damaged"
            )
        if dtype.kind == "b" and raw.translate(None, b"\0\1"):
            raise ImportFailedError(f"{where}: a boolean is neither 0 nor 1; the file is damaged")
        array = np.frombuffer(raw, dtype).reshape(shape)
    else:
        array = _listed(tensor, dtype, count, where).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array).all():
        bad = array[~np.isfinite(array)].flat[0]
        raise ImportFailedError(
            f"{where}: holds {bad}; every parameter must be finite: look for a diverged training, or give a "
            "threshold that is never reached a large number"
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def elements(shape: tuple[int, ...], where: str) -> int:
    """Return the number of elements of a shape, which is checked.

    Raises
    ------
    ImportFailedError
        For a negative size, more than 8 axes, or too many elements.
    """
    if len(shape) > 8 or any(size < 0 for size in shape):
        raise ImportFailedError(f"{where}: shape {brief(shape)} is not legal; at most 8 sizes, none negative")
    count = math.prod(shape)
    if count > MAX_ELEMENTS:
        raise ImportFailedError(f"{where}: {count} elements, the limit is {MAX_ELEMENTS}")
    return count


def _listed(tensor: Any, dtype: np.dtype[Any], count: int, where: str) -> NDArray[Any]:
    values = getattr(tensor, _TYPES[tensor.data_type][1])
    if len(values) != count:
        raise ImportFailedError(
            f"{where}: {len(values)} values, but shape {brief(tuple(tensor.dims))} takes {count}; the file "
            "is damaged"
        )
    if tensor.data_type == 10:  # float16 is listed as its bits
        bits = np.fromiter(values, np.int64, count)
        _fits(bits, np.dtype(np.uint16), where)
        return bits.astype(np.uint16).view(np.float16)
    if dtype.kind == "f":
        return np.fromiter(values, dtype, count)
    wide = np.fromiter(values, np.uint64 if dtype.kind == "u" and dtype.itemsize >= 4 else np.int64, count)
    _fits(wide, dtype, where)
    return wide.astype(dtype)


def _fits(values: NDArray[Any], dtype: np.dtype[Any], where: str) -> None:
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if values.size and (values.min() < low or values.max() > high):
        raise ImportFailedError(f"{where}: a value does not fit {dtype.name}; the file is damaged")


class ExternalData:
    """Files beside the model that hold tensors, confined to the model's folder.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.total = 0

    def embed(self, tensor: Any, where: str) -> None:
        """Read a tensor's bytes from its file into the tensor, if it has one.

        Raises
        ------
        ImportFailedError
            If the path leaves the model's folder, or the file is missing, not regular or too short.
        """
        if tensor.data_location != 1:
            return
        entries = {entry.key: entry.value for entry in tensor.external_data}
        dtype = element_type(tensor.data_type, where)
        expected = elements(tuple(tensor.dims), where) * dtype.itemsize
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", expected))
        except ValueError:
            raise ImportFailedError(f"{where}: offset or length of its external data is no number") from None
        if offset < 0 or length != expected:
            raise ImportFailedError(
                f"{where}: external data of {length} bytes at {offset}, but its shape takes {expected}"
            )
        self.total += length
        if self.total > MAX_EXTERNAL:
            raise ImportFailedError(f"{where}: more than {MAX_EXTERNAL} bytes of external data")
        raw = self._read(self._path(entries.get("location", ""), where), offset, length, where)
        tensor.raw_data = raw
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")

    def _path(self, location: str, where: str) -> Path:
        shown = brief(location, 100)
        relative = Path(location)
        legal = location and "\0" not in location and "\\" not in location
        if not legal or relative.is_absolute() or ".." in relative.parts:
            raise ImportFailedError(f"{where}: external data {shown} must be a file in the model's folder")
        try:
            folder = self.folder.resolve()
            path = (folder / relative).resolve()
        except (OSError, RuntimeError, ValueError):
            raise ImportFailedError(f"{where}: external data {shown} cannot be found") from None
        if not path.is_relative_to(folder):
            raise ImportFailedError(f"{where}: external data {shown} leads out of the model's folder")
        return path

    def _read(self, path: Path, offset: int, length: int, where: str) -> bytes:
        shown = brief(path.name, 100)
        try:
            with open_regular(path) as file:
                status = os.fstat(file.fileno())
                if offset + length > status.st_size:
                    raise ImportFailedError(
                        f"{where}: external data {shown} has {status.st_size} bytes, but {offset + length} "
                        "are needed; it is truncated, or of another model"
                    )
                file.seek(offset)
                raw = file.read(length)
        except UsageError:
            raise ImportFailedError(f"{where}: external data {shown} is not a regular file") from None
        except OSError as error:
            raise ImportFailedError(
                f"{where}: external data {shown} cannot be read ({error.strerror}); keep it beside the model"
            ) from None
        if len(raw) != length:
            raise ImportFailedError(f"{where}: external data {shown} ended early")
        return raw
