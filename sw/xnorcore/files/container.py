"""Files of tensors and one description, in a safetensors container with a checksum over everything.

Nothing in such a file is trusted: sizes are checked before memory is taken.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save as _serialize

from ..errors import FileFormatError
from ..model.check import brief

Tensors = Mapping[str, NDArray[Any]]

_DTYPES = {
    "U8": np.dtype(np.uint8), "I32": np.dtype("<i4"), "I64": np.dtype("<i8"), "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}  # fmt: skip


def dumps(key: str, description: dict[str, Any], tensors: Tensors) -> bytes:
    """Return the file's bytes; equal contents give equal bytes.

    Parameters
    ----------
    key : str
        Of the one metadata entry, which holds the description as JSON, with the checksum as ``sha256``.
    description : dict
        What JSON holds.
    tensors : mapping of str to array
        Of the dtypes uint8, int32, int64, float32, float64.
    """
    text = _canonical({**description, "sha256": digest(description, tensors)})
    # One metadata key: safetensors does not keep the order of several.
    return _serialize(dict(tensors), {key: text})


def digest(description: dict[str, Any], tensors: Tensors) -> str:
    """SHA-256 (hex) of a description and its tensors."""
    found = hashlib.sha256(_canonical(description).encode())
    for name in sorted(tensors):
        found.update(b"\0" + name.encode() + b"\0" + tensors[name].tobytes())
    return found.hexdigest()


def dtype_name(array: NDArray[Any]) -> str:
    """The name that the container has for an array's dtype; empty if it takes none such."""
    return next((name for name, dtype in _DTYPES.items() if dtype == array.dtype), "")


def read_description(data: bytes, key: str, what: str, most: int) -> dict[str, Any]:
    """Return the description, the checksum included, of a file's bytes.

    Parameters
    ----------
    data : bytes
    key : str
        Of the one metadata entry.
    what : str
        Kind of file, for messages: "an .xnor file".
    most : int
        Largest header in bytes.

    Raises
    ------
    FileFormatError
        If it is truncated, or another kind of file.
    """
    if len(data) < 8:
        raise FileFormatError(f"{len(data)} bytes: not {what}, or truncated")
    length = int.from_bytes(data[:8], "little")
    if length > most:
        raise FileFormatError(f"header of {length} bytes, the limit is {most}: not {what}?")
    if length > len(data) - 8:
        raise FileFormatError(f"header of {length} bytes in a file of {len(data)}: truncated")
    metadata = _json("header", data[8 : 8 + length]).get("__metadata__")
    text = metadata.get(key) if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(text, str) or len(metadata) != 1:
        raise FileFormatError(f"a safetensors file without the single metadata key {key!r}: not {what}")
    return _json("description", text)


def check_keys(what: str, value: Any, types: dict[str, type]) -> dict[str, Any]:
    """Return a JSON object that has exactly these keys and types.

    Raises
    ------
    FileFormatError
        If it is anything else.
    """
    if not isinstance(value, dict) or set(value) != set(types):
        found = brief(", ".join(sorted(value)), 200) if isinstance(value, dict) else type(value).__name__
        raise FileFormatError(f"{what} has {found}; it must have {', '.join(sorted(types))}")
    for key, kind in types.items():
        if type(value[key]) is not kind:
            raise FileFormatError(
                f"{what}: {key} is {type(value[key]).__name__}, but must be {kind.__name__}"
            )
    return value


def read_tensors(
    data: bytes, expected: Mapping[str, tuple[str, list[int] | None]] | None
) -> dict[str, NDArray[Any]]:
    """Return the tensors of a file's bytes.

    Parameters
    ----------
    data : bytes
    expected : mapping of str to (str, list of int or None), optional
        Dtype, as safetensors names it, and shape of each; None is any shape, or whatever tensors there are.

    Raises
    ------
    FileFormatError
        If the container is damaged, or holds others than these.
    """
    try:
        found = dict(safetensors.deserialize(data))
    except Exception as error:  # the container's own errors, whatever their class
        raise FileFormatError(f"damaged container ({brief(str(error), 200)})") from None
    if expected is None:
        expected = {name: (str(tensor["dtype"]), None) for name, tensor in found.items()}
        if strange := {dtype for dtype, _ in expected.values()} - set(_DTYPES):
            raise FileFormatError(f"tensors of dtype {brief(', '.join(sorted(strange)))}")
    if set(found) != set(expected):
        names = brief(", ".join(sorted(set(found) ^ set(expected))), 200)
        raise FileFormatError(f"tensors that are missing or do not belong: {names}")
    tensors: dict[str, NDArray[Any]] = {}
    for name, (dtype, shape) in expected.items():
        tensor = found[name]
        if shape is None:
            shape = list(tensor["shape"])
        if tensor["dtype"] != dtype or list(tensor["shape"]) != shape:
            raise FileFormatError(
                f"tensor {name} is {brief(tensor['dtype'])} {brief(tensor['shape'])}, "
                f"but must be {dtype} {shape}"
            )
        if len(tensor["data"]) != prod(shape) * _DTYPES[dtype].itemsize:
            raise FileFormatError(f"tensor {name} has {len(tensor['data'])} bytes: damaged container")
        tensors[name] = np.frombuffer(tensor["data"], _DTYPES[dtype]).reshape(shape)
    return tensors


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [key for key, _ in pairs]
        twice = next(key for key in names if names.count(key) > 1)
        raise FileFormatError(f"key {brief(twice)} appears twice in the header")
    return result


def _constant(text: str) -> Any:
    raise FileFormatError(f"{text} in the header: not JSON")


def _json(what: str, text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{what} is not JSON ({str(error)[:100]})") from None
    if not isinstance(value, dict):
        raise FileFormatError(f"{what} is not a JSON object")
    return value
