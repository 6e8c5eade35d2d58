"""What a ``.xnor`` file keeps of a network's head and tail: docs/numerics.md, section 9."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, get_args

from ..errors import FileFormatError
from ..host.head import Head
from ..host.layers import (
    Real,
    RealAffine,
    RealAveragePool2d,
    RealClip,
    RealConv2d,
    RealDense,
    RealMaxPool2d,
)
from ..host.parts import MAX_LAYERS, MAX_STORED
from ..host.tail import Tail
from ..model.limits import MOST_STEPS, brief
from .container import check_keys
from .weighted import Entry, Tensors

Expected = dict[str, tuple[str, list[int] | None]]

ENDS = ("head", "tail")
"""Keys of the description, and prefixes of the tensors."""


@dataclass(frozen=True)
class Kind:
    """How one kind of real layer is kept.

    Attributes
    ----------
    kind : type
        Of the layer.
    keys : dict of str to type
        Of its entry, besides ``type``.
    describe : callable
        Takes a layer; returns the entry's values. Its arrays are its tensors.
    shapes : callable
        Takes an entry; yields name and shape of each tensor.
    build : callable
        Takes entry and tensors; returns the layer.
    """

    kind: type
    keys: dict[str, type]
    describe: Callable[[Any], Entry]
    shapes: Callable[[Entry], Iterator[tuple[str, list[int]]]]
    build: Callable[[Entry, Tensors], Real]


def _product(entry: Entry, *taps: int) -> Iterator[tuple[str, list[int]]]:
    yield "weights", [entry["outputs"], *taps]
    if entry["bias"]:
        yield "bias", [entry["outputs"]]


def _conv(layer: RealConv2d) -> Entry:
    outputs, *kernel, channels = layer.weights.shape
    entry = {key: list(getattr(layer, key)) for key in ("stride", "padding")}
    sizes = {"inputs": channels * layer.groups, "outputs": outputs, "kernel": kernel, "groups": layer.groups}
    return sizes | entry | {"bias": layer.bias is not None}


def _conv_shapes(entry: Entry) -> Iterator[tuple[str, list[int]]]:
    groups = max(entry["groups"], 1)
    if len(entry["kernel"]) != 2 or entry["inputs"] % groups:
        raise FileFormatError(f"kernel {brief(entry['kernel'])} or groups {brief(groups)} do not fit")
    yield from _product(entry, *entry["kernel"], entry["inputs"] // groups)


def _build_conv(entry: Entry, tensors: Tensors) -> Real:
    values = {key: entry[key] for key in ("stride", "padding", "groups")}
    return RealConv2d(tensors["weights"], tensors.get("bias"), **values)


def _dense(layer: RealDense) -> Entry:
    outputs, inputs = layer.weights.shape
    return {"inputs": inputs, "outputs": outputs, "bias": layer.bias is not None}


def _affine_shapes(entry: Entry) -> Iterator[tuple[str, list[int]]]:
    yield "scale", [entry["channels"]]
    yield "offset", [entry["channels"]]


def _limits(entry: Entry) -> Iterator[tuple[str, list[int]]]:
    yield from ()
    if len(entry["limits"]) != 2:
        raise FileFormatError(f"limits are {brief(entry['limits'])}, but must be 2 numbers or null")


def _pool(layer: Any) -> Entry:
    return {key: list(getattr(layer, key)) for key in ("window", "stride", "padding")}


def _pool_kind(kind: type) -> Kind:
    def build(entry: Entry, tensors: Tensors) -> Real:
        return kind(entry["window"], entry["stride"], entry["padding"])

    return Kind(kind, {"window": list, "stride": list, "padding": list}, _pool, lambda _: iter(()), build)


_SIZES: dict[str, type] = {"inputs": int, "outputs": int, "bias": bool}
_CONV: dict[str, type] = {"kernel": list, "stride": list, "padding": list, "groups": int}

KINDS: dict[str, Kind] = {
    RealConv2d.kind: Kind(RealConv2d, _SIZES | _CONV, _conv, _conv_shapes, _build_conv),
    RealDense.kind: Kind(
        RealDense, _SIZES, _dense, lambda e: _product(e, e["inputs"]),
        lambda e, t: RealDense(t["weights"], t.get("bias")),
    ),
    RealAffine.kind: Kind(
        RealAffine, {"channels": int}, lambda layer: {"channels": len(layer.scale)}, _affine_shapes,
        lambda e, t: RealAffine(t["scale"], t["offset"]),
    ),
    RealClip.kind: Kind(
        RealClip, {"limits": list}, lambda layer: {"limits": [layer.low, layer.high]}, _limits,
        lambda e, t: RealClip(*e["limits"]),
    ),
    RealMaxPool2d.kind: _pool_kind(RealMaxPool2d),
    RealAveragePool2d.kind: _pool_kind(RealAveragePool2d),
}  # fmt: skip
"""By the ``type`` of a real layer's entry."""

assert {kind.kind for kind in KINDS.values()} == set(get_args(Real)), "every real layer has a form in files"


def describe(part: Head | Tail) -> tuple[Entry, Tensors]:
    """Return the entry of a head or a tail, and its tensors by name."""
    end = "head" if isinstance(part, Head) else "tail"
    entry: Entry = {"shape": list(part.shape), "layers": []}
    tensors: Tensors = {}
    if isinstance(part, Head):
        entry["thresholds"] = list(part.thresholds.shape)
        entry["pixels"] = [] if part.pixels is None else list(part.pixels.shape)
        tensors[f"{end}.thresholds"] = part.thresholds.astype("<f4")
        if part.pixels is not None:
            tensors[f"{end}.pixels"] = part.pixels.astype("<f4")
    for index, layer in enumerate(part.layers):
        one = KINDS[layer.kind].describe(layer)
        entry["layers"].append({"type": layer.kind, **one})
        for key, _ in KINDS[layer.kind].shapes(one):
            tensors[f"{end}.layers.{index}.{key}"] = getattr(layer, key).astype("<f4")
    return entry, tensors


def expected(end: str, entry: Any) -> Expected:
    """Return data type and shape of every tensor that the entry of a head or a tail calls for.

    Raises
    ------
    FileFormatError
        If a layer is of an unknown type, lacks a key or is too large.
    """
    head: dict[str, type] = {"thresholds": list, "pixels": list} if end == "head" else {}
    check_keys(end, entry, {"shape": list, "layers": list, **head})
    if len(entry["layers"]) > MAX_LAYERS:
        raise FileFormatError(f"{end}: {len(entry['layers'])} layers, the limit is {MAX_LAYERS}")
    found: Expected = {}
    for key, most in (("thresholds", MOST_STEPS), ("pixels", 256)) if head else ():
        if key == "thresholds" or entry[key]:
            found[f"{end}.{key}"] = "F32", _sizes(f"{end}: {key}", entry[key], most)
    stored = sum(prod(shape or ()) for _, shape in found.values())
    for index, layer in enumerate(entry["layers"]):
        where = f"{end}, layer {index}"
        name = layer.get("type") if isinstance(layer, dict) else None
        if not isinstance(name, str) or name not in KINDS:
            raise FileFormatError(f"{where}: type {brief(name)} is unknown; update xnorcore")
        check_keys(where, layer, {"type": str, **KINDS[name].keys})
        try:
            shapes = list(KINDS[name].shapes(layer))
        except FileFormatError as error:
            raise FileFormatError(f"{where}: {error}") from None
        for key, shape in shapes:
            if not all(type(n) is int and 1 <= n <= MAX_STORED for n in shape):
                raise FileFormatError(
                    f"{where}: {key}: sizes {brief(shape)} must be integers from 1 to {MAX_STORED}"
                )
            stored += prod(shape)
            if stored > MAX_STORED:
                raise FileFormatError(f"{where}: {brief(stored)} numbers so far, the limit is {MAX_STORED}")
            found[f"{end}.layers.{index}.{key}"] = "F32", shape
    return found


def build(end: str, entry: Entry, tensors: Tensors) -> Head | Tail:
    """Make the head or tail of an entry that `expected` has passed, and of those tensors.

    Raises
    ------
    NetworkError
        If it is not legal.
    """
    layers = []
    for index, layer in enumerate(entry["layers"]):
        prefix = f"{end}.layers.{index}."
        mine = {key.removeprefix(prefix): one for key, one in tensors.items() if key.startswith(prefix)}
        layers.append(KINDS[layer["type"]].build(layer, mine))
    if end == "head":
        return Head(entry["shape"], layers, tensors["head.thresholds"], tensors.get("head.pixels"))
    return Tail(entry["shape"], layers)


def _sizes(what: str, shape: list[Any], most: int) -> list[int]:
    if len(shape) != 2 or not all(type(n) is int and n >= 1 for n in shape) or shape[1] > most:
        raise FileFormatError(
            f"{what}: sizes {brief(shape)} must be 2 integers above 0, the second at most {most}"
        )
    if prod(shape) > MAX_STORED:
        raise FileFormatError(f"{what}: {brief(prod(shape))} numbers, the limit is {MAX_STORED}")
    return shape
