"""What a ``.xnor`` file keeps of layers with weights; part of `xnorcore.files.kinds`.

Weights of -1 and +1 with at most one threshold for each output are the types ``dense`` and ``conv2d``. What
has more bits is a type of its own, whose weights are planes, the least significant first, of numbers in two's
complement; of one plane, -1 and +1 as always.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..model.bits import pack, pack_weights, unpack, unpack_weights
from ..model.check import KERNEL, MAX_SIZE, brief
from ..model.layers import Conv2d, Dense, Weighted
from ..model.limits import MOST_STEPS

Entry = dict[str, Any]
Tensors = dict[str, NDArray[Any]]

MOST_BITS = 8
"""Most bits of a weight."""


def few(layer: Weighted) -> bool:
    """Whether a layer has weights or results of more than one bit."""
    return layer.weight_width > 1 or layer.steps > 1


def numbers(entry: Entry) -> tuple[int, int]:
    """Return the weight bits and the thresholds that a checked entry of any layer calls for."""
    outputs = entry.get("outputs", 0)
    steps = entry.get("steps", int(entry.get("thresholds", False)))
    return outputs * _taps(entry) * entry.get("weight_bits", 1), outputs * steps


def describe(layer: Weighted) -> tuple[Entry, Tensors]:
    """Return the values of a layer's entry, and its tensors."""
    rows = layer.weights.reshape(layer.outputs, -1)
    entry: Entry = {"inputs": layer.inputs, "outputs": layer.outputs}
    if few(layer):
        entry |= {"steps": layer.steps, "weight_bits": layer.weight_width}
        tensors: Tensors = {"weights": _planes(rows, layer.weight_width)}
    else:
        entry |= {"thresholds": layer.thresholds is not None}
        tensors = {"weights": pack_weights(rows)}
    if layer.thresholds is not None:
        tensors["thresholds"] = layer.thresholds.astype("<i4")
    if isinstance(layer, Conv2d):
        entry |= {key: list(getattr(layer, key)) for key in ("kernel", "stride", "padding")}
        entry["pad_value"] = layer.pad_value
    return entry, tensors


def expected(where: str, entry: Entry) -> Iterator[tuple[str, str, list[int]]]:
    """Yield name, data type and shape of each tensor of an entry.

    Raises
    ------
    FileFormatError
        If a size is not legal.
    """
    kernel = entry.get("kernel", [1, 1])
    if len(kernel) != 2 or not all(type(n) is int and 1 <= n <= KERNEL[1] for n in kernel):
        raise FileFormatError(f"{where}: kernel {brief(kernel)} is not 2 integers from 1 to {KERNEL[1]}")
    outputs, count = entry["outputs"], _taps(entry)
    if not (1 <= count <= MAX_SIZE and 1 <= outputs <= MAX_SIZE):
        raise FileFormatError(
            f"{where}: {brief(outputs)} x {brief(count)} weights, the limit is {MAX_SIZE} each"
        )
    shape, steps = [outputs, -(-count // 8)], entry.get("steps", int(entry.get("thresholds", 0)))
    if "steps" in entry:
        for key, low, high in (("steps", 0, MOST_STEPS), ("weight_bits", 1, MOST_BITS)):
            if not low <= entry[key] <= high:
                raise FileFormatError(f"{where}: {key} is {brief(entry[key])}, but must be {low} to {high}")
        shape = [entry["weight_bits"], *shape]
    yield "weights", "U8", shape
    if steps:
        yield "thresholds", "I32", [outputs] if steps == 1 else [outputs, steps]


def build_dense(where: str, entry: Entry, tensors: Tensors) -> Dense:
    """Return a dense layer."""
    layer = Dense(*_arrays(where, entry, tensors), entry["name"])
    return _canonical(where, entry, layer)


def build_conv(where: str, entry: Entry, tensors: Tensors) -> Conv2d:
    """Return a convolution."""
    weights, thresholds = _arrays(where, entry, tensors)
    layer = Conv2d(
        weights.reshape(entry["outputs"], *entry["kernel"], entry["inputs"]), thresholds,
        stride=entry["stride"], padding=entry["padding"], pad_value=entry["pad_value"], name=entry["name"],
    )  # fmt: skip
    return _canonical(where, entry, layer)


def _taps(entry: Entry) -> int:
    return entry.get("inputs", 0) * prod(entry.get("kernel", ()))


def _planes(rows: NDArray[np.int8], bits: int) -> NDArray[np.uint8]:
    if bits == 1:
        return pack_weights(rows)[np.newaxis]
    return np.stack([pack(rows.view(np.uint8) >> bit & 1) for bit in range(bits)])


def _arrays(where: str, entry: Entry, tensors: Tensors) -> tuple[NDArray[np.int8], NDArray[np.int64] | None]:
    packed, count = tensors["weights"], _taps(entry)
    if count % 8 and (packed[..., -1] >> (count % 8)).any():
        raise FileFormatError(f"{where}: unused weight bits are not 0")
    thresholds = tensors.get("thresholds")
    return _weights(packed, count), None if thresholds is None else thresholds.astype(np.int64)


def _weights(packed: NDArray[np.uint8], count: int) -> NDArray[np.int8]:
    if packed.ndim == 2 or len(packed) == 1:
        return unpack_weights(packed.reshape(packed.shape[-2:]), count)
    result = np.zeros((packed.shape[1], count), np.int8)
    for bit, plane in enumerate(packed):
        result |= (unpack(plane, count) << bit).view(np.int8)
    unused = 8 - len(packed)
    return result << unused >> unused  # the highest plane is the sign


def _canonical(where: str, entry: Entry, layer: Any) -> Any:
    """A layer whose entry is the one that it is written with."""
    if "steps" in entry and (not few(layer) or layer.weight_width != entry["weight_bits"]):
        raise FileFormatError(
            f"{where}: weight_bits is {entry['weight_bits']}, but its weights take {layer.weight_width}"
            + ("" if few(layer) else ", and without codes its type is that of layers of one bit")
        )
    return layer
