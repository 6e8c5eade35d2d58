"""Networks that come with the package, by name."""

from __future__ import annotations

import io
import os
import zipfile
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import FileFormatError, UsageError
from .files import xnorfile
from .model.network import Network
from .nearest import did_you_mean


def _data() -> Traversable:
    return files(__package__ or "xnorcore") / "zoo_data"


def names() -> list[str]:
    """Names of the packaged networks, sorted."""
    data = _data()
    if not data.is_dir():
        return []
    return sorted(entry.name[:-5] for entry in data.iterdir() if entry.name.endswith(".xnor"))


def load(name_or_path: str | os.PathLike[str]) -> Network:
    """Load a packaged network by its name, or any ``.xnor`` file by its path.

    Raises
    ------
    UsageError
        If there is no such network and no such file.
    FileFormatError
        If the file is damaged.
    """
    name = os.fspath(name_or_path)
    if name in names():
        return xnorfile.loads((_data() / f"{name}.xnor").read_bytes())
    if not Path(name).exists():
        meant = did_you_mean(name, names())
        raise UsageError(f"no network {name!r}: not a file, and the zoo has {_listed()}{meant}")
    return xnorfile.load(name)


def test_images(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Held-out images that come with a packaged network, and their labels.

    Returns
    -------
    images : array of uint8, shape (n, *network.input.shape)
    labels : array of int64, shape (n,)

    Raises
    ------
    UsageError
        If the zoo has no such network, or no images for it.
    FileFormatError
        If the packaged file is damaged.
    """
    if name not in names():
        raise UsageError(
            f"no network {name!r} in the zoo, which has {_listed()}{did_you_mean(name, names())}"
        )
    entry = _images(name)
    if entry is None:
        raise UsageError(f"network {name!r} comes without test images")
    try:
        with np.load(io.BytesIO(entry.read_bytes()), allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise FileFormatError(f"test images of {name!r}: {error}") from None
    if images.dtype != np.uint8 or labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise FileFormatError(f"test images of {name!r}: wrong dtypes or shapes")
    return images, labels.astype(np.int64)


def _images(name: str) -> Traversable | None:
    """Return the images of a network: its own, or those of its data set, which several networks share."""
    own = _data() / f"{name}.npz"
    if own.is_file():
        return own
    recipe = load(name).metadata.get("recipe")
    dataset = recipe.get("dataset") if isinstance(recipe, dict) else None
    shared = _data() / f"{dataset}.npz"
    return shared if isinstance(dataset, str) and shared.is_file() else None


# The name starts like a test; pytest must not collect it where it is imported.
test_images.__test__ = False  # type: ignore[attr-defined]


def _listed() -> str:
    return ", ".join(names()) or "no networks"
