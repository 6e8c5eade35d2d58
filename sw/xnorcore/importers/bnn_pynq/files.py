"""The files of a BNN-PYNQ folder, read without trusting their names, number or sizes."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError, UsageError
from ...files.userfile import open_regular
from ...model.check import brief

MAX_FILE = 4 << 20
"""Most bytes of one file; the published networks' largest has 590 kB."""
MAX_BYTES = 16 << 20
"""Most bytes of all files; the published networks have 0.6 to 2.9 MB."""
MAX_ENTRIES = 1 << 16
"""Most entries of the folder."""
MAX_CLASSES = 4096
MAX_NAMES = 100_000
"""Most characters of all class names; they are stored in the network's metadata."""
CNV_LAST = 8
"""Index of CNV's last layer: the original software never reads thresholds for it."""
_NAME = re.compile(r"(0|[1-9][0-9]{0,3})-(0|[1-9][0-9]{0,3})-(weights|thres)\.bin")


@dataclass(frozen=True)
class RawLayer:
    """One layer as it is stored: by processing element, which is every ``pe``-th neuron.

    Attributes
    ----------
    words : array of uint64, shape (pe, entries)
        Weights; entry ``nf * sf_count + sf`` of element p belongs to neuron ``nf * pe + p``, and its least
        significant bit to the lowest input. Bit 1 is +1; weights of two bits follow each other.
    thresholds : array of int64, shape (pe, thresholds * neurons / pe), or None
        Of one neuron after the other; its output is how many are less than its popcount or sum.
    """

    words: NDArray[np.uint64]
    thresholds: NDArray[np.int64] | None

    @property
    def pe(self) -> int:
        """Processing elements, that is, files of each kind."""
        return len(self.words)


@dataclass(frozen=True)
class Folder:
    """Everything that a folder holds.

    Attributes
    ----------
    path : pathlib.Path
    layers : tuple of RawLayer
    classes : tuple of str, or None
        Lines of ``classes.txt``.
    unread : bool
        There are files of thresholds for CNV's last layer, which have no meaning.
    """

    path: Path
    layers: tuple[RawLayer, ...]
    classes: tuple[str, ...] | None
    unread: bool = False


def read(path: Path) -> Folder:
    """Read a folder.

    Raises
    ------
    ImportFailedError
        If a file is missing, is of an impossible size, or cannot be read.
    """
    names = _names(path)
    last = max(layer for layer, _, _ in names)
    unread = [key for key in names if last == CNV_LAST and key[0] == last and key[2] == "thres"]
    for key in unread:
        del names[key]
    _complete(path, names)
    layers = []
    for index in range(1 + last):
        weights = _stack(path, names, index, "weights")
        if weights is None:
            raise ImportFailedError(f"{str(path)!r}: {index}-0-weights.bin is missing; a layer needs it")
        thresholds = _stack(path, names, index, "thres")
        if thresholds is not None and len(thresholds) != len(weights):
            raise ImportFailedError(
                f"{str(path)!r}: layer {index} has {len(weights)} files of weights and {len(thresholds)} of "
                "thresholds, but must have one of both per processing element; add those that are missing"
            )
        layers.append(RawLayer(weights, None if thresholds is None else thresholds.view(np.int64)))
    return Folder(path, tuple(layers), _classes(path), bool(unread))


def _names(path: Path) -> dict[tuple[int, int, str], Path]:
    names: dict[tuple[int, int, str], Path] = {}
    try:
        with os.scandir(path) as entries:
            for count, entry in enumerate(entries):
                if count >= MAX_ENTRIES:
                    raise ImportFailedError(
                        f"{str(path)!r} holds more than {MAX_ENTRIES} files; remove others"
                    )
                match = _NAME.fullmatch(entry.name)
                if match:
                    names[int(match[1]), int(match[2]), match[3]] = Path(entry.path)
    except OSError as error:
        raise ImportFailedError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    if not names:
        raise ImportFailedError(f"{str(path)!r} holds no file L-P-weights.bin; give a BNN-PYNQ folder")
    return names


def _complete(path: Path, names: dict[tuple[int, int, str], Path]) -> None:
    """Refuse gaps in the numbers, and more bytes than any such network has."""
    total = 0
    for (layer, element, kind), file in sorted(names.items()):
        if element and (layer, element - 1, kind) not in names:
            raise ImportFailedError(
                f"{str(path)!r}: {layer}-{element - 1}-{kind}.bin is missing, but there is a file "
                f"{layer}-{element}-{kind}.bin; elements are numbered without gaps"
            )
        size = _size(file)
        if not size or size % 8 or size > MAX_FILE:
            raise ImportFailedError(
                f"{str(file)!r} has {size} bytes, but must have a positive multiple of 8, at most "
                f"{MAX_FILE}: it is cut off, or no such file"
            )
        total += size
    if total > MAX_BYTES:
        raise ImportFailedError(
            f"{str(path)!r}: {total} bytes of weights and thresholds, the limit is {MAX_BYTES}"
        )


def _size(file: Path) -> int:
    try:
        with open_regular(file) as stream:
            return stream.seek(0, 2)
    except UsageError:
        raise ImportFailedError(f"{str(file)!r} is not a regular file; put the file itself there") from None
    except IsADirectoryError:
        raise ImportFailedError(f"{str(file)!r} is not a regular file, but a folder") from None
    except OSError as error:
        raise ImportFailedError(f"{str(file)!r} cannot be read: {error.strerror or error}") from None


def _stack(
    path: Path, names: dict[tuple[int, int, str], Path], layer: int, kind: str
) -> NDArray[np.uint64] | None:
    rows: list[NDArray[np.uint64]] = []
    while (file := names.get((layer, len(rows), kind))) is not None:
        rows.append(np.frombuffer(_content(file), "<u8").astype(np.uint64))
        if len(rows[-1]) != len(rows[0]):
            raise ImportFailedError(
                f"{str(path)!r}: {file.name} has {8 * len(rows[-1])} bytes, but {layer}-0-{kind}.bin has "
                f"{8 * len(rows[0])}; files of one layer have one size"
            )
    return np.stack(rows) if rows else None


def _content(file: Path) -> bytes:
    try:
        with open_regular(file) as stream:
            data = stream.read(MAX_FILE + 1)
    except (OSError, UsageError) as error:
        raise ImportFailedError(
            f"{str(file)!r} cannot be read: {getattr(error, 'strerror', error)}"
        ) from None
    if not data or len(data) % 8 or len(data) > MAX_FILE:
        raise ImportFailedError(f"{str(file)!r} changed while it was read; try again")
    return data


def _classes(path: Path) -> tuple[str, ...] | None:
    """Names of the classes: one a line, spaces as they are shown, empty lines left out."""
    file = path / "classes.txt"
    if not file.exists():
        return None
    try:
        with open_regular(file) as stream:
            data = stream.read(4 * MAX_NAMES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UsageError):
        raise ImportFailedError(f"{str(file)!r} is no text file that can be read; remove it") from None
    except UnicodeDecodeError:
        raise ImportFailedError(
            f"{str(file)!r} cannot be read as text: it must be in UTF-8; convert or remove it"
        ) from None
    names = tuple(name for line in text.splitlines() if (name := " ".join(line.split())))
    if not 1 <= len(names) <= MAX_CLASSES or len(text) > MAX_NAMES:
        raise ImportFailedError(
            f"{str(file)!r} holds {len(names)} names in {len(text)} characters, but must hold 1 to "
            f"{MAX_CLASSES} names in at most {MAX_NAMES} characters, one a line; shorten or remove it"
        )
    for number, name in enumerate(names, 1):
        if not name.isprintable():
            raise ImportFailedError(
                f"{str(file)!r}: name {number}, {brief(name, 40)}, has characters that cannot be printed; "
                "remove these"
            )
    return names
