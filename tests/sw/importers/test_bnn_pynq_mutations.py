"""Mutations of valid BNN-PYNQ folders: refused in one line, or the network that the changed files define."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import importers
from xnorcore.errors import ImportFailedError
from xnorcore.reference import fast

from . import bnn_folders
from .bnn_folders import CNV, LFC, Stored, write

Rng = np.random.Generator


def pick(folder: Path, rng: Rng) -> Path:
    return sorted(folder.glob("*.bin"))[int(rng.integers(len(list(folder.glob("*.bin")))))]


def flip(folder: Path, rng: Rng) -> None:
    file = pick(folder, rng)
    data = bytearray(file.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        # Half of them hit the lowest byte of a word, which every layer uses.
        place = int(rng.integers(len(data)))
        data[place - place % 8 if rng.integers(2) else place] ^= 1 << int(rng.integers(8))
    file.write_bytes(bytes(data))


def overwrite(folder: Path, rng: Rng) -> None:
    file = pick(folder, rng)
    data = bytearray(file.read_bytes())
    start = int(rng.integers(len(data)))
    part = rng.bytes(min(int(rng.integers(1, 64)), len(data) - start))
    data[start : start + len(part)] = part
    file.write_bytes(bytes(data))


def truncate(folder: Path, rng: Rng) -> None:
    file = pick(folder, rng)
    size = file.stat().st_size
    unit = 8 if rng.integers(2) else 1
    os.truncate(file, int(rng.integers(size // unit)) * unit)


def extend(folder: Path, rng: Rng) -> None:
    with pick(folder, rng).open("ab") as file:
        file.write(rng.bytes(8 * int(rng.integers(1, 9))))


def truncate_layer(folder: Path, rng: Rng) -> None:
    """Cut all files of a kind in a layer alike, so that they agree with each other."""
    file = pick(folder, rng)
    index, _, kind = file.name.split("-")
    size = 8 * int(rng.integers(1, file.stat().st_size // 8 + 1))
    for each in folder.glob(f"{index}-*-{kind}"):
        os.truncate(each, size)


def delete(folder: Path, rng: Rng) -> None:
    pick(folder, rng).unlink()


def delete_element(folder: Path, rng: Rng) -> None:
    """Delete the last processing element of a layer, so that no gap shows."""
    index = pick(folder, rng).name.split("-")[0]
    last = max(int(each.name.split("-")[1]) for each in folder.glob(f"{index}-*-weights.bin"))
    for each in folder.glob(f"{index}-{last}-*.bin"):
        each.unlink()


def delete_layer(folder: Path, rng: Rng) -> None:
    index = pick(folder, rng).name.split("-")[0]
    for each in folder.glob(f"{index}-*.bin"):
        each.unlink()


def rename(folder: Path, rng: Rng) -> None:
    file = pick(folder, rng)
    kind = ("weights", "thres")[int(rng.integers(2))]
    numbers = "-".join(str(int(n)) for n in rng.integers(0, 10, 2))
    odd = ("junk.bin", f"0{file.name}", file.name.upper(), f"9999-0-{kind}.bin", f"{numbers}-{kind}.bin.bak")
    names = (f"{numbers}-{kind}.bin", odd[int(rng.integers(len(odd)))])
    file.rename(folder / names[int(rng.integers(2))])


def swap(folder: Path, rng: Rng) -> None:
    first, second = pick(folder, rng), pick(folder, rng)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)


def copy(folder: Path, rng: Rng) -> None:
    file = pick(folder, rng)
    index, element, kind = file.name.split("-")
    names = (
        f"{index}-{int(element) + 1}-{kind}",
        f"{int(index) + 1}-{element}-{kind}",
        pick(folder, rng).name,
    )
    target = folder / names[int(rng.integers(3))]
    if target != file:
        shutil.copyfile(file, target)


def hostile_size(folder: Path, rng: Rng) -> None:
    os.truncate(pick(folder, rng), 1 << int(rng.integers(12, 41)))


def no_file(folder: Path, rng: Rng) -> None:
    file = pick(folder, rng)
    file.unlink()
    kind = int(rng.integers(4))
    if kind == 0:
        file.mkdir()
    elif kind == 1:
        os.mkfifo(file)
    else:
        file.symlink_to(("/dev/zero", file.name)[kind - 2])


def thresholds(folder: Path, rng: Rng) -> None:
    files = sorted(folder.glob("*-thres.bin"))
    file = files[int(rng.integers(len(files)))]
    values = np.fromfile(file, "<i8")
    extremes = (-(1 << 63), (1 << 63) - 1, -1, 0, 32767, 32768, -32768, 1 << 31, int(rng.integers(2000)))
    values[int(rng.integers(len(values)))] = extremes[int(rng.integers(len(extremes)))]
    values.tofile(file)


def classes(folder: Path, rng: Rng) -> None:
    file = folder / "classes.txt"
    contents = (
        b"",
        rng.bytes(50),
        b"a\n" * int(rng.integers(1, 9)),
        b"x" * 5000,
        "ä\nb\nc\r\nd\n\ne".encode(),
        b"a\nb\nc\nd\ne\x00\n",
    )
    file.unlink()
    if rng.integers(4):
        file.write_bytes(contents[int(rng.integers(len(contents)))])


MUTATIONS: tuple[Callable[[Path, Rng], None], ...] = (
    flip, overwrite, truncate, extend, truncate_layer, delete, delete_element, delete_layer, rename, swap,
    copy, hostile_size, no_file, thresholds, classes,
)  # fmt: skip
IMAGES = np.random.default_rng(9).integers(0, 2, (40, 784)).astype(np.uint8)
QUANTISED = np.random.default_rng(9).integers(-128, 128, (2, 32, 32, 3))


def outcome(folder: Path, stored: tuple[Stored, ...]) -> str:
    """Import a folder; what comes out must be what its files say in the layout they were written in."""
    started = time.process_time()  # of this process: others may share the machine
    try:
        network = importers.load(folder).network
    except ImportFailedError as error:
        assert "\n" not in str(error) and len(str(error)) > 20 and "bug" not in str(error)
        return "refused"
    finally:
        assert time.process_time() - started < 10
    layers = bnn_folders.parse(folder, stored)
    assert layers is not None, "imported, but a file is missing or of a wrong size"
    if stored is LFC:
        np.testing.assert_array_equal(fast.run(network, IMAGES), bnn_folders.lfc(layers, IMAGES))
    else:
        scores = fast.run(network, (QUANTISED + 128).astype(np.uint8))
        np.testing.assert_array_equal((scores + 24) // 2, bnn_folders.cnv(layers, QUANTISED))
    return "imported"


@pytest.mark.parametrize(
    ("stored", "count", "seed"),
    some([(CNV, 75, 2), (LFC, 510, 0), (LFC, 510, 1)], 1, many=True),
    ids=["cnv", "lfc", "lfc more"],
)
def test_mutations_are_refused_or_right(
    tmp_path: Path, stored: tuple[Stored, ...], count: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole = write(tmp_path / "whole", stored)
    found = {mutation.__name__: {"imported": 0, "refused": 0} for mutation in MUTATIONS}
    for number in range(count):
        folder = tmp_path / "mutated"
        shutil.copytree(whole, folder)
        mutation = MUTATIONS[number % len(MUTATIONS)]
        mutation(folder, rng)
        try:
            found[mutation.__name__][outcome(folder, stored)] += 1
        except Exception as error:
            raise AssertionError(f"mutation {number}, {mutation.__name__}") from error
        shutil.rmtree(folder)
    # Both outcomes occur, and damage that shows is never imported.
    assert found["swap"]["imported"] and found["swap"]["refused"]
    assert stored is CNV or found["flip"]["imported"]
    for name in ("delete", "no_file", "extend", "delete_layer"):
        assert not found[name]["imported"], name
