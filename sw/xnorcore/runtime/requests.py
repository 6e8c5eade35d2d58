"""INFER requests: images, cut to the frames and batches that a device takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..isa.program import Program
from ..isa.protocol import Command
from ..link.pieces import END

__all__ = ["image_requests"]


def image_requests(
    program: Program, wire: NDArray[np.uint8], max_payload: int, expected: list[int]
) -> Iterator[tuple[int, bytes]]:
    """Split images into INFER requests.

    Parameters
    ----------
    program : Program
    wire : array of uint8, shape (n, bytes per image)
        As `xnorcore.model.bits.pack_images` gives them.
    max_payload : int
        Bytes of a request's payload.
    expected : list of int
        For each request that is yielded, the number of images that it completes is appended.
    """
    rows, size = program.batch, program.image_bytes
    room = max_payload - 1
    per_frame = room // size
    if per_frame >= rows:
        step = per_frame // rows * rows
        for first in range(0, len(wire), step):
            part = wire[first : first + step]
            expected.append(len(part))
            yield Command.INFER, bytes([END]) + part.tobytes()
        return
    # One batch of all rows in several frames; its last one answers for all images.
    for first in range(0, len(wire), rows):
        batch = wire[first : first + rows]
        data = batch.tobytes()
        parts = range(0, len(data), room)
        for number, start in enumerate(parts):
            last = number == len(parts) - 1
            expected.append(len(batch) if last else 0)
            yield Command.INFER, bytes([number | (END if last else 0)]) + data[start : start + room]
