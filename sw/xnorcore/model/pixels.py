"""How 8-bit pixels become a network's input values: one entry ``pixels`` in the network's metadata.

It is one of

- ``{"threshold": t}``: value 1 for a pixel of at least t, else 0 (1-bit inputs);
- ``{"table": [v0, ..., v255]}``: the value of every pixel;
- ``{"of": "channel", "tables": text}``, ``{"of": "value", "tables": text}``: a table for every channel, or
  for every value of the image, packed by `pack`;
- ``{"none": reason}``: there is no rule, and why; pixels are refused.

Without it, pixels are the values, if all of them fit; for a 1-bit network they are cut in the middle of their
range.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, InputError
from .network import InputSpec, Network

KEY = "pixels"
"""Key in `Network.metadata`."""
MAX_TEXT = 180_000
"""Most characters of packed tables; the metadata may have more, for what else it holds."""
MAX_REASON = 300


@dataclass(frozen=True)
class Rule:
    """The value of every pixel, the same at all places or not.

    Attributes
    ----------
    tables : array of uint8, shape (n, 256)
        n is 1, the number of channels, or the number of values of an image.
    text : str
        In words.
    """

    tables: NDArray[np.uint8]
    text: str

    def values(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the input values, shape (n, values), of images of 8-bit pixels, shape (n, ...)."""
        flat = images.reshape(len(images), -1)
        # The channel is the fastest axis, so that this is also right for one table per channel.
        return self.tables[np.arange(flat.shape[1]) % len(self.tables), flat]


def threshold(at: int) -> dict[str, Any]:
    """Return the metadata entry of pixels that are compared with `at`."""
    return {"threshold": int(at)}


def table(values: NDArray[Any]) -> dict[str, Any]:
    """Return the metadata entry of pixels that are looked up; `values` are 256 integers."""
    return {"table": [int(value) for value in values]}


def none(reason: str) -> dict[str, Any]:
    """Return the metadata entry of a network that no pixels can be given to; the reason ends no sentence."""
    return {"none": "".join(letter if letter.isprintable() else "?" for letter in reason)[:MAX_REASON]}


def entry(tables: NDArray[np.uint8], spec: InputSpec) -> dict[str, Any]:
    """Return the smallest metadata entry for a table of every value of an image.

    Parameters
    ----------
    tables : array of uint8, shape (values, 256)
        Legal values of `spec`.
    spec : InputSpec

    Returns
    -------
    dict
        ``{"none": reason}`` if the tables differ too much to be kept.
    """
    first = tables[0]
    if (tables == first).all():
        rises = 0 == first[0] < first[255] and (first[1:] >= first[:-1]).all()
        return threshold(int(first.argmax())) if spec.bits == 1 and rises else table(first)
    channels = spec.shape[-1] if len(spec.shape) == 3 else len(tables)
    of, kept = "value", tables
    if (tables.reshape(-1, channels, 256) == tables[:channels]).all():
        of, kept = "channel", tables[:channels]
    text = pack(kept)
    if len(text) > MAX_TEXT:
        return none(
            f"a rule for each of {len(tables)} values takes {len(text)} characters, the limit is {MAX_TEXT}"
        )
    return {"of": of, "tables": text}


def pack(tables: NDArray[np.uint8]) -> str:
    """Return tables as text: the differences from pixel to pixel, modulo 256, in zlib's form, in base64."""
    steps = np.diff(tables, axis=1, prepend=np.zeros((len(tables), 1), np.uint8))
    return base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()


def unpack(text: Any, count: int) -> NDArray[np.uint8] | None:
    """Return `count` packed tables, or None if the text is not exactly that."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        return None
    reader = zlib.decompressobj()
    try:
        # One byte more than there should be, so that a text that holds more is seen and not unpacked.
        data = reader.decompress(base64.b64decode(text, validate=True), count * 256 + 1)
    except (ValueError, binascii.Error, zlib.error):
        return None
    if len(data) != count * 256 or not reader.eof or reader.unused_data:
        return None
    return np.cumsum(np.frombuffer(data, np.uint8).reshape(count, 256), axis=1, dtype=np.uint8)


def rule(network: Network, maximum: int = 255) -> Rule:
    """Return the rule for a network.

    Parameters
    ----------
    network : Network
    maximum : int
        Largest pixel that the images can have, 1 to 255.

    Raises
    ------
    FileFormatError
        If the network's own entry is damaged.
    InputError
        If it says that there is no rule, or it has none, and pixels up to `maximum` do not fit its inputs.
    """
    stored = network.metadata.get(KEY)
    spec = network.input
    if stored is not None:
        return _stored(network, stored)
    if spec.bits == 1:
        return _cut(maximum // 2 + 1)
    if maximum > spec.maximum:
        raise InputError(
            f"pixels reach {maximum}, but network {network.name!r} takes {spec.bits}-bit values, 0 to "
            f"{spec.maximum}; scale the images, or give the network's metadata an entry {KEY!r}"
        )
    return Rule(np.arange(256, dtype=np.uint8)[np.newaxis], "pixels as they are")


def _cut(at: int) -> Rule:
    return Rule((np.arange(256) >= at).astype(np.uint8)[np.newaxis], f"pixel >= {at}")


def _stored(network: Network, stored: Any) -> Rule:
    spec, keys = network.input, set(stored) if isinstance(stored, dict) else set()
    if keys == {"none"} and isinstance(stored["none"], str) and 1 <= len(stored["none"]) <= MAX_REASON:
        if not stored["none"].isprintable():
            raise _damaged(network)
        raise InputError(
            f"network {network.name!r} has no rule for pixels: {stored['none']}; make its input values "
            f"yourself, 0 to {spec.maximum}, and give them as IN.npy"
        )
    if keys == {"threshold"} and spec.bits == 1:
        at = stored["threshold"]
        if type(at) is int and 1 <= at <= 255:
            return _cut(at)
    if keys == {"table"}:
        values = stored["table"]
        legal = isinstance(values, list) and len(values) == 256
        if legal and all(type(value) is int and 0 <= value <= spec.maximum for value in values):
            return Rule(np.array([values], np.uint8), "a table of 256 values")
    if keys == {"of", "tables"}:
        counts = {"value": spec.size}
        if len(spec.shape) == 3:
            counts["channel"] = spec.shape[-1]
        count = counts.get(stored["of"]) if isinstance(stored["of"], str) else None
        tables = None if count is None else unpack(stored["tables"], count)
        if tables is not None and tables.max() <= spec.maximum:
            return Rule(tables, f"a table of 256 values for each {stored['of']}")
    raise _damaged(network)


def _damaged(network: Network) -> FileFormatError:
    return FileFormatError(
        f"network {network.name!r}: metadata {KEY!r} must be {{'threshold': 1 to 255}} for 1-bit inputs, "
        f"{{'table': 256 values of 0 to {network.input.maximum}}}, {{'of': 'channel' or 'value', 'tables': "
        "packed tables}, or {'none': reason}"
    )
