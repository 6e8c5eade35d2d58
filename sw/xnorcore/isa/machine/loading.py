"""How image bytes come to lie in activation memory: packed bits, bit planes, windows of a convolution."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..device import DeviceConfig
from ..layout import signed
from .memories import Memories

__all__ = ["store_images"]


def store_images(
    memories: Memories, header: Mapping[str, int], images: NDArray[np.uint8], parity: int
) -> None:
    """Store one batch, an image per row, or one image in all rows where the header has `spread`.

    Parameters
    ----------
    memories : Memories
    header : mapping
        Fields of the armed program.
    images : array of uint8, shape (n, bytes per image)
    parity : int
        Input region.
    """
    planes = header["in_bits_last"] + 1
    base, stride = header[f"in_base{parity}"], signed(header["plane_stride"])
    for number, image in enumerate(images):
        rows = slice(None) if header["spread"] else slice(number, number + 1)
        if not header["interleaved"]:
            if planes == 1:
                _store(memories, rows, base, np.unpackbits(image, bitorder="little"))
                continue
            lines = image[np.newaxis]
        else:
            take = windows if memories.config.whole_windows else interleaved
            lines = take(header, image, memories.config)
        for plane in range(planes):
            at = base + plane * stride
            for line in lines:
                # Eight values make a byte of each plane; what the last byte lacks is 0.
                bits = np.pad(line >> plane & 1, (0, -len(line) % 8))
                _store(memories, rows, at, bits)
                at += -(-len(line) // memories.config.geometry.width)


def _store(memories: Memories, rows: slice, base: int, bits: NDArray[np.uint8]) -> None:
    """Write bits into consecutive words; what the last word has beyond them stays, or is 0 with one port."""
    width, single = memories.config.geometry.width, memories.config.act_ports == 1
    for first in range(0, len(bits), width):
        part = bits[first : first + width]
        if single:
            part = np.pad(part, (0, width - len(part)))
        memories.activations[rows, base + first // width, : len(part)] = part


def interleaved(
    header: Mapping[str, int], image: NDArray[np.uint8], config: DeviceConfig
) -> NDArray[np.uint8]:
    """Return the values under the kernel, one row for each row of positions, as the line buffer gives them.

    The buffer is a ring of the rows under the kernel: what it gives depends on what has come by then.
    """
    values = _values(header, image)
    height, width, row_values = header["map_height"], header["map_width"], header["row_values"]
    kernel, channels = header["kernel_last"] + 1, header["channels_last"] + 1
    across = header["pad_left"] + width + header["pad_right"]
    ring = _ring(config.line_bytes)
    size = len(ring)
    lines = np.zeros((header["rows_last"] + 1, across, kernel, channels), np.uint8)
    steps = np.full((across, kernel, channels), 1)
    steps[:, :, -1] = row_values - (channels - 1)
    steps[:, -1, -1] = header["column_step"]
    steps[-1, -1, -1] = header["line_step"]
    # Places of a row's values, counted from the first one's, and where the next row's begin.
    ends = np.cumsum(steps)
    places, along = np.concatenate([[0], ends[:-1]]).reshape(steps.shape), int(ends[-1])
    received, top, first = 0, -header["pad_top"], 0
    columns = slice(header["pad_left"], header["pad_left"] + width)
    for line in lines:
        while received < min(top + kernel, height):
            at = header["first_place"] + received * row_values + np.arange(row_values)
            ring[at % size] = values[received * row_values : (received + 1) * row_values]
            received += 1
        line[:] = header["pad"]
        on_map = slice(max(-top, 0), max(min(kernel, height - top), 0))
        line[columns, on_map] = ring[(first + places[columns, on_map]) % size]
        top += header["stride"]
        first += along
    columns_at = np.pad(
        lines.reshape(len(lines), across, -1), ((0, 0), (0, 0), (0, -kernel * channels % config.column_align))
    )
    return columns_at.reshape(len(lines), -1)


def windows(header: Mapping[str, int], image: NDArray[np.uint8], config: DeviceConfig) -> NDArray[np.uint8]:
    """Return the values under the kernel, one row for each position, where they lie in words of their own.

    The ring has the rows' padding in it: to the left of each row's values, and whole rows of it.
    """
    values, ring = _values(header, image), _ring(config.line_bytes)
    kernel, run, across = header["kernel_last"] + 1, header["run_last"] + 1, header["across_last"] + 1
    size, row_values, length = len(ring), header["row_values"], (header["row_step"] + run - 1) & 0xFFFF
    rows = header["rows_last"] + 1
    steps = np.ones((across, kernel, run), np.int64)
    steps[:, :, -1] = header["row_step"]
    steps[:, -1, -1] = header["window_step"]
    steps[-1, -1, -1] = header["line_step"]
    ends = np.cumsum(steps)
    places, along = np.concatenate([[0], ends[:-1]]).reshape(across, -1), int(ends[-1])
    found = np.zeros((rows, *places.shape), np.uint8)
    at = header["first_place"] - (header["first_place"] >> 10 << 11)
    beside = np.full(length - row_values, header["pad"], np.uint8)

    def put(part: NDArray[np.uint8]) -> None:
        nonlocal at
        # What a ring overwrites itself is not needed any more.
        for value in range(0, len(part), size):
            piece = part[value : value + size]
            ring[(at + np.arange(len(piece))) % size] = piece
            at += len(piece)

    put(beside)
    ended = 0
    for row in range(rows):
        while ended < kernel + row * header["stride"]:
            number = ended - header["pad_top"]
            outside = not 0 <= number < header["map_height"]
            first = number * row_values
            put(
                np.full(row_values, header["pad"], np.uint8)
                if outside
                else values[first : first + row_values]
            )
            put(beside)
            ended += 1
        found[row] = ring[(row * along + places) % size]
    return found.reshape(rows * across, -1)


def _values(header: Mapping[str, int], image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image's values as the line buffer keeps them."""
    return 3 * np.unpackbits(image, bitorder="little") if header["packed"] else image


def _ring(line_bytes: int) -> NDArray[np.uint8]:
    """Return an empty line buffer."""
    return np.zeros(1 << max(1, (line_bytes - 1).bit_length()), np.uint8)
