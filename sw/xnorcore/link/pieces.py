"""How long a frame should be on a wire that loses some, and how a request becomes shorter ones.

A frame of n bytes with h bytes around them passes a wire that damages each byte with chance p with
about exp(-p (n + h)); what arrives per byte sent, n / (n + h) * exp(-p (n + h)), is most near
n = sqrt(h / p). A good wire gets frames as long as the device takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from ..isa.blocks import word_bytes
from ..isa.device import DeviceConfig
from ..isa.protocol import KEY_BYTES, Command, Space

__all__ = ["END", "LONGEST", "ImageBytes", "Pace", "divide"]

END = 0x80
"""Flag in the first payload byte of an INFER request: no more parts of this group."""
_OVERHEAD = 24
_LEAST = 48
LONGEST = 8192
"""Payload bytes of a frame, request and answer together, on a wire that loses nothing."""
_MEMORY = 32768
_WRITE_HEAD, _READ_HEAD, _INFER_HEAD = 4, 6, 1 + KEY_BYTES


@dataclass(frozen=True)
class ImageBytes:
    """What an image of an INFER request costs, so that requests of several can be divided.

    Attributes
    ----------
    image, result : int
        Payload bytes of an image and of its results.
    batch : int
        Images that the device works on at once.
    ahead : int
        Bytes on the wire of requests that the device takes beyond those that it keeps in its buffer: while
        the answer of a batch waits, the next one's images go to their memory.
    """

    image: int
    result: int
    batch: int
    ahead: int = 0


class Pace:
    """Estimates what a wire loses from what became of the last 32 KiB or so.

    It begins as on a wire that has been good for a while, so that one loss does not cut frames to pieces.
    """

    def __init__(self) -> None:
        self._bytes = float(_MEMORY)
        self._lost = 0.0

    def note(self, size: int, lost: bool) -> None:
        """Count a frame with `size` bytes on the wire, request and answer."""
        keep = _MEMORY / (_MEMORY + size)
        self._bytes = keep * (self._bytes + size)
        self._lost = keep * (self._lost + lost)

    @property
    def best(self) -> int:
        """Payload bytes, request and answer together, that pay best in a frame: 48 to 8192."""
        return max(_LEAST, min(LONGEST, int(sqrt(_OVERHEAD * self._bytes / max(self._lost, 1e-6)))))


def divide(
    command: int, payload: bytes, best: int, config: DeviceConfig | None, images: ImageBytes | None
) -> list[bytes]:
    """Return the payloads of shorter requests whose answers, joined, are that of one request.

    Parameters
    ----------
    command : int
    payload : bytes
    best : int
        Payload bytes that request and answer should have together.
    config : DeviceConfig or None
        Of the device, for the size of words.
    images : ImageBytes or None
        For INFER.

    Returns
    -------
    list of bytes
        ``[payload]`` if the request is short enough or cannot be divided.
    """
    if config is None or best >= LONGEST:
        return [payload]
    if command == Command.INFER and images and payload[:1] == bytes([END]):
        count = max(1, best // (images.image + images.result))
        step = (count // images.batch * images.batch or count) * images.image
        head, data = payload[:_INFER_HEAD], payload[_INFER_HEAD:]
        if len(data) > step and not len(data) % images.image:
            return [head + data[at : at + step] for at in range(0, len(data), step)]
    elif (
        command in (Command.WRITE, Command.READ) and len(payload) >= _WRITE_HEAD and payload[0] <= max(Space)
    ):
        place, address = payload[:2], int.from_bytes(payload[2:4], "little")
        size = word_bytes(config, Space(payload[0]))
        words = max(1, best // size)
        if command == Command.WRITE and len(payload) > best and not (len(payload) - _WRITE_HEAD) % size:
            data, step = payload[_WRITE_HEAD:], words * size
            return [
                place + (address + at // size).to_bytes(2, "little") + data[at : at + step]
                for at in range(0, len(data), step)
            ] or [payload]
        if command == Command.READ and len(payload) == _READ_HEAD:
            total = int.from_bytes(payload[4:], "little")
            if address + total <= 1 << 16:
                return [
                    place
                    + (address + at).to_bytes(2, "little")
                    + min(words, total - at).to_bytes(2, "little")
                    for at in range(0, total, words)
                ] or [payload]
    return [payload]
