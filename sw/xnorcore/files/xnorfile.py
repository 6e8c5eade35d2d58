"""The ``.xnor`` file: one network in a safetensors container. Specification: docs/numerics.md.

Nothing in a file is trusted: sizes are checked before memory is taken, and a checksum covers everything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save as _serialize

from ..errors import FileFormatError, NetworkError, UsageError
from ..model.check import brief
from ..model.network import Network
from .description import FORMAT, VERSION, build, check_keys, describe, expected_tensors

MAX_FILE = 256 << 20
MAX_HEADER = 1 << 20

_DTYPES = {"U8": np.dtype(np.uint8), "I32": np.dtype("<i4"), "I64": np.dtype("<i8"), "F64": np.dtype("<f8")}


def dumps(network: Network) -> bytes:
    """Return the file's bytes; equal networks give equal bytes."""
    description, tensors = describe(network)
    text = _canonical({**description, "sha256": _digest(description, tensors)})
    # One metadata key: safetensors does not keep the order of several. The validator's limits on names
    # and metadata keep the header below MAX_HEADER, those on sizes the file below MAX_FILE.
    return _serialize(tensors, {FORMAT: text})


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file, which appears complete or not at all.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    atomic_write(path, dumps(network))


def content_hash(network: Network) -> str:
    """SHA-256 (hex) of everything in the network: layers, affine, name and metadata."""
    return _digest(*describe(network))


def atomic_write(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file through a temporary one beside it, so that an interruption leaves the old file or none.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror or error}") from None


def load(path: str | os.PathLike[str]) -> Network:
    """Read a network from a file.

    Raises
    ------
    UsageError
        If the file cannot be read.
    FileFormatError
        If it is not a legal ``.xnor`` file, with what is wrong.
    """
    try:
        with Path(path).open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UsageError(f"cannot read {path}: not a regular file")
            if status.st_size > MAX_FILE:
                raise FileFormatError(f"{path}: {status.st_size} bytes, the limit is {MAX_FILE}")
            # One byte more than there should be: a file that grows is not silently cut.
            data = file.read(status.st_size + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return loads(data)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from None


def loads(data: bytes) -> Network:
    """Read a network from a file's bytes.

    Raises
    ------
    FileFormatError
        If they are not a legal ``.xnor`` file, with what is wrong.
    """
    if len(data) > MAX_FILE:
        raise FileFormatError(f"{len(data)} bytes, the limit is {MAX_FILE}")
    description = _header(data)
    expected = expected_tensors(description)
    tensors = _tensors(data, expected)
    digest = description.pop("sha256")
    try:
        network = build(description, tensors)
    except NetworkError as error:
        raise FileFormatError(f"illegal network: {error}") from None
    if digest != content_hash(network):
        raise FileFormatError("checksum mismatch: the file is damaged")
    return network


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _digest(description: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(_canonical(description).encode())
    for name in sorted(tensors):
        digest.update(b"\0" + name.encode() + b"\0" + tensors[name].tobytes())
    return digest.hexdigest()


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


def _header(data: bytes) -> dict[str, Any]:
    """The network's description, its keys and types checked."""
    if len(data) < 8:
        raise FileFormatError(f"{len(data)} bytes: not an .xnor file, or truncated")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER:
        raise FileFormatError(f"header of {length} bytes, the limit is {MAX_HEADER}: not an .xnor file?")
    if length > len(data) - 8:
        raise FileFormatError(f"header of {length} bytes in a file of {len(data)}: truncated")
    metadata = _json("header", data[8 : 8 + length]).get("__metadata__")
    text = metadata.get(FORMAT) if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(text, str) or len(metadata) != 1:
        raise FileFormatError(
            f"a safetensors file without the single metadata key {FORMAT!r}: not an .xnor file"
        )
    value = _json("description", text)
    if value.get("format") != FORMAT:
        raise FileFormatError(f"format is {brief(value.get('format'))}, but must be {FORMAT!r}")
    if type(value.get("version")) is not int or value["version"] != VERSION:
        raise FileFormatError(
            f"version is {brief(value.get('version'))}, this program reads {VERSION}; update xnorcore"
        )
    types = {
        "format": str, "version": int, "name": str, "input": dict, "layers": list, "classes": int,
        "scale": bool, "offset": bool, "metadata": dict, "sha256": str,
    }  # fmt: skip
    return check_keys("description", value, types)


def _tensors(data: bytes, expected: dict[str, tuple[str, list[int] | None]]) -> dict[str, NDArray[Any]]:
    try:
        found = dict(safetensors.deserialize(data))
    except Exception as error:  # the container's own errors, whatever their class
        raise FileFormatError(f"damaged container ({brief(str(error), 200)})") from None
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
