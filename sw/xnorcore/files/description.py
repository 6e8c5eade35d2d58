"""A network as a JSON description and named tensors, and back: what a ``.xnor`` file holds.

Specification: docs/numerics.md. `xnorcore.files.xnorfile` puts both into a file.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FileFormatError
from ..model.bits import pack_weights, unpack_weights
from ..model.check import KERNEL, MAX_LAYERS, MAX_SIZE, MAX_WEIGHT_BITS, brief
from ..model.network import Conv2d, Dense, GlobalSum, InputScale, InputSpec, Layer, MaxPool2d, Network

FORMAT = "xnorcore"
VERSION = 1

_CONV = {"kernel": list, "stride": list, "padding": list, "pad_value": int}
_WEIGHTED = {"type": str, "name": str, "inputs": int, "outputs": int, "thresholds": bool}
_KEYS: dict[str, dict[str, type]] = {
    "dense": _WEIGHTED,
    "conv2d": _WEIGHTED | _CONV,
    "maxpool2d": {"type": str, "name": str, "window": list, "stride": list},
    "paddedmaxpool2d": {"type": str, "name": str, "window": list, "stride": list, "padding": list},
    "globalsum": {"type": str, "name": str},
    "inputscale": {"type": str, "name": str, "channels": int, "shift": int, "mean_shift": int},
}
"""Keys of each kind of layer, and their types."""


def describe(network: Network) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the description, without its checksum, and the tensors by name."""
    layers: list[dict[str, Any]] = []
    tensors: dict[str, NDArray[Any]] = {}
    for index, layer in enumerate(network.layers):
        layers.append(_layer(layer))
        if isinstance(layer, (Dense, Conv2d)):
            tensors[f"layers.{index}.weights"] = pack_weights(layer.weights.reshape(layer.outputs, -1))
            if layer.thresholds is not None:
                tensors[f"layers.{index}.thresholds"] = layer.thresholds.astype("<i4")
        elif isinstance(layer, InputScale):
            tensors[f"layers.{index}.multiplier"] = layer.multiplier.astype("<i8")
            tensors[f"layers.{index}.offset"] = layer.offset.astype("<i8")
    for key in ("scale", "offset"):
        values = getattr(network, key)
        if values is not None:
            tensors[key] = values.astype("<f8")
    description = {
        "format": FORMAT, "version": VERSION, "name": network.name,
        "input": {"shape": list(network.input.shape), "bits": network.input.bits},
        "layers": layers, "classes": network.class_count,
        "scale": network.scale is not None, "offset": network.offset is not None,
        "metadata": network.metadata,
    }  # fmt: skip
    return description, tensors


def check_keys(what: str, value: Any, types: dict[str, type]) -> dict[str, Any]:
    """Return a JSON object that has exactly these keys and types.

    Raises
    ------
    FileFormatError
        If it is anything else.
    """
    if not isinstance(value, dict) or set(value) != set(types):
        found = brief(", ".join(sorted(value)), 200) if isinstance(value, dict) else type(value).__name__
        raise FileFormatError(f"{what} has {found}; it must have {', '.join(sorted(types))}")
    for key, kind in types.items():
        if type(value[key]) is not kind:
            raise FileFormatError(
                f"{what}: {key} is {type(value[key]).__name__}, but must be {kind.__name__}"
            )
    return value


def expected_tensors(description: dict[str, Any]) -> dict[str, tuple[str, list[int] | None]]:
    """Return data type and shape of every tensor that the description calls for.

    A shape of None is left to the validator.

    Raises
    ------
    FileFormatError
        If a layer is of an unknown type, lacks a key or is too large.
    """
    layers = description["layers"]
    if not 1 <= len(layers) <= MAX_LAYERS:
        raise FileFormatError(f"{len(layers)} layers, but there must be 1 to {MAX_LAYERS}")
    expected: dict[str, tuple[str, list[int] | None]] = {}
    weights = 0
    for index, layer in enumerate(layers):
        kind = layer.get("type") if isinstance(layer, dict) else None
        if not isinstance(kind, str) or kind not in _KEYS:
            raise FileFormatError(f"layer {index}: type {brief(kind)} is unknown; update xnorcore")
        check_keys(f"layer {index}", layer, _KEYS[kind])
        if kind == "inputscale":
            channels = layer["channels"]
            if not 1 <= channels <= MAX_SIZE:
                raise FileFormatError(f"layer {index}: {brief(channels)} channels, the limit is {MAX_SIZE}")
            expected |= {f"layers.{index}.{key}": ("I64", [channels]) for key in ("multiplier", "offset")}
        if "outputs" not in layer:
            continue
        outputs, taps = layer["outputs"], layer["inputs"]
        if kind == "conv2d":
            kernel = layer["kernel"]
            if len(kernel) != 2 or not all(type(n) is int and 1 <= n <= KERNEL[1] for n in kernel):
                raise FileFormatError(
                    f"layer {index}: kernel {brief(kernel)} is not 2 integers from 1 to {KERNEL[1]}"
                )
            taps *= kernel[0] * kernel[1]
        if not (1 <= taps <= MAX_SIZE and 1 <= outputs <= MAX_SIZE):
            raise FileFormatError(
                f"layer {index}: {brief(outputs)} x {brief(taps)} weights, the limit is {MAX_SIZE} each"
            )
        weights += taps * outputs
        if weights > MAX_WEIGHT_BITS:
            raise FileFormatError(
                f"layer {index}: {weights} weight bits so far, the limit is {MAX_WEIGHT_BITS}"
            )
        expected[f"layers.{index}.weights"] = ("U8", [outputs, -(-taps // 8)])
        if layer["thresholds"]:
            expected[f"layers.{index}.thresholds"] = ("I32", [outputs])
    for key in ("scale", "offset"):
        if description[key]:
            # One value for each output; how many there are is known when the layers are chained.
            expected[key] = ("F64", None)
    return expected


def build(description: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Network:
    """Make the network of a description that `expected_tensors` has passed, and of those tensors.

    Raises
    ------
    FileFormatError
        If an unused weight bit is not 0.
    NetworkError
        If the network is not legal.
    """
    layers: list[Layer] = []
    for index, layer in enumerate(description["layers"]):
        if layer["type"] == "maxpool2d":
            layers.append(MaxPool2d(layer["window"], layer["stride"], layer["name"]))
            continue
        if layer["type"] == "paddedmaxpool2d":
            pool = MaxPool2d(layer["window"], layer["stride"], layer["name"], layer["padding"])
            if not any(pool.padding):
                raise FileFormatError(f"layer {index}: padding is 0; its type must be maxpool2d")
            layers.append(pool)
            continue
        if layer["type"] == "globalsum":
            layers.append(GlobalSum(layer["name"]))
            continue
        if layer["type"] == "inputscale":
            multiplier, offset = (tensors[f"layers.{index}.{key}"] for key in ("multiplier", "offset"))
            shifts = layer["shift"], layer["mean_shift"]
            layers.append(InputScale(multiplier, offset, *shifts, layer["name"]))
            continue
        packed = tensors[f"layers.{index}.weights"]
        taps = layer["inputs"] * prod(layer.get("kernel", ()))
        if taps % 8 and (packed[:, -1] >> (taps % 8)).any():
            raise FileFormatError(f"layer {index}: unused weight bits are not 0")
        weights = unpack_weights(packed, taps)
        thresholds = tensors.get(f"layers.{index}.thresholds")
        wide = None if thresholds is None else thresholds.astype(np.int64)
        if layer["type"] == "dense":
            layers.append(Dense(weights, wide, layer["name"]))
            continue
        weights = weights.reshape(layer["outputs"], *layer["kernel"], layer["inputs"])
        layers.append(
            Conv2d(
                weights, wide, stride=layer["stride"], padding=layer["padding"],
                pad_value=layer["pad_value"], name=layer["name"],
            )
        )  # fmt: skip
    spec = check_keys("input", description["input"], {"shape": list, "bits": int})
    return Network(
        description["name"], InputSpec(tuple(spec["shape"]), spec["bits"]), layers, description["classes"],
        tensors.get("scale"), tensors.get("offset"), description["metadata"],
    )  # fmt: skip


def _layer(layer: Layer) -> dict[str, Any]:
    """The layer's entry in the description."""
    if isinstance(layer, MaxPool2d):
        windows = {"name": layer.name, "window": list(layer.window), "stride": list(layer.stride)}
        if any(layer.padding):
            return {"type": "paddedmaxpool2d", **windows, "padding": list(layer.padding)}
        return {"type": "maxpool2d", **windows}
    if isinstance(layer, GlobalSum):
        return {"type": "globalsum", "name": layer.name}
    if isinstance(layer, InputScale):
        return {
            "type": "inputscale", "name": layer.name, "channels": len(layer.multiplier),
            "shift": layer.shift, "mean_shift": layer.mean_shift,
        }  # fmt: skip
    entry: dict[str, Any] = {
        "type": "dense", "name": layer.name, "inputs": layer.inputs, "outputs": layer.outputs,
        "thresholds": layer.thresholds is not None,
    }  # fmt: skip
    if isinstance(layer, Conv2d):
        entry |= {
            "type": "conv2d", "kernel": list(layer.kernel), "stride": list(layer.stride),
            "padding": list(layer.padding), "pad_value": layer.pad_value,
        }  # fmt: skip
    return entry
