"""The data sets that have a name: how each is found, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import cifar, own, published
from .dataset import Dataset, TestPart
from .digits import load_digits
from .published import PUBLISHED, Published

__all__ = ["DATASETS", "NamedSet", "of_published"]


@dataclass(frozen=True)
class NamedSet:
    """A data set that has a name.

    Attributes
    ----------
    title : str
        Its name for people.
    load : callable
        ``load(folder)`` returns all of it; `folder` is where to look, or None for the usual folders.
    load_test : callable
        ``load_test(folder)`` returns only the part that measures a network.
    find : callable or None
        ``find(folder)`` returns where it is without looking into its files; None if it comes with a package
        and is in no folder.
    verified : bool
        `load` compares its files with published checksums.
    """

    title: str
    load: Callable[[Path | None], Dataset]
    load_test: Callable[[Path | None], TestPart]
    find: Callable[[Path | None], Path] | None = None
    verified: bool = False


def of_published(kind: Published) -> NamedSet:
    """Return a published data set of four IDX files as a data set with a name."""
    return NamedSet(
        kind.title,
        partial(published.load, kind),
        partial(published.load_test, kind),
        lambda folder: published.find(kind, folder).path,
        verified=True,
    )


DATASETS: dict[str, NamedSet] = {
    "digits": NamedSet("digits", load_digits, lambda folder: load_digits(folder).test),
    **{kind.key: of_published(kind) for kind in PUBLISHED},
    cifar.KEY: NamedSet(
        cifar.TITLE,
        lambda folder: own.load(cifar.find(folder)),
        lambda folder: own.load_test(cifar.find(folder)),
        cifar.find,
    ),
}
"""By name on the command line."""
