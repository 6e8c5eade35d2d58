"""The one validator of the network representation: every rule that makes a network legal."""

from __future__ import annotations

import json
from dataclasses import replace
from math import prod
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from .graph import Graph, Node, Value, labels, resolve
from .layers import InputSpec, Layer, has_weights
from .limits import KERNEL, MAX_MAP, MAX_SIZE, MAX_THRESHOLDS, THRESHOLD_RANGE, Site, brief, is_int
from .spec import add

__all__ = [
    "KERNEL", "MAX_LAYERS", "MAX_MAP", "MAX_METADATA", "MAX_NAME", "MAX_SIZE", "MAX_THRESHOLDS",
    "MAX_WEIGHT_BITS", "THRESHOLD_RANGE", "brief", "validate",
]  # fmt: skip

MAX_LAYERS = 256
MAX_WEIGHT_BITS = 1 << 28
MAX_NAME = 100
MAX_METADATA = 256 << 10
"""Most characters of the metadata as JSON."""
MAX_DEPTH = 32
"""Deepest nesting of the metadata."""


def validate(
    *,
    name: object,
    input: object,
    layers: object,
    classes: object,
    scale: NDArray[np.float64] | None,
    offset: NDArray[np.float64] | None,
    metadata: object,
    head: object = None,
    tail: object = None,
) -> Graph:
    """Check every rule of the representation; return the graph if these parts make a legal network.

    Thresholds beyond the reachable sums are legal: they make constant neurons.

    Parameters
    ----------
    name, input, layers, classes, scale, offset, metadata, head, tail
        The fields of a `Network` that is being made, of whatever types its caller gave.

    Raises
    ------
    NetworkError
        For the first rule broken; names the layer, the value and the limit.
    """
    _name("network name", name, 1)
    spec = _input(input)
    if not isinstance(layers, tuple) or not 1 <= len(layers) <= MAX_LAYERS:
        found = len(layers) if isinstance(layers, tuple) else type(layers).__name__
        raise NetworkError(f"layers: found {found}, but a network has 1 to {MAX_LAYERS} layers")
    graph = _graph(spec, layers)
    outputs = prod(graph.values[-1].shape)
    if outputs > MAX_SIZE:
        where = _where(len(layers) - 1, graph.layers[-1])
        raise NetworkError(f"{where}: gives {outputs} outputs, the limit of a network is {MAX_SIZE}")
    for key, values in (("scale", scale), ("offset", offset)):
        if values is not None:
            _affine(key, values, outputs, bits=graph.values[-1].coding == "sign")
    _head(head, spec)
    count = _tail(tail, graph.values[-1], scale, offset)
    if classes is not None and (not is_int(classes) or not 1 <= classes <= count):
        raise NetworkError(f"classes: {brief(classes)} must be an integer from 1 to the {count} outputs")
    _metadata(metadata)
    return graph


def _graph(spec: InputSpec, items: tuple[Any, ...]) -> Graph:
    """Check the layers one after the other against the spec."""
    for index, item in enumerate(items):
        layer = item.layer if isinstance(item, Node) else item
        if not isinstance(layer, Layer):
            kinds = ", ".join(kind.__name__ for kind in get_args(Layer))
            raise NetworkError(f"layer {index}: {type(layer).__name__} is not a layer; known: {kinds}")
        _name(f"layer {index} name", layer.name, 0)
    layers, reads = resolve(items)
    wheres = [_where(index, layer) for index, layer in enumerate(layers)]
    names = labels(layers)
    values = [Value(names[0], spec.shape, "sign" if spec.bits == 1 else "unsigned", spec.maximum)]
    readers: dict[int, list[int]] = {}
    for index, numbers in enumerate(reads):
        for number in dict.fromkeys(numbers):
            readers.setdefault(number, []).append(index)
    weights = thresholds = 0
    for index, layer in enumerate(layers):
        numbers, behind = reads[index], readers.get(index + 1, [])
        site = Site(
            wheres[index],
            tuple(values[number] for number in numbers),
            tuple(wheres[number - 1] if number else "the input" for number in numbers),
            tuple(layers[number - 1] if number else None for number in numbers),
            tuple(layers[reader] for reader in behind),
            behind == [len(layers) - 1],
        )
        values.append(replace(add(site, layer), name=names[index + 1]))
        weights += layer.weight_bits
        if weights > MAX_WEIGHT_BITS:
            raise NetworkError(
                f"{wheres[index]}: {weights} weight bits so far, the limit is {MAX_WEIGHT_BITS}"
            )
        thresholds += layer.outputs * layer.steps if has_weights(layer) else 0
        if thresholds > MAX_THRESHOLDS:
            raise NetworkError(
                f"{wheres[index]}: {thresholds} thresholds so far, the limit is {MAX_THRESHOLDS}"
            )
    return Graph(tuple(layers), tuple(reads), tuple(values))


def _where(index: int, layer: Layer) -> str:
    return f"layer {index} {layer.name!r}" if layer.name else f"layer {index}"


def _name(what: str, name: object, least: int) -> None:
    if not isinstance(name, str):
        raise NetworkError(f"{what}: {brief(name)} is not a string")
    if not least <= len(name) <= MAX_NAME or not name.isprintable():
        raise NetworkError(f"{what}: {brief(name)} must be {least} to {MAX_NAME} printable characters")


def _input(spec: object) -> InputSpec:
    if not isinstance(spec, InputSpec):
        raise NetworkError(f"input: {type(spec).__name__} is not an InputSpec")
    if not isinstance(spec.shape, tuple) or len(spec.shape) not in (1, 3):
        raise NetworkError(f"input shape: {brief(spec.shape)} must be (values,) or (height, width, channels)")
    if not all(is_int(n) and 1 <= n <= MAX_SIZE for n in spec.shape):
        raise NetworkError(f"input shape: {brief(spec.shape)} must hold integers from 1 to {MAX_SIZE}")
    if spec.size > MAX_MAP:
        raise NetworkError(f"input shape: {spec.shape!r} has {spec.size} values, the limit is {MAX_MAP}")
    if not is_int(spec.bits) or not 1 <= spec.bits <= 8:
        raise NetworkError(f"input bits: {brief(spec.bits)} must be an integer from 1 to 8")
    return spec


def _affine(key: str, values: NDArray[np.float64], outputs: int, *, bits: bool) -> None:
    if bits:
        raise NetworkError(f"{key}: the last layer gives bits; an affine belongs to scores, remove it")
    if values.shape != (outputs,):
        raise NetworkError(f"{key}: shape is {values.shape}, but must be ({outputs},)")
    finite = np.isfinite(values)
    if not finite.all():
        index = int(np.argmin(finite))
        raise NetworkError(f"{key}: value {index} is {values[index]}, but must be finite")


def _head(head: object, spec: InputSpec) -> None:
    """Check that what a head gives is what the first layers read."""
    if head is None:
        return
    from ..host.head import Head  # most networks have none

    if not isinstance(head, Head):
        raise NetworkError(f"head: {type(head).__name__} is not a Head")
    if head.shapes[-1] != spec.shape:
        raise NetworkError(f"head: gives {head.shapes[-1]}, but the network's input is {spec.shape}")
    if (head.steps == 1) != (spec.bits == 1) or head.steps > spec.maximum:
        raise NetworkError(
            f"head: its thresholds give values 0 to {head.steps}, which {spec.bits}-bit inputs do not take"
        )


def _tail(tail: object, last: Value, scale: Any, offset: Any) -> int:
    """Check that a tail reads what the last layer gives; return how many scores there are."""
    if tail is None:
        return prod(last.shape)
    from ..host.tail import Tail

    if not isinstance(tail, Tail):
        raise NetworkError(f"tail: {type(tail).__name__} is not a Tail")
    most = last.bound * (1.0 if scale is None else float(np.abs(scale).max()))
    tail.check(last.shape, most + (0.0 if offset is None else float(np.abs(offset).max())))
    return tail.outputs


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
