"""Integer images, their labels, and a split that never changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import InputError, UsageError


@dataclass(frozen=True)
class TestPart:
    """The held-out images of a data set, which only measure a network.

    Attributes
    ----------
    images : numpy.ndarray
        uint8, shape (images, height, width, channels).
    labels : numpy.ndarray
        uint8, shape (images,).
    maximum : int
        Largest value that images of the data set can hold.
    classes : tuple of str
        Name of each label.
    split : str
        How the part was made, in words.
    """

    __test__ = False  # its name starts like a test's

    images: np.ndarray
    labels: np.ndarray
    maximum: int
    classes: tuple[str, ...]
    split: str


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
    pictures : dict, optional
        Of images that were made of pictures: the entry ``pictures`` of networks that are trained with them.

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
    pictures: dict[str, Any] | None = None

    @property
    def test(self) -> TestPart:
        """The held-out part alone."""
        return TestPart(self.test_images, self.test_labels, self.maximum, self.classes, self.split)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of everything in the data set: images, labels, names."""
        text = [
            self.bits,
            self.maximum,
            self.classes,
            self.split,
            self.train_images.shape,
            self.test_images.shape,
        ]
        found = hashlib.sha256(json.dumps(text).encode())
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

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
