"""What a ``.xnor`` file keeps of each kind of layer: one table; part of `xnorcore.files.description`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from ..errors import FileFormatError
from ..model.check import MAX_SIZE, brief
from ..model.layers import Add, Concat, Conv2d, Dense, GlobalSum, InputScale, Layer, MaxPool2d, has_weights
from . import weighted
from .weighted import Entry, Tensors

__all__ = ["KINDS", "Entry", "Kind", "Tensors", "kind_of"]


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
    scale = InputScale(tensors["multiplier"], tensors["offset"], *shifts, entry["name"], entry.get("bits", 0))
    if "bits" in entry and not scale.bits:
        raise FileFormatError(f"{where}: bits is 0; its type must be inputscale")
    return scale


def _saturated(layer: InputScale) -> tuple[Entry, Tensors]:
    entry, tensors = _scale(layer)
    return entry | {"bits": layer.bits}, tensors


def _saturated_sum(layer: Add) -> tuple[Entry, Tensors]:
    return {"offset": layer.offset, "most": layer.most}, {}


_WEIGHTED: dict[str, type] = {"inputs": int, "outputs": int, "thresholds": bool}
_FEW: dict[str, type] = {"inputs": int, "outputs": int, "steps": int, "weight_bits": int}
_CONV: dict[str, type] = {"kernel": list, "stride": list, "padding": list, "pad_value": int}
_POOL: dict[str, type] = {"window": list, "stride": list}
_SCALE: dict[str, type] = {"channels": int, "shift": int, "mean_shift": int}

KINDS: dict[str, Kind] = {
    "dense": Kind(Dense, _WEIGHTED, weighted.describe, weighted.expected, weighted.build_dense),
    "conv2d": Kind(Conv2d, _WEIGHTED | _CONV, weighted.describe, weighted.expected, weighted.build_conv),
    "fewbitdense": Kind(Dense, _FEW, weighted.describe, weighted.expected, weighted.build_dense),
    "fewbitconv2d": Kind(Conv2d, _FEW | _CONV, weighted.describe, weighted.expected, weighted.build_conv),
    "maxpool2d": Kind(MaxPool2d, _POOL, _pool, _nothing, _build_pool),
    "paddedmaxpool2d": Kind(MaxPool2d, _POOL | {"padding": list}, _padded_pool, _nothing, _build_pool),
    "globalsum": Kind(GlobalSum, {}, lambda _: ({}, {}), _nothing, lambda _, e, t: GlobalSum(e["name"])),
    "inputscale": Kind(InputScale, _SCALE, _scale, _expected_scale, _build_scale),
    "saturatedinputscale": Kind(
        InputScale, _SCALE | {"bits": int}, _saturated, _expected_scale, _build_scale
    ),
    "concat": Kind(Concat, {}, lambda _: ({}, {}), _nothing, lambda _, e, t: Concat(e["name"])),
    "add": Kind(Add, {}, lambda _: ({}, {}), _nothing, lambda _, e, t: Add(e["name"])),
    "saturatedadd": Kind(
        Add,
        {"offset": int, "most": int},
        _saturated_sum,
        _nothing,
        lambda _, e, t: Add(e["name"], e["offset"], e["most"]),
    ),
}
"""By the ``type`` of a layer's entry."""

assert {kind.kind for kind in KINDS.values()} == set(get_args(Layer)), (
    "every kind of layer has a form in files"
)


def kind_of(layer: Layer) -> str:
    """Return the ``type`` of a layer's entry: padded pooling, saturation and several bits have their own."""
    if type(layer) is MaxPool2d and any(layer.padding):
        return "paddedmaxpool2d"
    if isinstance(layer, InputScale) and layer.bits:
        return "saturatedinputscale"
    if isinstance(layer, Add) and layer.most is not None:
        return "saturatedadd"
    name = next(name for name, one in KINDS.items() if one.kind is type(layer))
    return f"fewbit{name}" if has_weights(layer) and weighted.few(layer) else name
