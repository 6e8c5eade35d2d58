"""Rows of values with a label, as text: a data set of one's own without pictures."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import numpy as np

from ..errors import FileFormatError, InputError, UsageError
from ..files.userfile import open_regular
from .dataset import Dataset
from .own import MAX_CLASSES

MAX_BYTES = 256 << 20
HELD_OUT = 0.2
"""Share of the rows that is held out, by their hash."""
_LABELS = ("label", "class", "target", "y")


def load(path: Path, label: str | None = None, seed: int = 0) -> Dataset:
    """Read a file of rows: a line of names, then whole numbers 0 to 255 and a label.

    Parameters
    ----------
    path : pathlib.Path
    label : str, optional
        Name of the label's column; default ``label``, ``class``, ``target`` or ``y``, else the last one.
    seed : int
        Of the split: rows are held out by their own hash and this, equal rows together.

    Raises
    ------
    UsageError
        If it cannot be read, or has fewer than two classes.
    FileFormatError, InputError
        If it is not such a file, or a value is out of range.
    """
    names, rows = _rows(path)
    column = _column(path, names, label)
    labels = [row[column].strip() for row in rows]
    classes = sorted(set(labels), key=_order)
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise UsageError(
            f"{str(path)!r}: column {names[column]!r} has {len(classes)} class(es), not 2 to {MAX_CLASSES}"
        )
    if not all(name.isprintable() and 1 <= len(name) <= 100 for name in classes):
        raise InputError(f"{str(path)!r}: labels are 1 to 100 printable characters")
    values = np.empty((len(rows), len(names) - 1), np.uint8)
    for number, row in enumerate(rows):
        values[number] = _values(path, number + 2, row[:column] + row[column + 1 :])
    numbers = np.array([classes.index(name) for name in labels], np.uint8)
    held = _held(rows, numbers, seed)
    maximum = max(1, int(values.max()))
    bits, split = maximum.bit_length(), f"by the hash of each row, seed {seed}"
    images = values[:, np.newaxis, np.newaxis, :]
    return Dataset(
        images[~held], numbers[~held], images[held], numbers[held], bits=bits, maximum=maximum,
        classes=tuple(classes), split=split,
    )  # fmt: skip


def _order(name: str) -> tuple[bool, int, str]:
    """Numbers by their size, then names."""
    number = name.isascii() and name.isdecimal() and len(name) < 19
    return not number, int(name) if number else 0, name


def _rows(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}") from None
    if len(data) > MAX_BYTES:
        raise FileFormatError(f"{str(path)!r} has more than {MAX_BYTES} bytes; use a part of the rows")
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{str(path)!r} is not a file of comma-separated values: {error}") from None
    if len(rows) < 3:
        raise FileFormatError(f"{str(path)!r} has {len(rows)} lines; give one of names, and one per image")
    names = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows):
        if len(row) != len(names) or len(names) < 2:
            raise FileFormatError(
                f"{str(path)!r}, row {number + 1}: {len(row)} columns, but the first row has {len(names)}; "
                "a row is one or more values and a label"
            )
    return names, rows[1:]


def _column(path: Path, names: list[str], label: str | None) -> int:
    if label is not None:
        if label not in names:
            raise UsageError(f"{str(path)!r} has no column {label!r}; it has {', '.join(names[:12])}")
        return names.index(label)
    lower = [name.lower() for name in names]
    return next((lower.index(name) for name in _LABELS if name in lower), len(names) - 1)


def _values(path: Path, line: int, row: list[str]) -> list[int]:
    found = []
    for text in row:
        text = text.strip()
        value = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else 256
        if value > 255:
            raise InputError(
                f"{str(path)!r}, row {line}: {text[:20]!r} is not a whole number 0 to 255; scale it"
            )
        found.append(value)
    return found


def _held(rows: list[list[str]], labels: np.ndarray, seed: int) -> np.ndarray:
    keys = [hashlib.sha256(repr((seed, row)).encode()).digest() for row in rows]
    limit = int(HELD_OUT * 2**32).to_bytes(4, "big")
    held = np.array([key[:4] < limit for key in keys])
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if not held[own].any() or held[own].all():
            least = min(keys[number] for number in own)
            held[own] = [keys[number] == least for number in own]
    if held.all() or not held.any():
        raise UsageError("the rows of a class are all the same; add others")
    return held
