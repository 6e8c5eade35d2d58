"""Execution of a BNN-PYNQ folder as its accelerator defines it, straight from the stored words.

It exists to check the import, and shares no arithmetic with the network, `golden` or `fast`: inputs are
packed into words of simd bits, and each processing element counts bits of its own words: the equal ones, or,
of activations of two bits, those that meet a +1 and those that meet a -1.
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
        LFC: output bits. CNV: popcounts; sums, where activations have two bits.
    """
    layers = list(zip(folder.layers, topology.shapes, strict=True))
    if topology.kind == "LFC":
        bits = values
        for raw, shape in layers:
            bits = fires(raw, shape, counts(raw, shape, pad(bits, shape)))
        return bits[:, : topology.classes].astype(np.int64)
    maps = values
    for index, (raw, shape) in enumerate(layers):
        if shape.conv:
            maps = convolve(raw, shape, maps)
            if index in CNV_POOLED:
                maps = pool(maps)
            continue
        found = counts(raw, shape, maps.reshape(len(maps), -1))
        if raw.thresholds is None:
            return found[:, : topology.classes]
        maps = fires(raw, shape, found)
    raise AssertionError("CNV ends in a layer without thresholds")


def pad(bits: NDArray[np.uint8], shape: Shape) -> NDArray[np.uint8]:
    """Fill the inputs of LFC's first layer up with 0 bits."""
    missing = shape.inputs - bits.shape[1]
    assert missing == 0 or shape.inputs == LFC_INPUTS
    return np.pad(bits, ((0, 0), (0, missing)))


def counts(raw: RawLayer, shape: Shape, bits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count equal bits, or sum up: int64, shape (n, neurons).

    `bits` have the shape (n, inputs); of a layer that reads codes they are 0, 1 and 2 for -1, 0 and 1.
    """
    if shape.reads != "bits":
        return _sums(raw, shape, bits)
    words = _packed(bits == 1, shape)
    used = np.uint64((1 << shape.simd) - 1)
    found = np.zeros((len(bits), shape.neurons), np.int64)
    for neuron, row in _words(raw, shape):
        equal = np.bitwise_count(~(words ^ row) & used)
        found[:, neuron] = equal.sum(axis=1, dtype=np.int64)
    return found


def _sums(raw: RawLayer, shape: Shape, values: NDArray[np.uint8]) -> NDArray[np.int64]:
    plus = _packed(values == (2 if shape.reads == "codes" else 1), shape)
    minus = _packed(values == 0, shape)

    def met(row: NDArray[np.uint64]) -> NDArray[np.int64]:
        difference = np.bitwise_count(row & plus).astype(np.int64) - np.bitwise_count(row & minus)
        return difference.sum(axis=1)

    everything = met(np.full(shape.steps, (1 << 64) - 1, np.uint64))
    found = np.zeros((len(values), shape.neurons), np.int64)
    for neuron, row in _words(raw, shape):
        if shape.weight_bits == 1:
            found[:, neuron] = 2 * met(row) - everything
        else:
            found[:, neuron] = met(row) - 2 * met(row >> np.uint64(1))
    return found


def _packed(chosen: NDArray[np.bool_], shape: Shape) -> NDArray[np.uint64]:
    """Words, shape (n, steps), with a bit for each chosen input, where the lowest bit of its weight lies."""
    places = shape.weight_bits * np.arange(shape.simd, dtype=np.uint64)
    spread = chosen.reshape(len(chosen), -1, shape.simd).astype(np.uint64) << places
    return np.bitwise_or.reduce(spread, axis=2)


def _words(raw: RawLayer, shape: Shape) -> Iterator[tuple[int, NDArray[np.uint64]]]:
    """Each neuron, and its words."""
    for fold in range(shape.neurons // raw.pe):
        for element in range(raw.pe):
            yield fold * raw.pe + element, raw.words[element, fold * shape.steps : (fold + 1) * shape.steps]


def products(raw: RawLayer, shape: Shape, windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what CNV's first layer compares: twice the sum of weight * q over windows, shape (n, 27)."""
    found = np.zeros((len(windows), shape.neurons), np.int64)
    for neuron, row in _words(raw, shape):
        total = np.zeros(len(windows), np.int64)
        for tap in range(shape.inputs):
            field = int(row[tap // shape.simd]) >> tap % shape.simd * shape.weight_bits
            if shape.weight_bits == 1:
                total += windows[:, tap] if field & 1 else -windows[:, tap]
            else:
                total += ((field & 1) - (field & 2)) * windows[:, tap]
        found[:, neuron] = 2 * total
    return found


def fires(raw: RawLayer, shape: Shape, found: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Count the thresholds that are below, strictly."""
    assert raw.thresholds is not None
    pe, each = raw.pe, shape.thresholds
    result = np.zeros(found.shape, np.uint8)
    for neuron in range(found.shape[1]):
        for threshold in raw.thresholds[neuron % pe, neuron // pe * each : (neuron // pe + 1) * each]:
            result[:, neuron] += found[:, neuron] > threshold
    return result


def convolve(raw: RawLayer, shape: Shape, maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Slide a 3 x 3 window over maps (n, height, width, channels); taps in order (ky, kx, channel)."""
    count, height, width, _ = maps.shape
    result = np.zeros((count, height - 2, width - 2, shape.neurons), np.uint8)
    for y, windows in _rows(maps):
        taps = windows.reshape(-1, shape.inputs)
        pixels = shape.reads == "pixels"
        found = products(raw, shape, taps.astype(np.int64) - 128) if pixels else counts(raw, shape, taps)
        result[:, y] = fires(raw, shape, found).reshape(count, width - 2, shape.neurons)
    return result


def _rows(maps: NDArray[np.uint8]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Windows of each row of the result: (n, width - 2, 3, 3, channels)."""
    width = maps.shape[2]
    for y in range(maps.shape[1] - 2):
        columns = [maps[:, y : y + 3, x : x + 3] for x in range(width - 2)]
        yield y, np.stack(columns, axis=1)


def pool(maps: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The largest of 2 x 2 windows, of bits their OR; an odd last row or column is left out."""
    height, width = maps.shape[1] // 2 * 2, maps.shape[2] // 2 * 2
    cut = maps[:, :height, :width]
    rows = np.maximum(cut[:, 0::2], cut[:, 1::2])
    return np.maximum(rows[:, :, 0::2], rows[:, :, 1::2])
