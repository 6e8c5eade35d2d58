"""Images as PNG inside of a page."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .html import Markup, shown

__all__ = ["picture"]


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _png(image: NDArray[np.uint8]) -> bytes:
    height, width = image.shape[:2]
    colour = 2 if image.ndim == 3 else 0
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    data = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def picture(image: NDArray[Any], maximum: int, says: str) -> Markup:
    """Return an image as markup.

    Parameters
    ----------
    image : array, shape (height, width, channels) or (values,)
        Integers 0 to `maximum`. Three channels are red, green and blue; of others the mean is shown, and a
        vector that is no square is one line.
    maximum : int
    says : str
        In words, for those who do not see it.
    """
    if image.ndim == 1:
        side = int(np.sqrt(image.size))
        image = image.reshape((side, side, 1) if side * side == image.size else (1, -1, 1))
    values = image if image.shape[2] == 3 else image.mean(axis=2)
    pixels = np.rint(np.clip(values / max(maximum, 1), 0, 1) * 255).astype(np.uint8)
    data = base64.b64encode(_png(pixels)).decode()
    return Markup(f'<img alt="{shown(says)}" src="data:image/png;base64,{data}">')
