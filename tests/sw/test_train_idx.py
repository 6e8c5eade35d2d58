"""IDX files and the search for Fashion-MNIST: whole ones, damaged ones and hostile ones."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xnorcore.errors import FileFormatError, MissingDependencyError
from xnorcore.train import data, idx

NAMES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip


def packed(array: np.ndarray) -> bytes:
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def parts() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (count, 28, 28), dtype=np.uint8) for count in (20, 10)]
    labels = [(np.arange(count) % 10).astype(np.uint8) for count in (20, 10)]
    return [images[0], labels[0], images[1], labels[1]]


def store(folder: Path, suffix: str = ".gz") -> Path:
    folder.mkdir(parents=True)
    for name, array in zip(NAMES, parts(), strict=True):
        content = packed(array)
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take `parts` for Fashion-MNIST, and find nothing that this machine has."""
    digests = b"".join(hashlib.sha256(array.tobytes()).digest() for array in parts())
    monkeypatch.setattr(data, "FASHION_SHA256", hashlib.sha256(digests).hexdigest())
    monkeypatch.setattr(data, "_DEBIAN_FASHION", Path("nowhere"))
    monkeypatch.delenv("XNORCORE_DATA", raising=False)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    store(tmp_path / "x", suffix)
    for name, array in zip(NAMES, parts(), strict=True):
        path = idx.find(tmp_path / "x", name)
        assert path is not None and path.suffix == suffix
        result = idx.read(path, array.ndim)
        assert result.dtype == np.uint8 and result.flags.writeable
        assert np.array_equal(result, array)


IMAGES = packed(np.zeros((3, 4, 5), np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing, but an IDX file of bytes with 3 dimensions starts with 00000803"),
        (IMAGES[:3], "starts with 000008, but"),
        (b"\0\0\x0d\x03" + IMAGES[4:], "starts with 00000d03, but"),
        (packed(np.zeros(60, np.uint8)), "starts with 00000801, but .* give the right file"),
        (IMAGES[:15], "ends in its header"),
        (IMAGES[:16], "should hold 60 bytes behind its header, but holds 0"),
        (IMAGES[:-1], "should hold 60 bytes behind its header, but holds 59"),
        (IMAGES + b"x", "should hold 60 bytes behind its header, but holds more"),
        (
            IMAGES[:4] + b"\xff" * 12,
            "says that it holds 4294967295 x 4294967295 x 4294967295 bytes",
        ),
        (IMAGES[:4] + bytes(12), "says that it holds 0 x 0 x 0 bytes"),
        # A product that would wrap to 0 in 64 bits.
        (IMAGES[:4] + (b"\x80" + bytes(3)) * 2 + b"\0\0\0\4", "says that it holds 2147483648 x"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_and_hostile_files_are_refused(
    tmp_path: Path, content: bytes, message: str, suffix: str
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(FileFormatError, match=message):
        idx.read(path, 3)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    whole = gzip.compress(IMAGES)
    flipped = whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:]
    for content in (IMAGES, whole[:-9], whole[:12], flipped, b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 40):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"cannot be read: .*; install or copy it again"):
            idx.read(path, 3)


def test_claimed_size_is_not_allocated_before_the_file_holds_it(tmp_path: Path) -> None:
    import tracemalloc

    bomb = gzip.compress(IMAGES[:4] + np.array([1, 1, 100], ">u4").tobytes() + bytes(30 << 20))
    (tmp_path / "x.gz").write_bytes(bomb)
    (tmp_path / "y").write_bytes(IMAGES[:4] + np.array([1 << 30, 1, 1], ">u4").tobytes())
    tracemalloc.start()
    try:
        for name in ("x.gz", "y"):
            with pytest.raises(FileFormatError):
                idx.read(tmp_path / name, 3)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("place", ["", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_fashion_is_found_in_every_layout(small: None, tmp_path: Path, place: str, suffix: str) -> None:
    store(tmp_path / "root" / place, suffix)
    found = data.load_fashion(tmp_path / "root")
    assert found.train_images.shape == (20, 28, 28, 1) and found.test_images.shape == (10, 28, 28, 1)
    assert np.array_equal(found.test_images[..., 0], parts()[2])
    assert (found.bits, found.maximum, len(found.classes)) == (8, 255, 10)


def test_fashion_is_searched_in_order(small: None, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    last = store(tmp_path / "data" / "fashion-mnist")
    assert data._find_fashion(None)[0].resolve().parent == last
    debian = store(tmp_path / "debian")
    monkeypatch.setattr(data, "_DEBIAN_FASHION", debian)
    assert data._find_fashion(None)[0].parent == debian
    named = store(tmp_path / "named")
    monkeypatch.setenv("XNORCORE_DATA", str(named))
    assert data._find_fashion(None)[0].parent == named
    # The variable may be there for another data set.
    (named / NAMES[3]).with_suffix(".gz").unlink()
    assert data._find_fashion(None)[0].parent == debian


def test_missing_fashion_says_what_to_do(small: None, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, looked in ((None, "'nowhere', 'data'"), (Path("mine"), "'mine'")):
        with pytest.raises(MissingDependencyError) as caught:
            data.load_fashion(folder)
        assert str(caught.value) == (
            f"Fashion-MNIST is not in {looked}; run: apt-get install dataset-fashion-mnist; or set "
            "XNORCORE_DATA to the folder of its four IDX files, or to the root of torchvision's data"
        )


def test_another_data_set_under_the_same_names_is_refused(small: None, tmp_path: Path) -> None:
    folder = store(tmp_path / "mnist")
    labels = parts()[3]
    labels[0] ^= 1
    (folder / (NAMES[3] + ".gz")).write_bytes(gzip.compress(packed(labels)))
    with pytest.raises(FileFormatError, match="are not Fashion-MNIST, or are changed; run: apt-get install"):
        data.load_fashion(folder)
