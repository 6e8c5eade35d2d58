"""Pictures one after the other: of a camera, or as they come into a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..errors import InputError, MissingDependencyError, UsageError
from ..extras import pip_install

_PAUSE_S = 0.2

Frame = tuple[str, Callable[[], NDArray[np.uint8]]]


def frames(camera: int | None, folder: Path | None) -> Iterator[Frame]:
    """Yield a name, and what reads the picture, of a camera by its number or else of a folder; without end.

    Raises
    ------
    MissingDependencyError
        If a camera is asked for, and OpenCV is not installed.
    UsageError
        If there is no such camera or folder.
    InputError
        If the camera gives no more pictures.
    """
    if camera is not None:
        yield from _camera(camera)
    elif folder is not None:
        yield from _folder(folder)


def _camera(number: int) -> Iterator[Frame]:
    try:
        import cv2  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingDependencyError(
            f"a camera needs OpenCV; run: {pip_install(['opencv-python-headless'])}, or use --watch FOLDER"
        ) from None
    device: Any = cv2.VideoCapture(number)
    try:
        if not device.isOpened():
            raise UsageError(f"no camera {number}, or it is in use; the first one is 0")
        count = 0
        while True:
            good, image = device.read()
            if not good:
                raise InputError(f"camera {number} gives no more pictures; plug it in again")
            # OpenCV's colours are blue, green, red.
            picture = np.ascontiguousarray(image[..., ::-1])
            yield f"camera {number}, {count}", lambda picture=picture: picture
            count += 1
    finally:
        device.release()


def _folder(folder: Path) -> Iterator[Frame]:
    """New pictures, and those written again, once they stop growing."""
    if not folder.is_dir():
        raise UsageError(f"no folder {str(folder)!r} to watch; create it first")
    done: dict[Path, tuple[int, int]] = {}
    before: dict[Path, tuple[int, int]] = {}
    while True:
        now = _stamps(folder)
        for path, stamp in now.items():
            if before.get(path) == stamp and done.get(path) != stamp:
                done[path] = stamp
                yield str(path), partial(pictures.read, path)
        before = now
        time.sleep(_PAUSE_S)


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    try:
        found = pictures.find(folder)
    except UsageError:
        return {}
    stamps = {}
    for each in found:
        try:
            status = each.path.stat()
        except OSError:  # gone since
            continue
        stamps[each.path] = status.st_size, status.st_mtime_ns
    return stamps
