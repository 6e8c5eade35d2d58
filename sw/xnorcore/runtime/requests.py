"""Requests, cut to the frames and batches that a device takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..isa.blocks import Block, word_bytes
from ..isa.device import DeviceConfig
from ..isa.program import Program
from ..isa.protocol import KEY_BYTES, Command, Space
from ..isa.regions import flash_space, flash_words
from ..isa.stores import FLASH_BLOCK, FLASH_SECTOR
from ..link.pieces import END

__all__ = ["erase_requests", "filled", "image_requests", "infer_head", "read_requests", "write_requests"]

_READ_BYTES = 2048


def write_requests(config: DeviceConfig, block: Block, max_payload: int) -> Iterator[tuple[int, bytes]]:
    """Split a block into WRITE requests."""
    size = word_bytes(config, block.space)
    step = (max_payload - 4) // size * size
    for start in range(0, len(block.data), step):
        address = block.address + start // size
        place = bytes([block.space, block.bank]) + address.to_bytes(2, "little")
        yield Command.WRITE, place + block.data[start : start + step]


def erase_requests(config: DeviceConfig, block: Block) -> Iterator[tuple[int, bytes]]:
    """Return the requests that erase where a block will be; none if that is not in flash.

    They must all have been answered before anything is written there.
    """
    if not flash_words(config) or block.space != flash_space(config):
        return
    address, last = block.address, block.address + len(block.data) // 4
    while address < last:
        whole = address % FLASH_BLOCK == 0 and last - address >= FLASH_BLOCK
        place = bytes([Space.CHIP, block.bank]) + address.to_bytes(2, "little")
        yield Command.WRITE, place + bytes([whole, 0, 0, 0])
        address += FLASH_BLOCK if whole else FLASH_SECTOR


def read_requests(
    config: DeviceConfig, space: Space, bank: int, address: int, words: int
) -> Iterator[tuple[int, bytes]]:
    """Split the reading of `words` words into READ requests."""
    step = max(_READ_BYTES // word_bytes(config, space), 1)
    for start in range(0, words, step):
        count = min(step, words - start)
        place = bytes([space, bank]) + (address + start).to_bytes(2, "little")
        yield Command.READ, place + count.to_bytes(2, "little")


def infer_head(program: Program, flags: int = END) -> bytes:
    """Return what part 0 of a group has in front of the images: the part byte, and the program's key."""
    return bytes([flags]) + program.identifier[:KEY_BYTES]


def filled(program: Program, wire: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return images as the rows of the array take them: with further ones of 0 behind the last.

    Parameters
    ----------
    program : Program
    wire : array of uint8, shape (n, bytes per image)
        As `xnorcore.model.bits.pack_images` gives them.

    Returns
    -------
    array of uint8, shape (m, `Program.image_bytes`)
        As many images as whole rows take.
    """
    further = -len(wire) % program.per_row
    return np.pad(wire, ((0, further), (0, program.image_bytes - wire.shape[1])))


def image_requests(
    program: Program, wire: NDArray[np.uint8], max_payload: int, expected: list[int]
) -> Iterator[tuple[int, bytes]]:
    """Split images into INFER requests.

    Parameters
    ----------
    program : Program
    wire : array of uint8, shape (n, bytes per image)
        As `xnorcore.model.bits.pack_images` gives them; of a program for several images per row, as
        `filled` gives them.
    max_payload : int
        Bytes of a request's payload.
    expected : list of int
        For each request that is yielded, the number of images that it completes is appended.
    """
    rows = program.batch
    room = max_payload - 1
    first_room = room - KEY_BYTES
    per_frame = first_room // program.image_bytes
    if per_frame >= rows:
        step = per_frame // rows * rows
        for first in range(0, len(wire), step):
            part = wire[first : first + step]
            expected.append(len(part))
            yield Command.INFER, infer_head(program) + part.tobytes()
        return
    # One batch of all rows in several frames; its last one answers for all images.
    for first in range(0, len(wire), rows):
        batch = wire[first : first + rows]
        data = batch.tobytes()
        starts = [0, *range(first_room, len(data), room)]
        for number, (start, stop) in enumerate(zip(starts, [*starts[1:], len(data)], strict=True)):
            end = END if stop == len(data) else 0
            expected.append(len(batch) if end else 0)
            head = bytes([number | end]) if number else infer_head(program, end)
            yield Command.INFER, head + data[start:stop]
