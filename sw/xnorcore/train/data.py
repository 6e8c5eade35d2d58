"""Data sets for training: integer images, labels, and a split that never changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, InputError, MissingDependencyError, UsageError
from . import idx

DIGITS_HELD_OUT = 500
DIGITS_SPLIT_SEED = 20260101

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FASHION_SHA256 = "f6610bc64eefc1de6803154f5e2f611d6043d112beb3b6acaf27d996039c2299"
"""Of the SHA-256 digests of the four arrays: training images and labels, test images and labels."""
_FASHION_FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
_FASHION_FIX = (
    "run: apt-get install dataset-fashion-mnist; or set XNORCORE_DATA to the folder of its four IDX files, "
    "or to the root of torchvision's data"
)
_DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split once and for all.

    Attributes
    ----------
    train_images, test_images : numpy.ndarray
        uint8, shape (images, height, width, channels), values 0 to 2**bits - 1.
    train_labels, test_labels : numpy.ndarray
        uint8, shape (images,).
    bits : int
        Bits per value that the input layer must read.
    maximum : int
        Largest value that occurs: `augment` never exceeds it.
    classes : tuple of str
        Name of each label.
    split : str
        How the two parts were made, in words.

    Raises
    ------
    InputError
        If an array has another dtype or shape, or a value or label is out of range.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    bits: int
    maximum: int
    classes: tuple[str, ...]
    split: str

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8 or not 1 <= self.maximum < 1 << self.bits:
            raise InputError(
                f"data set of {self.bits}-bit values up to {self.maximum}: bits must be 1 to 8, "
                "the maximum 1 to 2**bits - 1"
            )
        shape = self.train_images.shape[1:]
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape or not len(images):
                raise InputError(
                    f"{part}_images are {images.dtype} {images.shape}, but must be uint8 "
                    "(images, height, width, channels), one or more, all parts of one size"
                )
            if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
                raise InputError(
                    f"{part}_labels are {labels.dtype} {labels.shape}, but must be uint8 ({len(images)},)"
                )
            if images.max() > self.maximum:
                raise InputError(f"{part}_images hold {images.max()}, but the maximum is {self.maximum}")
            if labels.max() >= len(self.classes):
                raise InputError(
                    f"{part}_labels hold {labels.max()}, but there are {len(self.classes)} classes"
                )


def stratified_split(labels: np.ndarray, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split indices so that each class keeps its share in both parts.

    One shuffle of all indices; of each class the first ones in that order are held out. Shares are
    rounded by largest remainder, so that exactly `held_out` indices are. Both parts keep the shuffled
    order, so any prefix of them is a random sample.

    Parameters
    ----------
    labels : numpy.ndarray
        Integers, shape (images,).
    held_out : int
        Size of the held-out part, 0 to ``len(labels)``.
    seed : int
        Seed of the shuffle, 0 to 2**32 - 1.

    Returns
    -------
    kept, held_out : numpy.ndarray
        int64 indices into `labels`.

    Raises
    ------
    UsageError
        If `held_out` is out of range.
    """
    if not 0 <= held_out <= len(labels):
        raise UsageError(f"cannot hold out {held_out} of {len(labels)} images; use 0 to {len(labels)}")
    # RandomState, because its streams are frozen: the same split with every NumPy.
    order = np.random.RandomState(seed).permutation(len(labels))
    classes, counts = np.unique(labels, return_counts=True)
    share = counts * held_out
    quota = share // len(labels)
    quota[np.argsort(-(share % len(labels)), kind="stable")[: held_out - quota.sum()]] += 1
    held = np.zeros(len(labels), dtype=bool)
    for label, count in zip(classes, quota, strict=True):
        held[order[labels[order] == label][:count]] = True
    return order[~held[order]], order[held[order]]


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
    train, test = stratified_split(labels, DIGITS_HELD_OUT, DIGITS_SPLIT_SEED)
    return Dataset(
        images[train], labels[train], images[test], labels[test],
        bits=5, maximum=16, classes=tuple("0123456789"),
        split=f"stratified_split(labels, held_out={DIGITS_HELD_OUT}, seed={DIGITS_SPLIT_SEED})",
    )  # fmt: skip


def load_fashion(folder: Path | None = None) -> Dataset:
    """Return Fashion-MNIST in its standard split: 60,000 images to train on and 10,000 held out.

    Images are (28, 28, 1) with values 0 to 255. Nothing is downloaded: the four IDX files, plain or
    gzipped, are looked for in `folder`, or else in the folder that the environment variable
    ``XNORCORE_DATA`` names, in that of Debian's package, and in ``data``; in each of them also in
    ``fashion-mnist`` and, as torchvision keeps them, in ``FashionMNIST/raw``.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Look here and nowhere else.

    Raises
    ------
    MissingDependencyError
        If the files are not found.
    FileFormatError
        If one is damaged, or they are not Fashion-MNIST.
    """
    files = _find_fashion(folder)
    arrays = [idx.read(path, 1 if "labels" in path.name else 3) for path in files]
    digest = hashlib.sha256(
        b"".join(hashlib.sha256(array.tobytes()).digest() for array in arrays)
    ).hexdigest()
    if digest != FASHION_SHA256:
        raise FileFormatError(
            f"the files in {str(files[0].parent)!r} are not Fashion-MNIST, or are changed; {_FASHION_FIX}"
        )
    train_images, train_labels, test_images, test_labels = arrays
    return Dataset(
        train_images[..., np.newaxis], train_labels, test_images[..., np.newaxis], test_labels,
        bits=8, maximum=255, classes=FASHION_CLASSES, split="standard: 60,000 to train on, 10,000 held out",
    )  # fmt: skip


def _find_fashion(folder: Path | None) -> list[Path]:
    roots = [folder] if folder is not None else [_DEBIAN_FASHION, Path("data")]
    if folder is None and os.environ.get("XNORCORE_DATA"):
        roots.insert(0, Path(os.environ["XNORCORE_DATA"]))
    for root in roots:
        for place in (root, root / "fashion-mnist", root / "FashionMNIST" / "raw"):
            files = [idx.find(place, name) for name in _FASHION_FILES]
            if all(files):
                return [file for file in files if file is not None]
    looked = ", ".join(repr(str(root)) for root in roots)
    raise MissingDependencyError(f"Fashion-MNIST is not in {looked}; {_FASHION_FIX}")


DATASETS: dict[str, Callable[[Path | None], Dataset]] = {"digits": load_digits, "fashion": load_fashion}
"""Loader of each data set a recipe can name; it takes the folder to look in, or None."""
