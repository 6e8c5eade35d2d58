"""IDX files: whole ones, damaged ones and hostile ones."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from xnorcore.datasets import idx
from xnorcore.errors import FileFormatError

from .idx_files import NAMES, packed, parts, store


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


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, text in ((tmp_path, "regular"), (tmp_path / "pipe", "regular"), (tmp_path / "none", "No such")):
        with pytest.raises(FileFormatError, match=text):
            idx.read(path, 1)
