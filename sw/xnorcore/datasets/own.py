"""A user's own data set: a folder or an .npz file of images and labels; docs/data.md has the layout."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError, InputError, UsageError
from ..files import npyfile
from ..files.userfile import open_regular, refuse_special
from . import cifar, idx
from .dataset import Dataset, TestPart
from .published import FILES

MAX_BYTES = 1 << 30
"""Most bytes of one array, and of all that an .npz file holds."""
MAX_MEMBERS = 256
"""Most members of an .npz file."""
MAX_CLASSES = 256
MAX_RULE = 4096
"""Most bytes of the text that says how images were made of pictures."""
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_LAYOUT = (
    "a folder or .npz file with the arrays test_images and test_labels, and for training train_images and "
    "train_labels; or a folder of four IDX files"
)

Arrays = dict[str, np.ndarray]


def load(path: Path) -> Dataset:
    """Return a user's data set, both parts.

    Raises
    ------
    UsageError
        If there is no such file or folder, or it has no training part.
    FileFormatError
        If a file is damaged, or not in the layout.
    InputError
        If the arrays do not belong together.
    """
    arrays, classes = _arrays(path, test_only=False)
    pictures = _pictures(path) if path.suffix == ".npz" else None
    if "train_images" not in arrays:
        raise UsageError(f"{str(path)!r} has no training part: add the arrays train_images and train_labels")
    maximum = max(1, *(int(arrays[name].max(initial=0)) for name in ("train_images", "test_images")))
    return Dataset(
        *(arrays[name] for name in _ARRAYS), bits=maximum.bit_length(), maximum=maximum,
        classes=_names(path, arrays, classes), split=f"as {path.name or 'the folder'} has it",
        pictures=pictures,
    )  # fmt: skip


def load_test(path: Path) -> TestPart:
    """Return the part of a user's data set that measures a network; raises what `load` does.

    The training part is not needed. Arrays ``images`` and ``labels`` without another name count as this part.
    """
    arrays, classes = _arrays(path, test_only=True)
    images, labels = arrays["test_images"], arrays["test_labels"]
    if not len(images) or labels.shape != images.shape[:1]:
        raise InputError(
            f"{str(path)!r}: {len(images)} images and {len(labels)} labels; give one label per image"
        )
    maximum = max(1, int(images.max()))
    names = _names(path, arrays, classes)
    return TestPart(images, labels, maximum, names, f"as {path.name or 'the folder'} has it")


def _arrays(path: Path, *, test_only: bool) -> tuple[Arrays, list[str]]:
    refuse_special(path)
    if path.is_dir():
        if any(idx.find(path, name) for name in FILES):
            return _idx(path, test_only), _class_file(path)
        if cifar.recognise(path):
            return cifar.read(path, test_only), list(cifar.CLASSES)
        return _folder(path, test_only), _class_file(path)
    if path.is_file() and path.suffix == ".bin":
        return cifar.read(path, test_only), list(cifar.CLASSES)
    if path.is_file():
        return _npz(path, test_only)
    raise UsageError(f"no data set {str(path)!r}: not a name, not a file and not a folder; give {_LAYOUT}")


def _idx(folder: Path, test_only: bool) -> Arrays:
    arrays: Arrays = {}
    for name, file in zip(_ARRAYS, FILES, strict=True):
        path = idx.find(folder, file)
        if path is None:
            if name.startswith("test"):
                raise FileFormatError(f"{str(folder)!r} has no {file}; give all IDX files of one data set")
            continue
        if not (test_only and name.startswith("train")):
            arrays[name] = idx.read(path, 1 if name.endswith("labels") else 3)
    return _checked(str(folder), arrays)


def _folder(folder: Path, test_only: bool) -> Arrays:
    def take(name: str) -> np.ndarray | None:
        path = folder / f"{name}.npy"
        if not path.exists():
            return None
        with idx.opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            _limit(str(path), size)
            return npyfile.read(str(path), file, size, _kinds(name))

    return _checked(str(folder), _collect(take, test_only))


def _npz(path: Path, test_only: bool) -> tuple[Arrays, list[str]]:
    try:
        with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
            _bomb(str(path), archive)

            def take(name: str) -> np.ndarray | None:
                try:
                    info = archive.getinfo(f"{name}.npy")
                except KeyError:
                    return None
                _limit(f"{path}: {name}", info.file_size)
                with archive.open(info) as file:
                    return npyfile.read(f"{path}: {name}", file, info.file_size, _kinds(name))

            classes = take("classes")
            return _checked(str(path), _collect(take, test_only)), _texts(path, classes)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        # RuntimeError: a member that is encrypted.
        raise FileFormatError(f"{str(path)!r} is not an .npz file, or is damaged: {error}") from None


def _pictures(path: Path) -> dict[str, Any] | None:
    """Return the rule by which the images of an .npz file were made of pictures, if it says so."""
    with open_regular(path) as opened, zipfile.ZipFile(opened) as archive:
        if "pictures.npy" not in archive.namelist():
            return None
        info = archive.getinfo("pictures.npy")
        _limit(f"{path}: pictures", info.file_size)
        with archive.open(info) as file:
            text = npyfile.read(f"{path}: pictures", file, info.file_size, "U")
    try:
        rule = json.loads(str(text)) if not text.ndim and text.nbytes <= MAX_RULE else None
    except (ValueError, RecursionError):
        rule = None
    if not isinstance(rule, dict) or not set(rule) <= {"fit", "invert", "box"}:
        raise FileFormatError(f"{path}: pictures must be the text of one rule, with fit, invert and box")
    return rule


def _bomb(what: str, archive: zipfile.ZipFile) -> None:
    """Refuse an archive by the sizes that it declares; what is read of a member never exceeds these."""
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        raise FileFormatError(f"{what}: {len(members)} members, the limit is {MAX_MEMBERS}")
    size = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    _limit(what, size)
    idx.check_growth(what, packed, size)


def _collect(take: Callable[[str], np.ndarray | None], test_only: bool) -> Arrays:
    names = _ARRAYS[2:] if test_only else _ARRAYS
    arrays = {name: array for name in names if (array := take(name)) is not None}
    if "test_images" not in arrays:
        for name in ("images", "labels"):
            array = take(name)
            if array is not None:
                arrays[f"test_{name}"] = array
    return arrays


def _kinds(name: str) -> str:
    if name == "classes":
        return "U"
    return "biu" if name.endswith("images") else "iu"


def _limit(what: str, size: int) -> None:
    if size > MAX_BYTES:
        raise FileFormatError(f"{what}: {size} bytes, the limit is {MAX_BYTES}; use a part of the images")


def _checked(where: str, arrays: Arrays) -> Arrays:
    """Bring the arrays into one form: images uint8 of four axes, labels uint8."""
    for name in ("test_images", "test_labels"):
        if name not in arrays:
            raise FileFormatError(f"{where!r} has no {name}; a data set is {_LAYOUT}")
    if ("train_images" in arrays) != ("train_labels" in arrays):
        raise FileFormatError(f"{where!r} has only one of train_images and train_labels; add the other")
    return {name: _form(f"{where}: {name}", array, name) for name, array in arrays.items()}


def _form(what: str, array: np.ndarray, name: str) -> np.ndarray:
    images = name.endswith("images")
    if images and array.ndim == 2:
        array = array[:, np.newaxis, np.newaxis, :]
    elif images and array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != (4 if images else 1) or not array.size:
        wanted = "(images, height, width[, channels]) or (images, values)" if images else "(images,)"
        raise InputError(f"{what} has the shape {array.shape}, but must have {wanted}, one image or more")
    if array.dtype != bool and (array.min() < 0 or array.max() > 255):
        bad = array.min() if array.min() < 0 else array.max()
        raise InputError(f"{what} holds {bad}, but must hold 0 to 255")
    return np.ascontiguousarray(array, np.uint8)


def _names(path: Path, arrays: Arrays, names: list[str]) -> tuple[str, ...]:
    count = 1 + max(int(array.max()) for name, array in arrays.items() if name.endswith("labels"))
    if names and count > len(names):
        raise InputError(f"{str(path)!r}: label {count - 1}, but there are names for {len(names)} classes")
    return tuple(names) if names else tuple(map(str, range(count)))


def _class_file(folder: Path) -> list[str]:
    path = folder / "classes.txt"
    if not path.exists():
        return []
    with idx.opened(path) as file:
        data = file.read(1 << 16)
    try:
        names = [line.strip() for line in data.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise FileFormatError(f"{str(path)!r} is not text in UTF-8; one class name per line") from None
    return _legal(str(path), names)


def _texts(path: Path, classes: Any) -> list[str]:
    if classes is None:
        return []
    if classes.ndim != 1:
        raise FileFormatError(
            f"{path}: classes has the shape {classes.shape}, but must be one name per class"
        )
    return _legal(f"{path}: classes", [str(name) for name in classes])


def _legal(what: str, names: list[str]) -> list[str]:
    if not 1 <= len(names) <= MAX_CLASSES or not all(
        name.isprintable() and len(name) <= 100 for name in names
    ):
        raise FileFormatError(f"{what}: 1 to {MAX_CLASSES} names of up to 100 printable characters are legal")
    return names
