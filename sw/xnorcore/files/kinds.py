"""What a ``.xnor`` file keeps of each kind of layer: one table; part of `xnorcore.files.description`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..model.bits import pack_weights, unpack_weights
from ..model.check import KERNEL, MAX_SIZE, brief
from ..model.layers import Concat, Conv2d, Dense, GlobalSum, InputScale, Layer, MaxPool2d, Weighted

__all__ = ["KINDS", "Entry", "Kind", "Tensors", "kind_of", "taps"]

Entry = dict[str, Any]
Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Kind:
    """How one kind of layer is kept.

    Attributes
    ----------
    kind : type
        Of the layer.
    keys : dict of str to type
        Of its entry in the description, besides ``type``, ``name`` and ``reads``.
    describe : callable
        Takes a layer; returns the entry's values, and its tensors.
    expected : callable
        Takes a layer's place in messages and its entry; yields name, data type and shape of each tensor.
    build : callable
        Takes place, entry and tensors; returns the layer.
    """

    kind: type
    keys: dict[str, type]
    describe: Callable[[Any], tuple[Entry, Tensors]]
    expected: Callable[[str, Entry], Iterator[tuple[str, str, list[int]]]]
    build: Callable[[str, Entry, Tensors], Layer]


def _nothing(where: str, entry: Entry) -> Iterator[tuple[str, str, list[int]]]:
    yield from ()


# Layers with weights.


def taps(entry: Entry) -> int:
    """Taps of an output of a layer with weights; of others nothing that matters."""
    return entry.get("inputs", 0) * prod(entry.get("kernel", ()))


def _weighted(layer: Weighted) -> tuple[Entry, Tensors]:
    tensors: Tensors = {"weights": pack_weights(layer.weights.reshape(layer.outputs, -1))}
    if layer.thresholds is not None:
        tensors["thresholds"] = layer.thresholds.astype("<i4")
    entry = {"inputs": layer.inputs, "outputs": layer.outputs, "thresholds": layer.thresholds is not None}
    return entry, tensors


def _conv(layer: Conv2d) -> tuple[Entry, Tensors]:
    entry, tensors = _weighted(layer)
    lists = {key: list(getattr(layer, key)) for key in ("kernel", "stride", "padding")}
    return entry | lists | {"pad_value": layer.pad_value}, tensors


def _expected_weights(where: str, entry: Entry) -> Iterator[tuple[str, str, list[int]]]:
    kernel = entry.get("kernel", [1, 1])
    if len(kernel) != 2 or not all(type(n) is int and 1 <= n <= KERNEL[1] for n in kernel):
        raise FileFormatError(f"{where}: kernel {brief(kernel)} is not 2 integers from 1 to {KERNEL[1]}")
    outputs, count = entry["outputs"], taps(entry)
    if not (1 <= count <= MAX_SIZE and 1 <= outputs <= MAX_SIZE):
        raise FileFormatError(
            f"{where}: {brief(outputs)} x {brief(count)} weights, the limit is {MAX_SIZE} each"
        )
    yield "weights", "U8", [outputs, -(-count // 8)]
    if entry["thresholds"]:
        yield "thresholds", "I32", [outputs]


def _arrays(where: str, entry: Entry, tensors: Tensors) -> tuple[NDArray[np.int8], NDArray[np.int64] | None]:
    packed, count = tensors["weights"], taps(entry)
    if count % 8 and (packed[:, -1] >> (count % 8)).any():
        raise FileFormatError(f"{where}: unused weight bits are not 0")
    thresholds = tensors.get("thresholds")
    return unpack_weights(packed, count), None if thresholds is None else thresholds.astype(np.int64)


def _build_dense(where: str, entry: Entry, tensors: Tensors) -> Layer:
    return Dense(*_arrays(where, entry, tensors), entry["name"])


def _build_conv(where: str, entry: Entry, tensors: Tensors) -> Layer:
    weights, thresholds = _arrays(where, entry, tensors)
    return Conv2d(
        weights.reshape(entry["outputs"], *entry["kernel"], entry["inputs"]), thresholds,
        stride=entry["stride"], padding=entry["padding"], pad_value=entry["pad_value"], name=entry["name"],
    )  # fmt: skip


# Layers without.


def _pool(layer: MaxPool2d) -> tuple[Entry, Tensors]:
    return {"window": list(layer.window), "stride": list(layer.stride)}, {}


def _padded_pool(layer: MaxPool2d) -> tuple[Entry, Tensors]:
    return _pool(layer)[0] | {"padding": list(layer.padding)}, {}


def _build_pool(where: str, entry: Entry, tensors: Tensors) -> Layer:
    pool = MaxPool2d(entry["window"], entry["stride"], entry["name"], entry.get("padding", (0, 0, 0, 0)))
    if "padding" in entry and not any(pool.padding):
        raise FileFormatError(f"{where}: padding is 0; its type must be maxpool2d")
    return pool


def _scale(layer: InputScale) -> tuple[Entry, Tensors]:
    entry = {"channels": len(layer.multiplier), "shift": layer.shift, "mean_shift": layer.mean_shift}
    return entry, {"multiplier": layer.multiplier.astype("<i8"), "offset": layer.offset.astype("<i8")}


def _expected_scale(where: str, entry: Entry) -> Iterator[tuple[str, str, list[int]]]:
    channels = entry["channels"]
    if not 1 <= channels <= MAX_SIZE:
        raise FileFormatError(f"{where}: {brief(channels)} channels, the limit is {MAX_SIZE}")
    yield "multiplier", "I64", [channels]
    yield "offset", "I64", [channels]


def _build_scale(where: str, entry: Entry, tensors: Tensors) -> Layer:
    shifts = entry["shift"], entry["mean_shift"]
    return InputScale(tensors["multiplier"], tensors["offset"], *shifts, entry["name"])


_WEIGHTED: dict[str, type] = {"inputs": int, "outputs": int, "thresholds": bool}
_CONV: dict[str, type] = _WEIGHTED | {"kernel": list, "stride": list, "padding": list, "pad_value": int}
_POOL: dict[str, type] = {"window": list, "stride": list}
_SCALE: dict[str, type] = {"channels": int, "shift": int, "mean_shift": int}

KINDS: dict[str, Kind] = {
    "dense": Kind(Dense, _WEIGHTED, _weighted, _expected_weights, _build_dense),
    "conv2d": Kind(Conv2d, _CONV, _conv, _expected_weights, _build_conv),
    "maxpool2d": Kind(MaxPool2d, _POOL, _pool, _nothing, _build_pool),
    "paddedmaxpool2d": Kind(MaxPool2d, _POOL | {"padding": list}, _padded_pool, _nothing, _build_pool),
    "globalsum": Kind(GlobalSum, {}, lambda _: ({}, {}), _nothing, lambda _, e, t: GlobalSum(e["name"])),
    "inputscale": Kind(InputScale, _SCALE, _scale, _expected_scale, _build_scale),
    "concat": Kind(Concat, {}, lambda _: ({}, {}), _nothing, lambda _, e, t: Concat(e["name"])),
}
"""By the ``type`` of a layer's entry."""

assert {kind.kind for kind in KINDS.values()} == set(get_args(Layer)), (
    "every kind of layer has a form in files"
)


def kind_of(layer: Layer) -> str:
    """Return the ``type`` of a layer's entry: a pooling with padding has one of its own."""
    padded = type(layer) is MaxPool2d and any(layer.padding)
    return (
        "paddedmaxpool2d" if padded else next(name for name, one in KINDS.items() if one.kind is type(layer))
    )
