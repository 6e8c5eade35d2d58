"""Consistent overhead byte stuffing, both ways round: bytes without zeros for bytes with zeros.

Towards the device each block starts with its code byte (plain COBS), so that the device can decode
as the bytes come. Towards the host the code byte *ends* its block (reverse COBS), so that the
device can encode as the bytes go, without holding a block back.
"""

from __future__ import annotations

FULL = 255
"""Code of a block of `RUN` data bytes that no zero follows."""
RUN = 254
"""Most data bytes of a block."""


def encode(body: bytes) -> bytes:
    """Return `body` in plain COBS: no zero bytes, no delimiter."""
    out = bytearray()
    runs = bytes(body).split(b"\0")
    for index, run in enumerate(runs):
        while len(run) > RUN:
            out.append(FULL)
            out += run[:RUN]
            run = run[RUN:]
        out.append(len(run) + 1)
        out += run
        if len(run) == RUN and index < len(runs) - 1:
            out.append(1)  # the zero that a full block does not imply
    return bytes(out)


def decode(data: bytes) -> bytes | None:
    """Return the body that plain COBS `data` (without delimiter) stands for, or None if malformed."""
    out = bytearray()
    position, zero = 0, False
    while position < len(data):
        code = data[position]
        end = position + code
        if code == 0 or end > len(data):
            return None
        if zero:
            out.append(0)
        out += data[position + 1 : end]
        position, zero = end, code != FULL
    return bytes(out)


def encode_reverse(body: bytes) -> bytes:
    """Return `body` in reverse COBS: no zero bytes, no delimiter.

    The last code is always 1 to 254: a run of 254 bytes at the very end is a full block followed by
    an empty last one.
    """
    out = bytearray()
    for run in bytes(body).split(b"\0"):
        while len(run) >= RUN:
            out += run[:RUN]
            out.append(FULL)
            run = run[RUN:]
        out += run
        out.append(len(run) + 1)
    return bytes(out)


def decode_reverse(data: bytes) -> bytes | None:
    """Return the body that reverse COBS `data` (without delimiter) stands for, or None if malformed."""
    if not data or data[-1] == FULL or 0 in data:
        return None
    runs: list[bytes] = []
    end = len(data)
    while end:
        code = data[end - 1]
        start = end - code
        if start < 0:
            return None
        if runs and code != FULL:
            runs.append(b"\0")
        runs.append(data[start : end - 1])
        end = start
    return b"".join(reversed(runs))
