"""The UCI handwritten digits that come with scikit-learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import MissingDependencyError, UsageError
from .dataset import Dataset, stratified_split

HELD_OUT = 500
SPLIT_SEED = 20260101


def load_digits(folder: Path | None = None) -> Dataset:
    """Return the UCI optical digits of scikit-learn: 1,297 images to train on and 500 held out.

    Images are (8, 8, 1) with values 0 to 16, read as 5-bit inputs.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Must be None: the images come with scikit-learn.

    Raises
    ------
    UsageError
        If there is a folder.
    MissingDependencyError
        If scikit-learn is not installed.
    """
    if folder is not None:
        raise UsageError(f"the digits come with scikit-learn, not in a folder; drop {str(folder)!r}")
    try:
        from sklearn import datasets  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        from ..extras import install_extra

        raise MissingDependencyError(
            f"the digits data set needs scikit-learn; run: {install_extra('train')}"
        ) from error
    pixels, targets = datasets.load_digits(return_X_y=True)
    images = np.asarray(pixels).astype(np.uint8).reshape(-1, 8, 8, 1)
    labels = np.asarray(targets).astype(np.uint8)
    train, test = stratified_split(labels, HELD_OUT, SPLIT_SEED)
    return Dataset(
        images[train], labels[train], images[test], labels[test],
        bits=5, maximum=16, classes=tuple("0123456789"),
        split=f"stratified_split(labels, held_out={HELD_OUT}, seed={SPLIT_SEED})",
    )  # fmt: skip
