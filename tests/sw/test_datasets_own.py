"""A user's own data set: every layout, and what is wrong with it in one line."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.draws import RNG
from xnorcore import datasets
from xnorcore.datasets import cifar, own
from xnorcore.errors import FileFormatError, InputError, MissingDependencyError, UsageError, XnorcoreError

from .idx_files import NAMES, parts, store


def arrays(**changed: Any) -> dict[str, np.ndarray]:
    result = {
        "train_images": RNG.integers(0, 16, (6, 5, 4), dtype=np.uint8),
        "train_labels": np.arange(6) % 3,
        "test_images": RNG.integers(0, 17, (3, 5, 4), dtype=np.uint8),
        "test_labels": np.array([2, 0, 1]),
    }
    result["test_images"][0, 0, 0] = 16
    return {key: value for key, value in {**result, **changed}.items() if value is not None}


def write(where: Path, values: dict[str, np.ndarray]) -> Path:
    if where.suffix == ".npz":
        np.savez_compressed(where, **values)  # type: ignore[arg-type]
        return where
    where.mkdir()
    for name, value in values.items():
        np.save(where / f"{name}.npy", value)
    return where


@pytest.mark.parametrize("name", ["set.npz", "set"])
def test_both_parts(tmp_path: Path, name: str) -> None:
    values = arrays()
    data = datasets.load(str(write(tmp_path / name, values)))
    assert data.train_images.shape == (6, 5, 4, 1) and data.test_images.shape == (3, 5, 4, 1)
    np.testing.assert_array_equal(data.test_images[..., 0], values["test_images"])
    np.testing.assert_array_equal(data.train_labels, values["train_labels"])
    assert (data.bits, data.maximum, data.classes) == (5, 16, ("0", "1", "2"))
    assert str(tmp_path) not in data.split
    part = datasets.load_test(str(tmp_path / name))
    np.testing.assert_array_equal(part.images, data.test_images)
    assert part.maximum == 16


@pytest.mark.parametrize("name", ["set.npz", "set"])
def test_vectors_booleans_and_colours(tmp_path: Path, name: str) -> None:
    for index, shape in enumerate([(3, 20), (3, 4, 5, 3)]):
        images = RNG.integers(0, 2, shape).astype(bool)
        (tmp_path / str(index)).mkdir()
        path = write(tmp_path / str(index) / name, {"images": images, "labels": np.zeros(3, np.int32)})
        part = datasets.load_test(str(path))
        assert part.images.shape == ((3, 1, 1, 20) if len(shape) == 2 else shape)
        assert part.maximum == 1 and part.images.dtype == np.uint8
        np.testing.assert_array_equal(part.images.reshape(shape), images)


def test_only_a_test_part_is_not_trained_on(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npz", arrays(train_images=None, train_labels=None))
    assert len(datasets.load_test(str(path)).labels) == 3
    with pytest.raises(UsageError, match="has no training part: add the arrays train_images"):
        datasets.load(str(path))


def test_class_names(tmp_path: Path) -> None:
    path = write(tmp_path / "x.npz", arrays(classes=np.array(["a", "b", "c"])))
    assert datasets.load(str(path)).classes == ("a", "b", "c")
    folder = write(tmp_path / "x", arrays())
    (folder / "classes.txt").write_text("left\nright\n\nup\n")
    assert datasets.load(str(folder)).classes == ("left", "right", "up")
    (folder / "classes.txt").write_text("left\nright\n")
    with pytest.raises(InputError, match="label 2, but there are names for 2 classes"):
        datasets.load(str(folder))
    (folder / "classes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="is not text in UTF-8"):
        datasets.load(str(folder))


def test_idx_files_without_a_name(tmp_path: Path) -> None:
    folder = store(tmp_path / "idx")
    data = datasets.load(str(folder))
    np.testing.assert_array_equal(data.train_images[..., 0], parts()[0])
    for name in NAMES[:2]:
        (folder / f"{name}.gz").unlink()
    assert len(datasets.load_test(str(folder)).labels) == 10
    with pytest.raises(UsageError, match="has no training part"):
        datasets.load(str(folder))
    (folder / f"{NAMES[3]}.gz").unlink()
    with pytest.raises(FileFormatError, match="has no t10k-labels"):
        datasets.load_test(str(folder))


@pytest.mark.parametrize("name", ["set.npz", "set"])
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test_images": None}, "has no test_images; a data set is a folder or .npz file"),
        ({"test_labels": None}, "has no test_labels"),
        ({"train_labels": None}, "only one of train_images and train_labels"),
        (
            {"test_images": np.zeros((3, 5, 4))},
            "test_images.*holds float64, but images must be bool or integers",
        ),
        ({"test_labels": np.zeros(3, bool)}, "test_labels.*holds bool, but labels must be integers"),
        ({"test_images": np.full((3, 5, 4), 256)}, "test_images holds 256, but must hold 0 to 255"),
        ({"test_images": np.full((3, 5, 4), -1)}, "test_images holds -1, but must hold 0 to 255"),
        ({"test_labels": np.zeros((3, 1), int)}, "test_labels has the shape"),
        ({"test_images": np.zeros((0, 5, 4), int)}, "one image or more"),
        ({"test_labels": np.zeros(4, int)}, "test_labels are|3 images and 4 labels"),
        ({"train_images": np.zeros((6, 4, 4), int)}, "all parts of one size"),
        ({"test_images": np.zeros((3, 5), int)}, "all parts of one size"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(XnorcoreError, match=message):
        datasets.load(str(write(tmp_path / name, arrays(**changed))))


def test_hostile_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    for content in (b"", b"PK\3\4" + bytes(40), b"text"):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=r"is not an \.npz file, or is damaged"):
            datasets.load(str(path))
    np.savez(path, test_images=np.array([None]), test_labels=np.zeros(1, int))
    with pytest.raises(FileFormatError, match="holds object, but images"):
        datasets.load(str(path))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3, np.uint8))
    header = buffer.getvalue().replace(b"(3,)", b"(3000000000,)"[:13]).replace(b"      ", b"", 1)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("test_images.npy", header)
        archive.writestr("test_labels.npy", buffer.getvalue())
    with pytest.raises(FileFormatError, match=r"truncated|damaged"):
        datasets.load(str(path))


def test_limit_of_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "MAX_BYTES", 100)
    for name in ("x.npz", "x"):
        with pytest.raises(FileFormatError, match="bytes, the limit is 100; use a part of the images"):
            datasets.load(str(write(tmp_path / name, arrays())))


def test_mutated_archives_are_refused_or_right(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    values = arrays()
    content = write(tmp_path / "x.npz", values).read_bytes()
    right = 0
    for _ in range(400):
        data = bytearray(content)
        for _ in range(int(rng.integers(1, 3))):
            data[int(rng.integers(len(data)))] = int(rng.integers(256))
        (tmp_path / "y.npz").write_bytes(bytes(data))
        try:
            data = datasets.load(str(tmp_path / "y.npz"))
        except XnorcoreError:
            continue
        # Every array has a checksum: what is still read is what was written.
        np.testing.assert_array_equal(data.train_images[..., 0], values["train_images"])
        np.testing.assert_array_equal(data.test_labels, values["test_labels"])
        right += 1
    assert 0 < right < 400


def records(count: int) -> bytes:
    return b"".join(
        bytes([label % 10]) + RNG.integers(0, 256, 3072, dtype=np.uint8).tobytes() for label in range(count)
    )


def test_cifar(tmp_path: Path) -> None:
    content = records(4)
    (tmp_path / "one.bin").write_bytes(content)
    part = datasets.load_test(str(tmp_path / "one.bin"))
    assert part.images.shape == (4, 32, 32, 3) and part.labels.tolist() == [0, 1, 2, 3]
    assert part.classes == cifar.CLASSES
    # Plane 2 (blue), row 5, column 7 of image 1.
    assert part.images[1, 5, 7, 2] == content[3073 + 1 + 2 * 1024 + 5 * 32 + 7]
    with pytest.raises(UsageError, match="has no training part"):
        datasets.load(str(tmp_path / "one.bin"))
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (cifar.TEST, *cifar.TRAIN):
        (folder / name).write_bytes(records(2))
    data = datasets.load(str(folder))
    assert data.train_images.shape == (10, 32, 32, 3) and data.test_images.shape == (2, 32, 32, 3)
    for place in (folder, tmp_path):
        named = datasets.load("cifar10", place)
        np.testing.assert_array_equal(named.train_images, data.train_images)
        assert len(datasets.load_test("cifar10", place).labels) == 2
    (folder / "data_batch_3.bin").unlink()
    with pytest.raises(MissingDependencyError, match=r"CIFAR-10 is not in .*; extract its binary version"):
        datasets.load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes, but images of CIFAR-10 have 3073 each"),
        (bytes(3074), "has 3074 bytes"),
        (b"\x0a" + bytes(3072), "label 10, but CIFAR-10 has 0 to 9"),
    ],
)
def test_damaged_cifar(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        datasets.load_test(str(tmp_path / "x.bin"))
