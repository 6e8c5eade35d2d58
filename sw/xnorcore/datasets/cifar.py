"""CIFAR-10's binary version, and single images in its form: a label byte, then three planes of 32 x 32."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, MissingDependencyError
from . import idx
from .published import VARIABLE, search_path

KEY = "cifar10"
TITLE = "CIFAR-10"
FOLDERS = ("", "cifar-10-batches-bin")
"""Where its files lie below a folder that is looked in; the second is what its archive makes."""

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
TEST = "test_batch.bin"
TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
RECORD = 1 + 3 * 32 * 32
MAX_RECORDS = 60_000


def find(folder: Path | None = None) -> Path:
    """Return the first folder that holds all six files; their content is not looked at yet.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Look here and nowhere else.

    Raises
    ------
    MissingDependencyError
        If there is none; says where it was looked, and what to do.
    """
    roots = search_path() if folder is None else [folder]
    for place in (root / name for root in roots for name in FOLDERS):
        if all((place / name).is_file() for name in (TEST, *TRAIN)):
            return place
    looked = ", ".join(repr(str(root)) for root in roots)
    raise MissingDependencyError(
        f"{TITLE} is not in {looked}; extract its binary version, cifar-10-binary.tar.gz, there, or set "
        f"{VARIABLE} to the folder of its six files"
    )


def recognise(folder: Path) -> bool:
    """Return whether a folder holds the test part."""
    return (folder / TEST).exists() and not (folder / TEST).is_dir()


def read(path: Path, test_only: bool) -> dict[str, np.ndarray]:
    """Read a folder of CIFAR-10's files, or one file of records, which is a test part.

    Returns
    -------
    dict
        ``test_images``, ``test_labels`` and, from a folder, ``train_images``, ``train_labels``: uint8, shapes
        (images, 32, 32, 3) and (images,).

    Raises
    ------
    FileFormatError
        If a file cannot be read, is no whole number of records, or a label is above 9.
    """
    if not path.is_dir():
        images, labels = _file(path)
        return {"test_images": images, "test_labels": labels}
    parts = {"test": [path / TEST]}
    if not test_only and all((path / name).exists() for name in TRAIN):
        parts["train"] = [path / name for name in TRAIN]
    arrays = {}
    for part, files in parts.items():
        read = [_file(file) for file in files]
        arrays[f"{part}_images"] = np.concatenate([images for images, _ in read])
        arrays[f"{part}_labels"] = np.concatenate([labels for _, labels in read])
    return arrays


def _file(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with idx.opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size % RECORD or not 1 <= size // RECORD <= MAX_RECORDS:
            raise FileFormatError(
                f"{str(path)!r} has {size} bytes, but images of CIFAR-10 have {RECORD} each, 1 to "
                f"{MAX_RECORDS} of them; give another file"
            )
        data = file.read(size)
    if len(data) != size:
        raise FileFormatError(f"{str(path)!r} changed while it was read; try again")
    records = np.frombuffer(bytearray(data), np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].copy()
    if labels.max() > 9:
        raise FileFormatError(
            f"{str(path)!r}: label {labels.max()}, but CIFAR-10 has 0 to 9; give another file"
        )
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels
