"""Synthetic BNN-PYNQ folders, and what they mean by a reading of their own: plain sums of -1 and +1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

CLASSES = 5


@dataclass(frozen=True)
class Stored:
    """How one layer is stored: neurons and inputs with padding, elements, and inputs per word."""

    neurons: int
    inputs: int
    pe: int
    simd: int


LFC = (Stored(48, 832, 4, 64), Stored(40, 48, 8, 12), Stored(36, 40, 2, 8), Stored(16, 36, 4, 4))
CNV = (
    Stored(8, 27, 4, 3), Stored(8, 72, 8, 8), Stored(12, 72, 2, 8), Stored(12, 108, 4, 12),
    Stored(16, 108, 4, 12), Stored(16, 144, 1, 16), Stored(20, 16, 1, 4), Stored(24, 20, 1, 5),
    Stored(16, 24, 4, 1),
)  # fmt: skip


NARROW = (Stored(48, 832, 4, 32), *LFC[1:])
"""LFC with words that hold as many weights of two bits."""
Precision = tuple[int, int]
"""Bits of weights and of activations."""


def write(
    folder: Path,
    stored: tuple[Stored, ...],
    seed: int = 0,
    classes: bool = True,
    precision: Precision = (1, 1),
) -> Path:
    """Write a random folder; its last layer has `CLASSES` neurons and padding, as the published ones."""
    if precision != (1, 1):
        return _write_wide(folder, stored, seed, precision)
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    last = len(stored) - 1
    for index, each in enumerate(stored):
        bits = rng.integers(0, 2, (each.neurons, each.inputs)).astype(np.uint64)
        spread = max(1, int(each.inputs**0.5) // 4)
        middle = each.inputs // 2 + rng.integers(-spread, spread + 1, each.neurons)
        if stored is CNV and index == 0:
            middle = rng.integers(-400, 401, each.neurons)
        if index == 0 and each.inputs == 832:
            bits[:, 784:] = rng.integers(0, 2, (each.neurons, 48)) if seed % 2 else 1
        if index == last:
            bits[CLASSES:] = 1
            middle[CLASSES:] = 32767
        shifted = bits.reshape(each.neurons, -1, each.simd) << np.arange(each.simd, dtype=np.uint64)
        words = np.bitwise_or.reduce(shifted, axis=2)
        for element in range(each.pe):
            (folder / f"{index}-{element}-weights.bin").write_bytes(
                words[element :: each.pe].astype("<u8").tobytes()
            )
            if not (stored is CNV and index == last):
                (folder / f"{index}-{element}-thres.bin").write_bytes(
                    middle[element :: each.pe].astype("<i8").tobytes()
                )
    if classes:
        (folder / "classes.txt").write_text("\n".join(f"class {n}" for n in range(CLASSES)) + "\n")
    return folder


def _write_wide(folder: Path, stored: tuple[Stored, ...], seed: int, precision: Precision) -> Path:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    width, activations = precision
    last = len(stored) - 1
    for index, each in enumerate(stored):
        weights = rng.integers(-1, 2, (each.neurons, each.inputs))
        if width == 1:
            weights = 2 * rng.integers(0, 2, weights.shape) - 1
        spread = 300 if stored is CNV and not index else max(2, int(each.inputs**0.5) // 2)
        per = 1 if index == last else activations
        thresholds = np.sort(rng.integers(-spread, spread + 1, (each.neurons, per)), axis=1)
        if index == last:
            weights[CLASSES:], thresholds[CLASSES:] = 2 - width, 32767
        fields = (weights & 3 if width == 2 else weights > 0).astype(np.uint64)
        places = width * np.arange(each.simd, dtype=np.uint64)
        shifted = fields.reshape(each.neurons, -1, each.simd) << places
        words = np.bitwise_or.reduce(shifted, axis=2).astype("<u8")
        for element in range(each.pe):
            words[element :: each.pe].tofile(folder / f"{index}-{element}-weights.bin")
            if not (stored is CNV and index == last):
                thresholds[element :: each.pe].astype("<i8").tofile(folder / f"{index}-{element}-thres.bin")
    (folder / "classes.txt").write_text("\n".join(f"class {n}" for n in range(CLASSES)) + "\n")
    return folder


def wide(folder: Path, stored: tuple[Stored, ...], precision: Precision, images: np.ndarray) -> np.ndarray:
    """Execute a folder with activations of -1, 0 and 1: bits (n, 784) for LFC, q (n, 32, 32, 3) for CNV."""
    width = precision[0]
    last = len(stored) - 1
    maps = images.astype(np.int64)
    if stored is not CNV:
        maps = np.pad(2 * maps - 1, ((0, 0), (0, 832 - maps.shape[1])), constant_values=-1)
    for index, each in enumerate(stored):
        weights = np.zeros((each.neurons, each.inputs), np.int64)
        per = 1 if index == last else precision[1]
        thresholds = np.zeros((each.neurons, per), np.int64)
        for neuron in range(each.neurons):
            steps = each.inputs // each.simd
            place = neuron // each.pe
            words = np.fromfile(folder / f"{index}-{neuron % each.pe}-weights.bin", "<u8")
            for tap in range(each.inputs):
                word = int(words[place * steps + tap // each.simd]) >> width * (tap % each.simd)
                weights[neuron, tap] = (0, 1, -2, -1)[word & 3] if width == 2 else 2 * (word & 1) - 1
            if not (stored is CNV and index == last):
                values = np.fromfile(folder / f"{index}-{neuron % each.pe}-thres.bin", "<i8")
                thresholds[neuron] = values[place * per : place * per + per]
        if stored is CNV and index < 6:
            side = maps.shape[1] - 2
            windows = [maps[:, y : y + side, x : x + side] for y in range(3) for x in range(3)]
            sums = np.concatenate(windows, axis=3) @ weights.T
        else:
            sums = maps.reshape(len(maps), -1) @ weights.T
        if stored is CNV and index == last:
            return sums[:, :CLASSES]
        passed = ((sums if index or stored is not CNV else 2 * sums)[..., None] > thresholds).sum(axis=-1)
        if index == last:
            return passed[:, :CLASSES]
        maps = passed - 1
        if stored is CNV and index in (1, 3):
            half = maps.shape[1] // 2
            cut = maps[:, : 2 * half, : 2 * half].reshape(len(maps), half, 2, half, 2, -1)
            maps = cut.max(axis=(2, 4))
    raise AssertionError


def parse(folder: Path, stored: tuple[Stored, ...]) -> list[tuple[np.ndarray, np.ndarray | None]] | None:
    """Read weights of -1 and +1 and thresholds by neuron; None if a file is not there or of a wrong size."""
    layers: list[tuple[np.ndarray, np.ndarray | None]] = []
    for index, each in enumerate(stored):
        weights = np.zeros((each.neurons, each.inputs), np.int64)
        thresholds = np.zeros(each.neurons, np.int64)
        scores = stored is CNV and index == len(stored) - 1
        for element in range(each.pe):
            file = folder / f"{index}-{element}-weights.bin"
            values = np.fromfile(file, "<u8") if file.is_file() and file.stat().st_size < 1 << 20 else []
            if len(values) * each.simd * each.pe != each.neurons * each.inputs:
                return None
            rows = np.array(values, np.uint64).reshape(each.neurons // each.pe, -1)
            for bit in range(64):
                plane = (rows >> np.uint64(bit) & np.uint64(1)).astype(np.int64)
                if bit < each.simd:
                    weights[element :: each.pe, bit :: each.simd] = 2 * plane - 1
                elif plane.any():
                    return None
            file = folder / f"{index}-{element}-thres.bin"
            if scores:
                continue
            values = np.fromfile(file, "<i8") if file.is_file() and file.stat().st_size < 1 << 20 else []
            if len(values) * each.pe != each.neurons:
                return None
            thresholds[element :: each.pe] = values
        layers.append((weights, None if scores else thresholds))
    return layers


def lfc(layers: list[tuple[np.ndarray, np.ndarray | None]], images: np.ndarray) -> np.ndarray:
    """Output bits of LFC for bits of shape (n, 784)."""
    bits = np.pad(images, ((0, 0), (0, 832 - images.shape[1])))
    for weights, thresholds in layers:
        equal = ((2 * bits.astype(np.int64) - 1) @ weights.T + weights.shape[1]) // 2
        bits = (equal > thresholds).astype(np.uint8)
    return bits[:, :CLASSES]


def cnv(layers: list[tuple[np.ndarray, np.ndarray | None]], quantised: np.ndarray) -> np.ndarray:
    """Popcounts of CNV for values q of shape (n, 32, 32, 3), -128 to 127."""
    maps = quantised.astype(np.int64)
    for index, (weights, thresholds) in enumerate(layers):
        if index < 6:
            side = maps.shape[1] - 2
            windows = [maps[:, y : y + side, x : x + side] for y in range(3) for x in range(3)]
            sums = np.concatenate(windows, axis=3) @ weights.T
            found = 2 * sums if index == 0 else (sums + weights.shape[1]) // 2
            maps = np.where(found > np.asarray(thresholds), 1, -1)
            if index in (1, 3):
                half = side // 2
                maps = (
                    maps[:, : 2 * half, : 2 * half].reshape(len(maps), half, 2, half, 2, -1).max(axis=(2, 4))
                )
        else:
            found = (maps.reshape(len(maps), -1) @ weights.T + weights.shape[1]) // 2
            maps = found if thresholds is None else np.where(found > thresholds, 1, -1)
    return maps[:, :CLASSES]
