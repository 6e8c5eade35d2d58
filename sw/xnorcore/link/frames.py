"""Requests and responses as bytes on the wire, and the cutting of a byte stream into frames."""

from __future__ import annotations

from zlib import crc32

from ..isa.protocol import CRC_BYTES, HEADER_BYTES, RESPONSE
from . import cobs

DELIMITER = b"\0"
"""Ends every frame; frames contain no zero byte."""
MAX_RESPONSE = 1 << 20
"""Largest encoded response in bytes; longer ones are dropped as garbage."""


def _seal(body: bytes) -> bytes:
    return body + crc32(body).to_bytes(CRC_BYTES, "little")


def _unseal(body: bytes | None, least: int) -> bytes | None:
    if body is None or len(body) < least + CRC_BYTES:
        return None
    content, check = body[:-CRC_BYTES], body[-CRC_BYTES:]
    return content if crc32(content).to_bytes(CRC_BYTES, "little") == check else None


def _split(content: bytes) -> tuple[int, int, bytes]:
    return content[0], int.from_bytes(content[1:HEADER_BYTES], "little"), content[HEADER_BYTES:]


def encode_request(command: int, tag: int, payload: bytes = b"") -> bytes:
    """Return one request as it goes to the device, delimiter included.

    Parameters
    ----------
    command : int
        Type byte, 1 to 127.
    tag : int
        16 bits that the response repeats.
    payload : bytes
    """
    return cobs.encode(_seal(bytes([command]) + tag.to_bytes(2, "little") + payload)) + DELIMITER


def decode_request(data: bytes) -> tuple[int, int, bytes] | None:
    """Read one request without delimiter, as a device does.

    Returns
    -------
    (command, tag, payload) or None
        None if the frame is damaged.
    """
    content = _unseal(cobs.decode(data), HEADER_BYTES)
    return None if content is None else _split(content)


def encode_response(command: int, tag: int, payload: bytes = b"", status: int = 0) -> bytes:
    """Return one response as a device sends it, delimiter included."""
    content = bytes([command | RESPONSE]) + tag.to_bytes(2, "little") + payload + bytes([status])
    return cobs.encode_reverse(_seal(content)) + DELIMITER


def decode_response(data: bytes) -> tuple[int, int, bytes, int] | None:
    """Read one response without delimiter.

    Returns
    -------
    (command, tag, payload, status) or None
        `command` is the request's type byte. None if the frame is damaged or no response.
    """
    content = _unseal(cobs.decode_reverse(data), HEADER_BYTES + 1)
    if content is None or not content[0] & RESPONSE:
        return None
    kind, tag, rest = _split(content)
    return kind & ~RESPONSE, tag, rest[:-1], rest[-1]


class Splitter:
    """Cuts received bytes at the delimiters, in bounded memory.

    Parameters
    ----------
    limit : int
        Most bytes of a frame; one that grows longer is dropped up to its delimiter.

    Attributes
    ----------
    dropped : int
        Frames dropped for their length.
    """

    def __init__(self, limit: int = MAX_RESPONSE) -> None:
        self.limit = limit
        self.dropped = 0
        self._parts: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> int:
        """Bytes of the frame that has begun and not ended; at most `limit`."""
        return min(self._size, self.limit)

    def clear(self) -> None:
        """Forget the frame that has begun."""
        self._parts.clear()
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take received bytes and return the frames that they complete, without delimiters.

        Empty frames are left out.
        """
        *ends, rest = bytes(data).split(DELIMITER)
        frames = []
        for end in ends:
            self._add(end)
            if self._size > self.limit:
                self.dropped += 1
            elif self._size:
                frames.append(b"".join(self._parts))
            self.clear()
        self._add(rest)
        return frames

    def _add(self, part: bytes) -> None:
        if not part:
            return
        self._size = min(self._size + len(part), self.limit + 1)
        if self._size > self.limit:
            self._parts.clear()
            return
        self._parts.append(part)
        if len(self._parts) > 1024:  # one-byte reads must not cost an object each
            self._parts = [b"".join(self._parts)]
