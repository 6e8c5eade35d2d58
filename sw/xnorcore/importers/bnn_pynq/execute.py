"""Execution of a BNN-PYNQ folder as its accelerator defines it, straight from the stored words.

It exists to check the import, and shares no arithmetic with the network, `golden` or `fast`: inputs are
packed into words of simd bits, and each processing element counts the equal bits of its own words.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .files import Folder, RawLayer
from .topology import CNV_POOLED, LFC_INPUTS, Shape, Topology


def run(folder: Folder, topology: Topology, values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Execute a folder.

    Parameters
    ----------
    folder : Folder
    topology : Topology
    values : array of uint8
        LFC: bits, shape (n, inputs), those that pad it left out. CNV: q + 128, shape (n, 32, 32, 3).

    Returns
    -------
    array of int64, shape (n, classes)
        LFC: output bits. CNV: popcounts.
    """
    layers = list(zip(folder.layers, topology.shapes, strict=True))
    if topology.kind == "LFC":
        bits = values
        for raw, shape in layers:
            bits = fires(raw, counts(raw, shape, pad(bits, shape)))
        return bits[:, : topology.classes].astype(np.int64)
    maps = values
    for index, (raw, shape) in enumerate(layers):
        if shape.conv:
            maps = convolve(raw, shape, maps, first=index == 0)
            if index in CNV_POOLED:
                maps = pool(maps)
            continue
        found = counts(raw, shape, maps.reshape(len(maps), -1))
        if raw.thresholds is None:
            return found[:, : topology.classes]
        maps = fires(raw, found)
    raise AssertionError("CNV ends in a layer without thresholds")


def pad(bits: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Fill the inputs of LFC's first layer up with 0 bits."""
    missing = shape.inputs - bits.shape[1]
    assert missing == 0 or shape.inputs == LFC_INPUTS
    return np.pad(bits, ((0, 0), (0, missing)))


def counts(raw: RawLayer, shape: Shape, bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count equal bits: int64, shape (n, neurons), for bits of shape (n, inputs)."""
    simd = np.arange(shape.simd, dtype=np.uint64)
    words = np.bitwise_or.reduce(bits.reshape(len(bits), -1, shape.simd).astype(np.uint64) << simd, axis=2)
    used = np.uint64((1 << shape.simd) - 1)
    found = np.zeros((len(bits), shape.neurons), np.int64)
    for fold in range(shape.neurons // raw.pe):
        for element in range(raw.pe):
            row = raw.words[element, fold * shape.steps : (fold + 1) * shape.steps]
            equal = np.bitwise_count(~(words ^ row) & used)
            found[:, fold * raw.pe + element] = equal.sum(axis=1, dtype=np.int64)
    return found


def products(raw: RawLayer, shape: Shape, windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what CNV's first layer compares: twice the sum of + or - q over a window, shape (n, 27)."""
    found = np.zeros((len(windows), shape.neurons), np.int64)
    for fold in range(shape.neurons // raw.pe):
        for element in range(raw.pe):
            total = np.zeros(len(windows), np.int64)
            for tap in range(shape.inputs):
                word = int(raw.words[element, fold * shape.steps + tap // shape.simd])
                plus = word >> (tap % shape.simd) & 1
                total += windows[:, tap] if plus else -windows[:, tap]
            found[:, fold * raw.pe + element] = 2 * total
    return found


def fires(raw: RawLayer, found: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Compare with the thresholds, strictly."""
    assert raw.thresholds is not None
    pe = raw.pe
    result = np.zeros(found.shape, np.uint8)
    for neuron in range(found.shape[1]):
        result[:, neuron] = found[:, neuron] > raw.thresholds[neuron % pe, neuron // pe]
    return result


def convolve(raw: RawLayer, shape: Shape, maps: NDArray[np.uint8], *, first: bool) -> NDArray[np.uint8]:
    """Slide a 3 x 3 window over maps (n, height, width, channels); taps in order (ky, kx, channel)."""
    count, height, width, _ = maps.shape
    result = np.zeros((count, height - 2, width - 2, shape.neurons), np.uint8)
    for y, windows in _rows(maps):
        taps = windows.reshape(-1, shape.inputs)
        found = products(raw, shape, taps.astype(np.int64) - 128) if first else counts(raw, shape, taps)
        result[:, y] = fires(raw, found).reshape(count, width - 2, shape.neurons)
    return result


def _rows(maps: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Windows of each row of the result: (n, width - 2, 3, 3, channels)."""
    width = maps.shape[2]
    for y in range(maps.shape[1] - 2):
        columns = [maps[:, y : y + 3, x : x + 3] for x in range(width - 2)]
        yield y, np.stack(columns, axis=1)


def pool(maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OR over 2 x 2 windows; an odd last row or column is left out."""
    height, width = maps.shape[1] // 2 * 2, maps.shape[2] // 2 * 2
    cut = maps[:, :height, :width]
    return cut[:, 0::2, 0::2] | cut[:, 0::2, 1::2] | cut[:, 1::2, 0::2] | cut[:, 1::2, 1::2]
