"""Folders of pictures, ``class/picture``, as the part of a data set that measures a network."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .. import pictures
from ..errors import InputError, UsageError
from ..model import classes
from ..model.network import Network
from ..pictures import PictureRule
from . import folders
from .dataset import TestPart


def labelled(folder: Path, rule: PictureRule, network: Network) -> TestPart:
    """Return pictures of ``class/picture``, or of ``test/class/picture``, as a network sees them.

    Of a folder that the network was trained with, the part that was held out.

    Parameters
    ----------
    folder : pathlib.Path
    rule : PictureRule
    network : Network
        Its classes are the folders' names, or their numbers; if neither, the folders as sorted.

    Raises
    ------
    UsageError
        If there are no pictures.
    InputError
        If there are more folders than classes, or a picture shows no strokes where the rule looks for them.
    FileFormatError
        If a picture is damaged.
    """
    seed = _split(folder, network)
    if seed is not None:
        return folders.gather(folder, [rule], seed).dataset(0, rule).test
    names = pictures.classes_of(folder)
    root = folder / "test" if (folder / "test").is_dir() else folder
    labels = _labels(names, network)
    found = pictures.find(root)
    seen = []
    for each in found:
        try:
            seen.append(rule.pixels(pictures.read(each.path)))
        except InputError as error:
            raise InputError(f"{str(each.path)!r}: {error}") from None
    if any(len(each.parts) < 2 for each in found):
        raise UsageError(f"pictures beside the folders of classes in {str(root)!r}; move them into one")
    numbers = np.array([labels[each.parts[0]] for each in found], np.uint8)
    shown = tuple(classes.names(network.metadata, network.class_count))
    return TestPart(np.stack(seen), numbers, rule.maximum, shown, f"pictures of {root.name}, by folder")


def _split(folder: Path, network: Network) -> int | None:
    """The seed of the split, if the network was trained with a part of this folder."""
    recipe, seed = network.metadata.get("recipe"), network.metadata.get("seed")
    trained = recipe.get("dataset") if isinstance(recipe, dict) else None
    if not isinstance(trained, str) or type(seed) is not int or (folder / "test").is_dir():
        return None
    return seed if os.path.realpath(trained) == os.path.realpath(folder) else None


def _labels(names: list[str], network: Network) -> dict[str, int]:
    known = classes.names(network.metadata, network.class_count)
    if set(names) <= set(known):
        return {name: known.index(name) for name in names}
    if all(name.isascii() and name.isdecimal() and int(name) < network.class_count for name in names):
        return {name: int(name) for name in names}
    if len(names) != network.class_count:
        raise InputError(
            f"folders {', '.join(names[:8])} are not the classes of network {network.name!r}: "
            f"{', '.join(known[:12])}; give them these names"
        )
    return {name: number for number, name in enumerate(names)}
