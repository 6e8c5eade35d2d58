"""The command ``data``: which data sets are here, where, and whether they are what they should be."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .. import datasets
from ..datasets import Dataset, TestPart, published
from ..errors import FileFormatError, InputError, MissingDependencyError, UsageError
from .console import Console, table
from .options import Parser


def add_data(parser: Parser) -> None:
    """Add the arguments of ``data``."""
    parser.set_defaults(call=_data)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(sorted(datasets.DATASETS))}, or the path of your own data set; default all names",
    )
    add_folder(parser)


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add --folder."""
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="PATH",
        help=f"look for published data sets in this folder or tarball only; default ${published.VARIABLE}, "
        "then the usual folders",
    )


def _data(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.folder is not None and not arguments.folder.exists():
        raise UsageError(f"--folder {str(arguments.folder)!r} does not exist")
    # Those that need no files do not care for a folder, unless they were asked for.
    filed = [name for name, named in datasets.DATASETS.items() if named.find]
    every = filed if arguments.folder else sorted(datasets.DATASETS)
    found = []
    for done, name in enumerate(arguments.names or every):
        console.count("data sets", done, len(arguments.names or every))
        found.append(_one(name, arguments.folder))
    value = {
        "command": "data",
        "searched": [str(arguments.folder)] if arguments.folder else list(map(str, published.search_path())),
        "data": found,
    }
    console.result(value, _lines(found))
    bad = [each for each in found if each["status"] != "ok"]
    # Nobody asked for a set that is merely not here.
    if not arguments.names:
        bad = [each for each in bad if each["status"] != "missing"]
    return 1 if bad else 0


def _one(name: str, folder: Path | None) -> dict[str, Any]:
    key = datasets.canonical(name)
    named = datasets.DATASETS[key] if key else None
    value: dict[str, Any] = {"name": key or name, "title": named.title if named else name}
    place: Path | None = None
    try:
        if named is None:
            place = Path(name)
            data = _own(name, folder)
        elif named.find is None:
            data = named.load(None)
        else:
            place = named.find(folder)
            data = named.load(folder)
    except MissingDependencyError as error:
        return {**value, **_NOTHING, "status": "missing", "message": str(error)}
    except (FileFormatError, InputError) as error:
        where = {"place": str(place or name)}
        return {**value, **_NOTHING, **where, "status": "damaged", "message": str(error)}
    verified = named is not None and named.verified
    place_text = None if place is None else str(place)
    return {**value, **_facts(data), "status": "ok", "place": place_text, "verified": verified}


def _own(name: str, folder: Path | None) -> Dataset | TestPart:
    """The user's own data set, which may have a test part only."""
    try:
        return datasets.load(name, folder)
    except UsageError:
        return datasets.load_test(name, folder)


_NOTHING = dict.fromkeys(("place", "train", "test", "shape", "maximum", "classes", "split")) | {
    "verified": False
}


def _facts(data: Dataset | TestPart) -> dict[str, Any]:
    train = len(data.train_labels) if isinstance(data, Dataset) else 0
    test = data.test if isinstance(data, Dataset) else data
    return {
        "train": train,
        "test": len(test.labels),
        "shape": list(test.images.shape[1:]),
        "maximum": data.maximum,
        "classes": list(data.classes),
        "split": data.split,
        "message": None,
    }


def _lines(found: list[dict[str, Any]]) -> list[str]:
    rows = []
    for each in found:
        if each["status"] == "ok":
            checked = "checksums right" if each["verified"] else "read"
            counts = (f"{each['train']:,}", f"{each['test']:,}", " x ".join(map(str, each["shape"])))
            rows.append((each["title"], checked, *counts, each["place"] or "with scikit-learn"))
        else:
            rows.append((each["title"], each["status"], "", "", "", each["place"] or ""))
    lines = table(
        rows, ("data", "status", "train", "test", "image", "where"), drop=("image", "train", "test")
    )
    troubles = [f"{each['title']}: {each['message']}" for each in found if each["message"]]
    return [*lines, *(["", *troubles] if troubles else [])]
