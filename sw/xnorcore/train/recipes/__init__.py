"""Recipes as TOML files: those that come with the package, and a user's own. No PyTorch needed."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, UsageError
from ...files.userfile import open_regular, refuse_special
from ...model.check import brief
from ...nearest import did_you_mean
from ..recipe import Augment, Conv, Recipe

LIMIT = 1 << 16
"""Largest recipe file in bytes."""

_INT, _NUMBER, _TEXT, _FLAG = "a whole number", "a number", "a text", "true or false"


def load(name_or_path: str) -> Recipe:
    """Return a packaged recipe by its name, or read one from a ``.toml`` file.

    Raises
    ------
    UsageError
        If there is no such recipe and no such file, or a value is out of range.
    FileFormatError
        If the file is no recipe.
    """
    if name_or_path in RECIPES:
        return RECIPES[name_or_path]
    path = Path(name_or_path)
    refuse_special(path)
    if path.suffix != ".toml":
        raise UsageError(
            f"unknown recipe {name_or_path!r}; known: {', '.join(sorted(RECIPES))}, or give a .toml file"
            f"{did_you_mean(name_or_path, RECIPES)}"
        )
    try:
        with open_regular(path) as file:
            content = file.read(LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read recipe {name_or_path!r}: {reason}") from None
    if len(content) > LIMIT:
        raise FileFormatError(f"recipe {name_or_path!r} has more than {LIMIT} bytes; it is no recipe")
    return read(content, path.stem)


def read(content: bytes, name: str) -> Recipe:
    """Return the recipe that a TOML file holds.

    Parameters
    ----------
    content : bytes
        The file. Its keys are the parameters of `Recipe`; ``[augment]`` and each ``[[convs]]`` are tables.
    name : str
        Name of the recipe, unless the file says another.

    Raises
    ------
    FileFormatError
        If it is not TOML, a key is unknown or missing, or a value has another type.
    UsageError
        If a value is out of range.
    """
    try:
        values = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"recipe {name!r} is not TOML: {str(error)[:200]}") from None
    return _build(Recipe, {"name": name} | values, f"recipe {name!r}")


def _build(cls: Any, values: Any, place: str) -> Any:
    """Make a dataclass from a table, with every key and type checked."""
    if not isinstance(values, dict):
        raise FileFormatError(f"{place}: is {values!r:.60}, but must be a table of keys")
    known = {field.name: field for field in fields(cls)}
    for key, value in values.items():
        if key not in known:
            raise FileFormatError(f"{place}: unknown key {brief(key)}; known: {', '.join(known)}")
        values = values | {
            key: _convert(f"{cls.__name__}.{key}", str(known[key].type), value, f"{place}, {key}")
        }
    missing = [key for key, field in known.items() if key not in values and _required(field)]
    if missing:
        raise FileFormatError(f"{place}: {missing[0]!r} is missing; add it")
    return cls(**values)


def _required(field: Any) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _convert(key: str, annotation: str, value: Any, place: str) -> Any:
    if key == "Recipe.augment":
        return _build(Augment, value, place)
    if key == "Recipe.convs":
        if not isinstance(value, list):
            raise FileFormatError(f"{place}: must be tables [[convs]]")
        return tuple(_build(Conv, conv, f"{place} {index}") for index, conv in enumerate(value))
    if annotation.startswith("tuple"):
        count = 0 if "..." in annotation else annotation.count("int")
        if (
            not isinstance(value, list)
            or any(type(item) is not int for item in value)
            or (count and len(value) != count)
        ):
            what = f"a list of {count or 'any number of'} whole numbers"
            raise FileFormatError(f"{place}: is {value!r:.60}, but must be {what}")
        return tuple(value)
    expected, types = _TEXT, (str,)
    if annotation.startswith("int"):
        expected, types = _INT, (int,)
    elif annotation == "float":
        expected, types = _NUMBER, (int, float)
    elif annotation == "bool":
        expected, types = _FLAG, (bool,)
    if type(value) not in types:
        raise FileFormatError(f"{place}: is {value!r:.60}, but must be {expected}")
    return value


def _packaged() -> dict[str, Recipe]:
    entries = sorted(files(__package__ or __name__).iterdir(), key=lambda entry: entry.name)
    names = [entry for entry in entries if entry.name.endswith(".toml")]
    return {entry.name[:-5]: read(entry.read_bytes(), entry.name[:-5]) for entry in names}


RECIPES: dict[str, Recipe] = _packaged()
"""Recipes that come with the package, by name."""
