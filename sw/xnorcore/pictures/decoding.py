"""One PNG or JPEG file to 8-bit grey or colour, with its limits checked before it is decoded."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError, MissingDependencyError, UsageError
from ..extras import install_extra
from ..files.userfile import open_regular

MAX_FILE = 64 << 20
"""Largest file in bytes."""
MAX_PIXELS = 50_000_000
"""Most pixels of a picture, as its header says."""
SUFFIXES = (".png", ".jpg", ".jpeg")
"""What files of pictures are called, in small letters."""
_FORMATS = ("PNG", "JPEG")

Pixels = NDArray[np.uint8]


def pillow() -> Any:
    """Return the module ``PIL.Image``.

    Raises
    ------
    MissingDependencyError
        If Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError(f"pictures need Pillow; run: {install_extra('images')}") from None
    return Image


def read(path: str | os.PathLike[str]) -> Pixels:
    """Read the picture in a file.

    Returns
    -------
    array of uint8, shape (height, width, 1 or 3)
        As `decode`.

    Raises
    ------
    UsageError
        If the file cannot be read.
    FileFormatError, MissingDependencyError
        As `decode`.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {str(Path(path))!r}: {reason}") from None
    return decode(str(Path(path)), data)


def decode(name: str, data: bytes) -> Pixels:
    """Decode a picture: turned as its EXIF says, alpha over white, 16 bits cut to 8.

    Parameters
    ----------
    name : str
        For messages.
    data : bytes
        The whole file.

    Returns
    -------
    array of uint8, shape (height, width, 1 or 3)

    Raises
    ------
    FileFormatError
        If it is no PNG or JPEG, is damaged, or larger than `MAX_FILE` bytes or `MAX_PIXELS` pixels.
    MissingDependencyError
        If Pillow is not installed.
    """
    if len(data) > MAX_FILE:
        raise FileFormatError(f"{name!r}: more than {MAX_FILE} bytes; make the picture smaller")
    image_module = pillow()
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is refused here anyway.
            warnings.simplefilter("ignore")
            image = image_module.open(io.BytesIO(data), formats=_FORMATS)
            width, height = image.size
            if 0 < width * height <= MAX_PIXELS:
                return _pixels(image)
    except MemoryError:
        raise
    except image_module.DecompressionBombError:
        raise FileFormatError(f"{name!r}: the limit is {MAX_PIXELS} pixels; make it smaller") from None
    except Exception as error:  # a decoder fails with any error that damaged bytes may lead to
        text = " ".join(str(error).split())[:80] if data else "it is empty"
        if isinstance(error, image_module.UnidentifiedImageError):
            text = "neither its start nor its header is that of one"
        raise FileFormatError(f"{name!r} is not a PNG or JPEG picture, or is damaged: {text}") from None
    raise FileFormatError(f"{name!r}: {width} x {height} pixels, the limit is {MAX_PIXELS}; make it smaller")


def _pixels(image: Any) -> Pixels:
    from PIL import ImageOps

    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        deep = np.clip(np.asarray(image).astype(np.int64), 0, 0xFFFF)
        return (deep >> 8).astype(np.uint8)[..., np.newaxis]
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = pillow().new("RGBA", image.size, "white")
        image = pillow().alpha_composite(white, image)
        found = np.asarray(image.convert("RGB"))
        grey = (found == found[..., :1]).all()
        return np.ascontiguousarray(found[..., :1] if grey else found)
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., np.newaxis]
    return np.asarray(image.convert("RGB"))
