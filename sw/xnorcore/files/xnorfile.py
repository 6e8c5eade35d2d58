"""The ``.xnor`` file: one network in a safetensors container. Specification: docs/numerics.md.

Nothing in a file is trusted: sizes are checked before memory is taken, and a checksum covers everything.
"""

from __future__ import annotations

import os
from typing import Any

from ..errors import FileFormatError, NetworkError, UsageError
from ..model.check import brief
from ..model.network import Network
from . import container
from .description import FORMAT, HOSTED, VERSIONS, build, describe, expected_tensors
from .userfile import open_regular, write_file

MAX_FILE = 256 << 20
MAX_HEADER = 1 << 20


def dumps(network: Network) -> bytes:
    """Return the file's bytes; equal networks give equal bytes."""
    description, tensors = describe(network)
    # The validator's limits on names and metadata keep the header below MAX_HEADER, those on sizes the file
    # below MAX_FILE.
    return container.dumps(FORMAT, description, tensors)


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file, which appears complete or not at all.

    Raises
    ------
    UsageError
        If the file cannot be written.
    """
    write_file(path, dumps(network))


def content_hash(network: Network) -> str:
    """SHA-256 (hex) of everything in the network: layers, affine, name and metadata."""
    return container.digest(*describe(network))


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
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
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
    tensors = container.read_tensors(data, expected)
    digest = description.pop("sha256")
    found = container.digest(description, tensors)
    try:
        network = build(description, tensors)
    except NetworkError as error:
        raise FileFormatError(f"illegal network: {error}") from None
    if digest != found:
        raise FileFormatError("checksum mismatch: the file is damaged")
    return network


def _header(data: bytes) -> dict[str, Any]:
    """The network's description, its keys and types checked."""
    value = container.read_description(data, FORMAT, "an .xnor file", MAX_HEADER)
    if value.get("format") != FORMAT:
        raise FileFormatError(f"format is {brief(value.get('format'))}, but must be {FORMAT!r}")
    if type(value.get("version")) is not int or value["version"] not in VERSIONS:
        known = ", ".join(map(str, VERSIONS))
        raise FileFormatError(
            f"version is {brief(value.get('version'))}, this program reads {known}; update xnorcore"
        )
    types = {
        "format": str, "version": int, "name": str, "input": dict, "layers": list, "classes": int,
        "scale": bool, "offset": bool, "metadata": dict, "sha256": str,
    }  # fmt: skip
    ends = {"head": dict, "tail": dict} if value["version"] == HOSTED else {}
    return container.check_keys("description", value, types | ends)
