"""Folders ``class/picture`` to train on: found, split for good, and brought into one form."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..errors import FileFormatError, InputError, UsageError
from ..files.userfile import open_regular
from ..pictures import PictureRule
from ..pictures.decoding import MAX_FILE, decode, pillow
from .dataset import Dataset
from .own import MAX_CLASSES

HELD_OUT = 0.2
"""Share that is held out, where there is no ``test``."""
_ALIKE, _WORST = 1.5, 8.0
"""Most grey levels by which thumbnails of near duplicates differ, in the mean and at one place."""
_SIDE = 12

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Folder:
    """Labelled pictures, each in several forms.

    Attributes
    ----------
    classes : tuple of str
    labels : array of uint8, shape (n,)
    held : array of bool, shape (n,)
        Which are held out.
    split : str
        How that was decided, in words.
    pixels : list of array of uint8, shape (n, *rule.shape)
        For each rule; None if the rule finds nothing on too many of the pictures.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.uint8]
    held: NDArray[np.bool_]
    split: str
    pixels: list[NDArray[np.uint8] | None]

    def dataset(self, index: int, rule: PictureRule) -> Dataset:
        """Return the pictures as one of the rules saw them."""
        images = self.pixels[index]
        if images is None:
            raise InputError(f"the rule {rule.fit!r} finds nothing on these pictures; choose another")
        held = self.held
        return Dataset(
            images[~held], self.labels[~held], images[held], self.labels[held],
            bits=rule.maximum.bit_length(), maximum=rule.maximum, classes=self.classes, split=self.split,
            pictures=rule.plain(),
        )  # fmt: skip


def gather(
    folder: Path, rules: Sequence[PictureRule], seed: int = 0, progress: Progress | None = None
) -> Folder:
    """Read the pictures of a folder once, and make of each what every rule makes.

    Parameters
    ----------
    folder : pathlib.Path
        ``class/picture``, or ``train/class/picture`` and ``test/class/picture``.
    rules : sequence of PictureRule
    seed : int
        Of the split: a picture is held out by the hash of its file and this, whatever else is in the folder;
        near duplicates go where the first of them goes.
    progress : callable, optional
        Called with (pictures done, pictures in all).

    Raises
    ------
    UsageError
        If there are fewer than two classes, or one has no picture on one side of the split.
    FileFormatError
        If a picture is damaged.
    """
    parts = _parts(folder)
    names = sorted({found.parts[0] for _, found in parts})
    _check_classes(folder, names)
    seen: list[list[NDArray[np.uint8]]] = [[] for _ in rules]
    blank = [0] * len(rules)
    digests, small = [], []
    for number, (_, found) in enumerate(parts):
        data = _content(found.path)
        picture = decode(str(found.path), data)
        digests.append(hashlib.sha256(f"{seed}:".encode() + data).digest())
        small.append(_thumbnail(picture))
        for index, rule in enumerate(rules):
            try:
                seen[index].append(rule.pixels(picture))
            except InputError:
                blank[index] += 1
                seen[index].append(np.zeros(rule.shape, np.uint8))
        if progress:
            progress(number + 1, len(parts))
    labels = np.array([names.index(found.parts[0]) for _, found in parts], np.uint8)
    sides = [side for side, _ in parts]
    if "test" in sides:
        held, split = np.array([side == "test" for side in sides]), "folders train and test"
    else:
        groups = near_duplicates(np.array(small))
        held = _held(digests, groups, labels)
        split = f"by the hash of each file, seed {seed}, near duplicates together"
    for number, name in enumerate(names):
        for side, of in (("train on", ~held), ("hold out", held)):
            if not (of & (labels == number)).any():
                raise UsageError(f"class {name!r} has no picture to {side}; add some")
    pixels = [
        np.stack(each) if few <= len(parts) // 10 else None for each, few in zip(seen, blank, strict=True)
    ]
    return Folder(tuple(names), labels, held, split, pixels)


def _parts(folder: Path) -> list[tuple[str, pictures.Found]]:
    """The pictures with the side that they are on; ``""`` if the folder does not say."""
    sides = [side for side in ("train", "test") if (folder / side).is_dir()]
    found = [(side, each) for side in sides or [""] for each in pictures.find(folder / side)]
    loose = [each for _, each in found if len(each.parts) < 2]
    if loose:
        raise UsageError(f"{str(loose[0].path)!r} is in no folder of a class; a data set is class/picture")
    if sides == ["test"]:
        raise UsageError(f"{str(folder)!r} has a folder test, and none to train on; add train")
    if sides == ["train"]:
        found = [("", each) for _, each in found]
    return found


def _check_classes(folder: Path, names: list[str]) -> None:
    root = folder / "train" if (folder / "train").is_dir() else folder
    empty = sorted(
        each.name
        for each in root.iterdir()
        if each.is_dir() and not each.name.startswith(".") and each.name not in names and each.name != "test"
    )
    if empty:
        raise UsageError(
            f"class {empty[0]!r} in {str(root)!r} has no pictures; add some, or remove the folder"
        )
    if not 2 <= len(names) <= MAX_CLASSES:
        raise UsageError(f"{str(folder)!r} has {len(names)} class(es), but must have 2 to {MAX_CLASSES}")
    if not all(name.isprintable() and len(name) <= 100 for name in names):
        raise UsageError(f"{str(folder)!r}: names of classes are up to 100 printable characters")


def _content(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {error.strerror or error}") from None
    if not data:
        raise FileFormatError(f"{str(path)!r} is empty; remove it")
    return data


def _thumbnail(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    image = pillow().fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).convert("L")
    return np.asarray(image.resize((_SIDE, _SIDE), pillow().Resampling.BOX))


def near_duplicates(small: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return for each picture the number of one that it is nearly the same as, or its own.

    Parameters
    ----------
    small : array of uint8, shape (n, height, width)
        Thumbnails.
    """
    values = small.reshape(len(small), -1).astype(np.float32)
    means = values.mean(axis=1)
    order = np.argsort(means, kind="stable")
    first = np.arange(len(small))
    start = 0
    for place, number in enumerate(order):
        # Those that are alike have nearly the same mean: only these are compared.
        while means[number] - means[order[start]] > _ALIKE:
            start += 1
        near = order[start:place]
        apart = np.abs(values[near] - values[number])
        alike = near[(apart.mean(axis=1) <= _ALIKE) & (apart.max(axis=1, initial=0) <= _WORST)]
        if len(alike):
            first[number] = first[alike[0]]
    return first


def _held(digests: list[bytes], groups: NDArray[np.int64], labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Hold out groups whose hash is in the lowest part; of a class at least one, and not all."""
    # The smallest hash of a group names it: the order of the files does not. Hashed again, for the smallest
    # of several is too often in the lowest part.
    least = {}
    for digest, group in zip(digests, groups.tolist(), strict=True):
        least[group] = min(digest, least.get(group, digest))
    keys = [hashlib.sha256(least[group]).digest() for group in groups.tolist()]
    limit = int(HELD_OUT * 2**32).to_bytes(4, "big")
    held = np.array([key[:4] < limit for key in keys])
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        ordered = sorted({keys[number] for number in own})
        if not held[own].any() or held[own].all():
            held[own] = [keys[number] == ordered[0] for number in own]
    return held
