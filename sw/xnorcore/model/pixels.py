"""How 8-bit pixels become a network's input values: one entry ``pixels`` in the network's metadata.

It is one of

- ``{"threshold": t}``: value 1 for a pixel of at least t, else 0 (1-bit inputs);
- ``{"table": [v0, ..., v255]}``: the value of every pixel.

Without it, pixels are the values, if all of them fit; for a 1-bit network they are cut in the middle of their
range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, InputError
from .network import Network

KEY = "pixels"
"""Key in `Network.metadata`."""


def threshold(at: int) -> dict[str, Any]:
    """Return the metadata entry of pixels that are compared with `at`."""
    return {"threshold": int(at)}


def table(values: NDArray[Any]) -> dict[str, Any]:
    """Return the metadata entry of pixels that are looked up; `values` are 256 integers."""
    return {"table": [int(value) for value in values]}


def rule(network: Network, maximum: int = 255) -> tuple[NDArray[np.uint8], str]:
    """Return the value of every pixel for a network, and the rule in words.

    Parameters
    ----------
    network : Network
    maximum : int
        Largest pixel that the images can have, 1 to 255.

    Returns
    -------
    array of uint8, shape (256,)
    str

    Raises
    ------
    FileFormatError
        If the network's own entry is damaged.
    InputError
        If it has none, and pixels up to `maximum` do not fit its inputs.
    """
    entry = network.metadata.get(KEY)
    spec = network.input
    if entry is not None:
        return _stored(network, entry)
    if spec.bits == 1:
        at = maximum // 2 + 1
        return (np.arange(256) >= at).astype(np.uint8), f"pixel >= {at}"
    if maximum > spec.maximum:
        raise InputError(
            f"pixels reach {maximum}, but network {network.name!r} takes {spec.bits}-bit values, 0 to "
            f"{spec.maximum}; scale the images, or give the network's metadata an entry {KEY!r}"
        )
    return np.arange(256).astype(np.uint8), "pixels as they are"


def _stored(network: Network, entry: Any) -> tuple[NDArray[np.uint8], str]:
    if isinstance(entry, dict) and set(entry) == {"threshold"} and network.input.bits == 1:
        at = entry["threshold"]
        if type(at) is int and 1 <= at <= 255:
            return (np.arange(256) >= at).astype(np.uint8), f"pixel >= {at}"
    if isinstance(entry, dict) and set(entry) == {"table"}:
        values = entry["table"]
        if isinstance(values, list) and len(values) == 256:
            legal = all(type(value) is int and 0 <= value <= network.input.maximum for value in values)
            if legal:
                return np.array(values, np.uint8), "a table of 256 values"
    raise FileFormatError(
        f"network {network.name!r}: metadata {KEY!r} must be {{'threshold': 1 to 255}} for 1-bit inputs, or "
        f"{{'table': 256 values of 0 to {network.input.maximum}}}"
    )
