"""How 8-bit pixels become a network's input values: one entry ``pixels`` in the network's metadata.

It is one of

- ``{"threshold": t}``: value 1 for a pixel of at least t, else 0 (1-bit inputs), with ``"maximum": m`` if
  pixels end at m and not at 255;
- ``{"table": [v0, ..., v255]}``: the value of every pixel;
- ``{"of": "channel", "tables": text}``, ``{"of": "value", "tables": text}``: a table for every channel, or
  for every value of the image, packed by `pack`;
- ``{"none": reason}``: there is no rule, and why; pixels are refused.

Without it, pixels are the values, if all of them fit; for a 1-bit network they are cut in the middle of their
range.

Images may also be the input values already. What they are is told by the bits that their largest value needs:
as many as the rule's pixels, and they are pixels; as many as the inputs, and they are values; anything else
is refused, unless the caller says what they are.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, InputError
from .limits import MAX_SIZE
from .network import InputSpec, Network

if TYPE_CHECKING:
    from ..host.head import Head

KEY = "pixels"
"""Key in `Network.metadata`."""
MAX_TEXT = 180_000
"""Most characters of packed tables; the metadata may have more, for what else it holds."""
MAX_REASON = 300
READINGS = ("pixels", "values")
"""What images can be: pixels that the rule is for, or the network's input values."""
_AS_THEY_ARE = np.arange(256, dtype=np.uint8)[np.newaxis]


@dataclass(frozen=True)
class Rule:
    """The value of every pixel, the same at all places or not.

    Attributes
    ----------
    tables : array of uint8, shape (n, 256)
        n is 1, the number of channels, or the number of values of an image.
    text : str
        In words.
    reads : str
        What the images are, one of `READINGS`.
    head : Head or None
        What makes values of pixels in place of the tables.
    """

    tables: NDArray[np.uint8]
    text: str
    reads: str = "pixels"
    head: Head | None = None

    def values(self, images: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the input values, shape (n, values), of images of 8-bit pixels, shape (n, ...)."""
        flat = images.reshape(len(images), -1)
        if self.head is not None:
            return self.head.run(flat)
        # The channel is the fastest axis, so that this is also right for one table per channel.
        return self.tables[np.arange(flat.shape[1]) % len(self.tables), flat]


def threshold(at: int, maximum: int = 255) -> dict[str, Any]:
    """Return the metadata entry of pixels, of as many bits as `maximum` needs, compared with `at`."""
    return {"threshold": int(at)} | ({} if maximum > 127 else {"maximum": int(maximum)})


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
    text = pack(kept[:MAX_SIZE])
    if len(text) > MAX_TEXT or len(kept) > MAX_SIZE:
        limits = f"the limits are {MAX_TEXT} and {MAX_SIZE}"
        return none(f"a rule for each of {len(kept)} values takes {len(text)} characters, {limits}")
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


def rule(network: Network, maximum: int = 255, reads: str | None = None) -> Rule:
    """Return the rule for a network and images.

    Parameters
    ----------
    network : Network
    maximum : int
        Largest pixel or value that the images can have, 1 to 255.
    reads : str, optional
        What they are, one of `READINGS`; without it `maximum` tells.

    Raises
    ------
    FileFormatError
        If the network's own entry is damaged.
    InputError
        If it says that there is no rule, `maximum` is that of neither its pixels nor its values, or all
        pixels up to it become one value.
    """
    if network.head is not None and reads != "values":
        return _head(network, network.head, maximum, reads)
    kept = _kept(network, maximum)
    if (reads or _told(network, kept, maximum)) == "values":
        return _values(network, maximum)
    if kept.tables is None:
        raise InputError(
            f"network {network.name!r} has no rule for pixels: {kept.text}; make its input values yourself, "
            f"0 to {network.input.maximum}, and give them as IN.npy, or to eval with --inputs values"
        )
    if (kept.tables[:, : maximum + 1] == kept.tables[:, :1]).all():
        raise InputError(
            f"pixels reach {maximum}, and all of them become one value ({kept.text}); scale them to 0 to "
            f"{kept.maximum}, or say with --inputs values that they are the network's inputs"
        )
    return Rule(kept.tables, kept.text)


def _head(network: Network, head: Head, maximum: int, reads: str | None) -> Rule:
    most = head.maximum
    if not most:
        raise InputError(
            f"network {network.name!r} begins with real layers and has no rule for pixels; give it "
            "numbers, as floats in IN.npy"
        )
    if maximum > most or (reads is None and maximum.bit_length() != most.bit_length()):
        raise InputError(
            f"images reach {maximum}, but the pixels of network {network.name!r} are 0 to {most}; scale the "
            "images, or say what they are, if merely dark: --inputs pixels"
        )
    return Rule(_AS_THEY_ARE, "pixels through real layers on the host", head=head)


def mistakable(network: Network) -> bool:
    """Return whether a network's own input values would be taken for the pixels that its rule is for."""
    stored = network.metadata.get(KEY)
    return stored is not None and network.input.bits == _kept(network, 255).maximum.bit_length() > 1


@dataclass(frozen=True)
class _Kept:
    """What a network says of pixels.

    Attributes
    ----------
    tables : array of uint8, shape (n, 256), or None
        None if there is no rule.
    text : str
        In words; the reason why there is none.
    maximum : int
        Largest pixel that the rule is for.
    """

    tables: NDArray[np.uint8] | None
    text: str
    maximum: int = 255


def _told(network: Network, kept: _Kept, maximum: int) -> str:
    """What images are, by the bits that their largest value needs."""
    spec, bits = network.input, maximum.bit_length()
    # 0 and 1 are no pixels to cut.
    if bits == kept.maximum.bit_length() and bits > 1:
        return "pixels"
    if bits == spec.bits:
        return "values"
    if kept.tables is None:
        return "pixels"
    inputs = f", and its inputs 0 to {spec.maximum}" if spec.maximum != kept.maximum else ""
    raise InputError(
        f"images reach {maximum}, but the pixels of network {network.name!r} are 0 to {kept.maximum}{inputs}"
        "; scale the images, or say what they are, if merely dark: --inputs pixels, or --inputs values"
    )


def _values(network: Network, maximum: int) -> Rule:
    spec = network.input
    if maximum > spec.maximum:
        raise InputError(
            f"values reach {maximum}, but network {network.name!r} takes {spec.bits}-bit values, 0 to "
            f"{spec.maximum}; scale them, or say with --inputs pixels that they are pixels"
        )
    return Rule(_AS_THEY_ARE, f"{'bits' if spec.bits == 1 else 'values'} as they are", "values")


def _cut(at: int, maximum: int = 255) -> _Kept:
    return _Kept((np.arange(256) >= at).astype(np.uint8)[np.newaxis], f"pixel >= {at}", maximum)


def _kept(network: Network, maximum: int) -> _Kept:
    """Read the network's entry; without one, make the rule for pixels up to `maximum`."""
    spec, stored = network.input, network.metadata.get(KEY)
    if stored is None:
        return _unsaid(network, maximum)
    keys = set(stored) if isinstance(stored, dict) else set()
    if keys == {"none"} and isinstance(stored["none"], str) and 1 <= len(stored["none"]) <= MAX_REASON:
        if not stored["none"].isprintable():
            raise _damaged(network)
        return _Kept(None, stored["none"])
    if keys in ({"threshold"}, {"threshold", "maximum"}) and spec.bits == 1:
        at, maximum = stored["threshold"], stored.get("maximum", 255)
        if type(at) is type(maximum) is int and 1 <= at <= maximum <= 255:
            return _cut(at, maximum)
    if keys == {"table"}:
        values = stored["table"]
        legal = isinstance(values, list) and len(values) == 256
        if legal and all(type(value) is int and 0 <= value <= spec.maximum for value in values):
            return _Kept(np.array([values], np.uint8), "a table of 256 values")
    if keys == {"of", "tables"}:
        counts = {"value": spec.size} if spec.size <= MAX_SIZE else {}
        if len(spec.shape) == 3:
            counts["channel"] = spec.shape[-1]
        count = counts.get(stored["of"]) if isinstance(stored["of"], str) else None
        tables = None if count is None else unpack(stored["tables"], count)
        if tables is not None and tables.max() <= spec.maximum:
            return _Kept(tables, f"a table of 256 values for each {stored['of']}")
    raise _damaged(network)


def _unsaid(network: Network, maximum: int) -> _Kept:
    spec = network.input
    if spec.bits == 1:
        return _cut(maximum // 2 + 1, maximum)
    if maximum > spec.maximum:
        raise InputError(
            f"pixels reach {maximum}, but network {network.name!r} takes {spec.bits}-bit values, 0 to "
            f"{spec.maximum}; scale the images, or give the network's metadata an entry {KEY!r}"
        )
    return _Kept(_AS_THEY_ARE, "pixels as they are", spec.maximum)


def _damaged(network: Network) -> FileFormatError:
    return FileFormatError(
        f"network {network.name!r}: metadata {KEY!r} must be {{'threshold': 1 to 255}} for 1-bit inputs, "
        "perhaps with 'maximum', its pixels' largest, "
        f"{{'table': 256 values of 0 to {network.input.maximum}}}, {{'of': 'channel' or 'value', 'tables': "
        "packed tables}, or {'none': reason}"
    )
