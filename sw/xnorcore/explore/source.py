"""Data to explore with: each form in which a network may read it, as a data set that a recipe can name."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import datasets
from ..datasets import Dataset, cifar, csvfile, idx
from ..datasets.folders import Progress, gather
from ..datasets.published import FILES
from ..errors import UsageError
from ..files.userfile import write_file
from ..pictures import PictureRule

__all__ = ["Form", "forms"]

DATA = "data"
"""Folder of data sets that were made of pictures or rows, in that of the search."""


@dataclass(frozen=True)
class Form:
    """A way to read the data.

    Attributes
    ----------
    name : str
        Short; begins the names of the networks that read it.
    dataset : str
        What a recipe calls it.
    data : Dataset
    threshold : int or None
        As of a recipe.
    """

    name: str
    dataset: str
    data: Dataset
    threshold: int | None = None

    @property
    def bits(self) -> int:
        """Bits of an input value."""
        return 1 if self.threshold else self.data.bits


def forms(
    source: str,
    folder: Path,
    *,
    bits: int = 8,
    seed: int = 0,
    label: str | None = None,
    progress: Progress | None = None,
) -> list[Form]:
    """Return the forms of some data; of pictures and rows, data sets are written that hold them.

    Parameters
    ----------
    source : str
        Name of a data set, or path of a user's own: a folder of pictures, a .csv file, arrays.
    folder : pathlib.Path
        Of the search.
    bits : int
        The most that an input value may have.
    seed : int
        Of the split of pictures and rows.
    label : str, optional
        Column of a .csv file.
    progress : callable, optional
        Called with (pictures done, pictures in all).

    Raises
    ------
    UsageError
        If there is no such data, or no form of it has so few bits.
    FileFormatError, InputError
        As `datasets.load` and `datasets.folders.gather`.
    """
    path = Path(source)
    if datasets.canonical(source) is None and path.suffix.lower() == ".csv":
        found = _both("rows", _kept(folder, "rows", csvfile.load(path, label, seed)))
    elif datasets.canonical(source) is None and path.is_dir() and not _arrays(path):
        found = _pictures(path, folder, seed, progress)
    else:
        found = _both("values", (source, datasets.load(source)))
    few = [form for form in found if form.bits <= bits]
    if not few:
        least = min(form.bits for form in found)
        raise UsageError(f"no form of {source!r} has {bits} bits or fewer per value; --bits must be {least}")
    return few


def _arrays(path: Path) -> bool:
    """Tell whether a folder holds arrays, and not pictures."""
    idx_files = any(idx.find(path, name) for name in FILES)
    return idx_files or (path / "test_images.npy").exists() or cifar.recognise(path)


def _both(name: str, named: tuple[str, Dataset]) -> list[Form]:
    """The values as they are, and as one bit: at least half of the largest one."""
    dataset, data = named
    whole = Form(f"{name}{data.bits}", dataset, data)
    if data.bits == 1:
        return [whole]
    return [whole, Form(f"{name}1", dataset, data, (data.maximum + 1) // 2)]


_RULES = {
    "paper1": PictureRule((20, 20, 1), "paper", box=18),
    "grey8": PictureRule((16, 16, 1), "crop"),
    "grey4": PictureRule((16, 16, 1), "crop", maximum=15),
    "grey2": PictureRule((16, 16, 1), "crop", maximum=3),
    "colour4": PictureRule((10, 10, 3), "crop", maximum=15),
    "colour2": PictureRule((10, 10, 3), "crop", maximum=3),
    "large8": PictureRule((30, 30, 3), "crop"),
}
_PAPER = 128
"""Threshold of strokes on paper."""


def _pictures(path: Path, folder: Path, seed: int, progress: Progress | None) -> list[Form]:
    gathered = gather(path, list(_RULES.values()), seed, progress)
    found = []
    for index, (name, rule) in enumerate(_RULES.items()):
        if gathered.pixels[index] is not None:
            dataset, data = _kept(folder, name, gathered.dataset(index, rule))
            found.append(Form(name, dataset, data, _PAPER if rule.fit == "paper" else None))
    return found


def _kept(folder: Path, name: str, data: Dataset) -> tuple[str, Dataset]:
    """Write a data set, and return it as whoever trains with it again reads it."""
    arrays = {
        "train_images": data.train_images,
        "train_labels": data.train_labels,
        "test_images": data.test_images,
        "test_labels": data.test_labels,
        "classes": np.array(data.classes),
    }
    if data.pictures is not None:
        arrays["pictures"] = np.array(json.dumps(data.pictures))
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    path = folder / DATA / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, file.getvalue())
    return str(path), datasets.load(str(path))
