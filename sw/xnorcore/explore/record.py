"""What a search has found so far, on the disk after every piece of work: it can be gone on with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..errors import FileFormatError, UsageError
from ..files.userfile import open_regular, write_file
from .point import Place

__all__ = ["Record"]

NAME = "explore.json"
MAX_BYTES = 64 << 20
_VERSION = 1


class Record:
    """The file of a search in its folder.

    Parameters
    ----------
    folder : pathlib.Path
    key : dict
        What fixes the results. A file with another one is of another search.

    Attributes
    ----------
    places : dict of str to list of Place
        By the name of a point, and whether other configurations were searched.
    trials : dict of str to dict
        By the name of a point and its epochs: what its network says of itself.

    Raises
    ------
    UsageError
        If the folder holds another search.
    FileFormatError
        If the file is damaged.
    """

    def __init__(self, folder: Path, key: dict[str, Any]) -> None:
        self.path, self.key = folder / NAME, key
        self.places: dict[str, list[Place]] = {}
        self.trials: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            self._load()

    def _load(self) -> None:
        broken = f"{str(self.path)!r} is damaged; delete it to begin anew, or name another folder with --out"
        try:
            with open_regular(self.path) as file:
                content = file.read(MAX_BYTES + 1)
            value = json.loads(content) if len(content) <= MAX_BYTES else None
            if not isinstance(value, dict) or value["version"] != _VERSION:
                raise FileFormatError(broken)
            key, digest = value["key"], value.pop("sha256")
            if digest != _digest(value):
                raise FileFormatError(broken)
            self.places = {name: list(map(Place.parse, each)) for name, each in value["places"].items()}
            self.trials = dict(value["trials"])
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise FileFormatError(broken) from None
        except OSError as error:
            raise UsageError(f"cannot read {str(self.path)!r}: {error.strerror or error}") from None
        if key != self.key:
            other = next(name for name in self.key if key.get(name) != self.key[name])
            raise UsageError(
                f"{str(self.path.parent)!r} holds a search with another {other} ({key.get(other)!r:.60}, not "
                f"{self.key[other]!r:.60}); name another folder with --out"
            )

    def save(self) -> None:
        """Write the file."""
        places = {name: [place.plain() for place in each] for name, each in self.places.items()}
        value = {
            "version": _VERSION,
            "key": self.key,
            "places": dict(sorted(places.items())),
            "trials": dict(sorted(self.trials.items())),
        }
        value["sha256"] = _digest(value)
        write_file(self.path, (json.dumps(value, indent=1) + "\n").encode())


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
