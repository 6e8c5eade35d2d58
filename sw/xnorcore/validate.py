"""The one validator of the network representation: every rule that makes a network legal."""

from __future__ import annotations

import json
from math import prod
from typing import Any

import numpy as np

from .errors import NetworkError
from .network import Dense, InputSpec, Network, Shape

MAX_SIZE = 65536
"""Most values in an image, inputs or outputs of a layer."""
MAX_LAYERS = 256
MAX_WEIGHT_BITS = 1 << 28
MAX_NAME = 100
MAX_METADATA = 256 << 10
"""Most characters of the metadata as JSON."""
MAX_DEPTH = 32
"""Deepest nesting of the metadata."""
THRESHOLD_RANGE = (-(1 << 31), (1 << 31) - 1)


def validate(network: Network) -> None:
    """Check every rule of the representation; return only for a legal network.

    Thresholds beyond the reachable sums are legal: they make constant neurons.

    Parameters
    ----------
    network : Network

    Raises
    ------
    NetworkError
        For the first rule broken; names the layer, the value and the limit.
    """
    _name("network name", network.name, 1)
    _input(network.input)
    layers = network.layers
    if not isinstance(layers, tuple) or not 1 <= len(layers) <= MAX_LAYERS:
        found = len(layers) if isinstance(layers, tuple) else type(layers).__name__
        raise NetworkError(f"layers: found {found}, but a network has 1 to {MAX_LAYERS} layers")
    shape, weights, source = network.input.shape, 0, "the input"
    for index, layer in enumerate(layers):
        if not isinstance(layer, Dense):
            raise NetworkError(f"layer {index}: {type(layer).__name__} is not a layer; known: Dense")
        _name(f"layer {index} name", layer.name, 0)
        where = f"layer {index} {layer.name!r}" if layer.name else f"layer {index}"
        _dense(where, layer, shape, source, last=index == len(layers) - 1)
        weights += layer.weight_bits
        if weights > MAX_WEIGHT_BITS:
            raise NetworkError(f"{where}: {weights} weight bits so far, the limit is {MAX_WEIGHT_BITS}")
        shape, source = layer.output_shape(shape), where
    _classes(network, prod(shape))
    _metadata(network.metadata)


def brief(value: object, most: int = 80) -> str:
    """Show any value, however large or strange, in a message of one line."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (int, float, str)) or value is None:
        text = ascii(value if not isinstance(value, str) else value[:most])
        return text if len(text) <= most else text[:most] + "..."
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        left, right = "()" if isinstance(value, tuple) else "[]"
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        items = (brief(item, 24) if isinstance(item, (int, str)) else type(item).__name__ for item in value)
        return f"{left}{', '.join(items)}{comma}{right}"
    return type(value).__name__


def _name(what: str, name: object, least: int) -> None:
    if not isinstance(name, str):
        raise NetworkError(f"{what}: {brief(name)} is not a string")
    if not least <= len(name) <= MAX_NAME or not name.isprintable():
        raise NetworkError(f"{what}: {brief(name)} must be {least} to {MAX_NAME} printable characters")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _input(spec: object) -> None:
    if not isinstance(spec, InputSpec):
        raise NetworkError(f"input: {type(spec).__name__} is not an InputSpec")
    if not isinstance(spec.shape, tuple) or len(spec.shape) not in (1, 3):
        raise NetworkError(f"input shape: {brief(spec.shape)} must be (values,) or (height, width, channels)")
    if not all(_is_int(n) and 1 <= n <= MAX_SIZE for n in spec.shape):
        raise NetworkError(f"input shape: {brief(spec.shape)} must hold integers from 1 to {MAX_SIZE}")
    if spec.size > MAX_SIZE:
        raise NetworkError(f"input shape: {spec.shape!r} has {spec.size} values, the limit is {MAX_SIZE}")
    if not _is_int(spec.bits) or not 1 <= spec.bits <= 8:
        raise NetworkError(f"input bits: {brief(spec.bits)} must be an integer from 1 to 8")


def _dense(where: str, layer: Dense, shape: Shape, source: str, *, last: bool) -> None:
    weights, thresholds = layer.weights, layer.thresholds
    if weights.dtype != np.int8 or weights.ndim != 2:
        raise NetworkError(
            f"{where}: weights are {weights.dtype} {weights.shape}, but must be int8 (outputs, inputs)"
        )
    for what, size in (("outputs", layer.outputs), ("inputs", layer.inputs)):
        if not 1 <= size <= MAX_SIZE:
            raise NetworkError(f"{where}: {size} {what}, but there must be 1 to {MAX_SIZE}")
    if layer.inputs != prod(shape):
        raise NetworkError(f"{where}: takes {layer.inputs} values, but {source} gives {prod(shape)}")
    wrong = np.abs(weights) != 1
    if wrong.any():
        row, column = (int(i[0]) for i in np.nonzero(wrong))
        raise NetworkError(
            f"{where}: weight [{row}, {column}] is {weights[row, column]}, but must be -1 or +1"
        )
    if thresholds is None:
        if not last:
            raise NetworkError(f"{where}: has no thresholds; only the last layer may give scores")
        return
    if thresholds.dtype != np.int64 or thresholds.shape != (layer.outputs,):
        raise NetworkError(
            f"{where}: thresholds are {thresholds.dtype} {thresholds.shape}, but must be int64 "
            f"({layer.outputs},)"
        )
    low, high = THRESHOLD_RANGE
    far = (thresholds < low) | (thresholds > high)
    if far.any():
        neuron = int(np.argmax(far))
        raise NetworkError(
            f"{where}: threshold {neuron} is {thresholds[neuron]}, but must be {low} to {high}; "
            "any value beyond the reachable sums makes the neuron constant"
        )


def _classes(network: Network, outputs: int) -> None:
    classes = network.classes
    if classes is not None and (not _is_int(classes) or not 1 <= classes <= outputs):
        raise NetworkError(f"classes: {brief(classes)} must be an integer from 1 to the {outputs} outputs")
    for key in ("scale", "offset"):
        values = getattr(network, key)
        if values is None:
            continue
        if network.output_kind == "bits":
            raise NetworkError(f"{key}: the last layer gives bits; an affine belongs to scores, remove it")
        if values.shape != (outputs,):
            raise NetworkError(f"{key}: shape is {values.shape}, but must be ({outputs},)")
        finite = np.isfinite(values)
        if not finite.all():
            index = int(np.argmin(finite))
            raise NetworkError(f"{key}: value {index} is {values[index]}, but must be finite")


def _metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict):
        raise NetworkError(f"metadata: {type(metadata).__name__} is not a dict")
    try:
        plain = _lists(metadata, 0)
        text = json.dumps(metadata, allow_nan=False)
        same = json.loads(text) == plain
    except (TypeError, ValueError, RecursionError) as error:
        raise NetworkError(f"metadata: JSON cannot hold it ({str(error)[:200]})") from None
    if not same:
        raise NetworkError("metadata: keys must be strings; JSON would change them")
    if len(text) > MAX_METADATA:
        raise NetworkError(f"metadata: {len(text)} characters as JSON, the limit is {MAX_METADATA}")


def _lists(value: Any, depth: int) -> Any:
    """The value as JSON gives it back: tuples are lists there."""
    if depth > MAX_DEPTH:
        raise NetworkError(f"metadata: nested deeper than the limit of {MAX_DEPTH}")
    if isinstance(value, dict):
        return {key: _lists(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lists(item, depth + 1) for item in value]
    return value
