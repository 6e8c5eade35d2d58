"""Data sets: published ones by name, a user's own by path. Nothing is downloaded; PyTorch is not needed."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from ..nearest import did_you_mean
from . import csvfile, own
from .dataset import Dataset, TestPart, stratified_split
from .named import DATASETS
from .published import FASHION, MNIST, PUBLISHED

__all__ = [
    "DATASETS", "FASHION", "MNIST", "PUBLISHED", "Dataset", "TestPart", "canonical", "load", "load_test",
    "stratified_split",
]  # fmt: skip

_ALIASES = {"fashion-mnist": "fashion"}


def canonical(name: str) -> str | None:
    """Return the key in `DATASETS` that a name stands for, or None."""
    name = _ALIASES.get(name, name)
    return name if name in DATASETS else None


def load(name_or_path: str, folder: Path | None = None) -> Dataset:
    """Return a data set, training and test part.

    Parameters
    ----------
    name_or_path : str
        A name in `DATASETS`, ``fashion-mnist``, or the path of a user's own data set.
    folder : pathlib.Path, optional
        Look for a published data set here, and nowhere else.

    Raises
    ------
    UsageError
        If it is neither, or has no training part.
    MissingDependencyError
        If a published data set is not found, or needs a package.
    FileFormatError, InputError
        If a file is damaged or the arrays do not belong together.
    """
    key = canonical(name_or_path)
    if key is not None:
        return DATASETS[key].load(folder)
    path = _own(name_or_path, folder)
    return csvfile.load(path) if path.suffix.lower() == ".csv" else own.load(path)


def load_test(name_or_path: str, folder: Path | None = None) -> TestPart:
    """Return only the part that measures a network; parameters and errors as `load`."""
    key = canonical(name_or_path)
    if key is not None:
        return DATASETS[key].load_test(folder)
    path = _own(name_or_path, folder)
    return csvfile.load(path).test if path.suffix.lower() == ".csv" else own.load_test(path)


def _own(path: str, folder: Path | None) -> Path:
    if folder is not None:
        raise UsageError(
            f"{path!r} is a path, and so needs no folder to look in; drop {str(folder)!r}, or name one of "
            f"{', '.join(sorted(DATASETS))}"
        )
    found = Path(path)
    if not found.exists() and (meant := did_you_mean(path, [*DATASETS, *_ALIASES])):
        raise UsageError(f"no data set {path!r}: not a name, not a file and not a folder{meant}")
    return found
