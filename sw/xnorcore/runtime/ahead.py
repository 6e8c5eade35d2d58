"""What a device takes of images beyond what its buffer of requests holds."""

from __future__ import annotations

from ..isa.program import Program
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, KEY_BYTES, RECORDS

__all__ = ["ahead"]

_ANSWER = 4
"""Parts of an answer: type, two bytes of the tag, status. Results of a batch are one more."""
_EXTRA = 3
"""Bytes of a frame on the wire beyond its body: COBS code, delimiter, code of a second block."""


def ahead(program: Program, max_payload: int) -> int:
    """Return the bytes on the wire of requests that the device takes while the answer of a batch waits.

    The last frame of that batch, and those of the next one, go into activation memory, as far as there is
    room for their answers. So a host need not wait for an answer with the images behind it.

    Parameters
    ----------
    program : Program
        0 for one image per row: its batches are short, and answers come at once.
    max_payload : int
        Bytes of a request's payload.
    """
    if program.per_row == 1:
        return 0
    images = program.batch * program.image_bytes
    first, room = max_payload - 1 - KEY_BYTES, max_payload - 1
    if first >= 2 * images:
        return 0  # two batches in a frame: neither region of images is free for the next one
    starts = [0, *range(first, images, room)]
    sizes = [
        _frame(stop - start + 1 + (0 if start else KEY_BYTES))
        for start, stop in zip(starts, [*starts[1:], images], strict=True)
    ]
    places = 2 * RECORDS - 1 if program.config.line_bytes else RECORDS
    # The batch's own answer keeps two places: its results, and its last byte.
    behind = (places - 2) // (_ANSWER + 1)
    return sizes[-1] + sum(sizes[:behind])


def _frame(payload: int) -> int:
    return payload + HEADER_BYTES + CRC_BYTES + _EXTRA
