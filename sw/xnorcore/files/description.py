"""A network as a JSON description and named tensors, and back: what a ``.xnor`` file holds.

Specification: docs/numerics.md. `xnorcore.files.xnorfile` puts both into a file.
"""

from __future__ import annotations

from typing import Any

from ..errors import FileFormatError
from ..model.check import MAX_LAYERS, MAX_THRESHOLDS, MAX_WEIGHT_BITS, brief
from ..model.layers import InputSpec, Layer
from ..model.network import Network
from ..model.spec import MOST_JOINED
from .container import check_keys
from .kinds import KINDS, Entry, Tensors, kind_of
from .weighted import numbers

FORMAT = "xnorcore"
VERSION = 2
HOSTED = 3
"""Version of networks with real layers, which older programs must not take for others."""
VERSIONS = (1, 2, HOSTED)
"""Versions that are read: in version 1 every layer reads what the one before it gives."""


def describe(network: Network) -> tuple[Entry, Tensors]:
    """Return the description, without its checksum, and the tensors by name."""
    layers: list[Entry] = []
    tensors: Tensors = {}
    for index, (layer, reads) in enumerate(zip(network.layers, network.reads, strict=True)):
        kind = kind_of(layer)
        entry, arrays = KINDS[kind].describe(layer)
        layers.append({"type": kind, "name": layer.name, **entry, "reads": list(reads)})
        tensors |= {f"layers.{index}.{key}": array for key, array in arrays.items()}
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
    if network.head is not None or network.tail is not None:
        from . import real  # most networks have none

        description["version"] = HOSTED
        for end, part in (("head", network.head), ("tail", network.tail)):
            description[end], arrays = ({}, {}) if part is None else real.describe(part)
            tensors |= arrays
    return description, tensors


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
    weights = thresholds = 0
    for index, layer in enumerate(layers):
        where = f"layer {index}"
        name = layer.get("type") if isinstance(layer, dict) else None
        if not isinstance(name, str) or name not in KINDS:
            raise FileFormatError(f"{where}: type {brief(name)} is unknown; update xnorcore")
        graph = {"reads": list} if description["version"] > 1 else {}
        if name in ("concat", "add") and not graph:
            raise FileFormatError(f"{where}: {name} needs version 2 of the format, the file has version 1")
        check_keys(where, layer, {"type": str, "name": str, **KINDS[name].keys, **graph})
        _check_reads(where, index, layer.get("reads", [index]))
        for key, dtype, shape in KINDS[name].expected(where, layer):
            expected[f"layers.{index}.{key}"] = dtype, shape
        weights, thresholds = (a + b for a, b in zip((weights, thresholds), numbers(layer), strict=True))
        if weights > MAX_WEIGHT_BITS:
            raise FileFormatError(f"{where}: {weights} weight bits so far, the limit is {MAX_WEIGHT_BITS}")
        if thresholds > MAX_THRESHOLDS:
            raise FileFormatError(f"{where}: {thresholds} thresholds so far, the limit is {MAX_THRESHOLDS}")
    for key in ("scale", "offset"):
        if description[key]:
            # One value for each output; how many there are is known when the layers are chained.
            expected[key] = ("F64", None)
    if description["version"] == HOSTED:
        from . import real

        for end in filter(description.get, real.ENDS):
            expected |= real.expected(end, description[end])
    return expected


def build(description: dict[str, Any], tensors: Tensors) -> Network:
    """Make the network of a description that `expected_tensors` has passed, and of those tensors.

    Raises
    ------
    FileFormatError
        If an unused weight bit is not 0.
    NetworkError
        If the network is not legal.
    """
    layers: list[Layer] = []
    reads: list[list[int]] = []
    for index, entry in enumerate(description["layers"]):
        prefix = f"layers.{index}."
        mine = {key.removeprefix(prefix): one for key, one in tensors.items() if key.startswith(prefix)}
        layers.append(KINDS[entry["type"]].build(f"layer {index}", entry, mine))
        reads.append(entry.get("reads", [index]))
    spec = check_keys("input", description["input"], {"shape": list, "bits": int})
    ends: dict[str, Any] = {}
    if description["version"] == HOSTED:
        from . import real

        ends = {end: real.build(end, description[end], tensors) for end in real.ENDS if description[end]}
    return Network(
        description["name"], InputSpec(tuple(spec["shape"]), spec["bits"]), layers, description["classes"],
        tensors.get("scale"), tensors.get("offset"), description["metadata"], reads, **ends,
    )  # fmt: skip


def _check_reads(where: str, index: int, reads: list[Any]) -> None:
    if not 1 <= len(reads) <= MOST_JOINED or not all(type(n) is int and 0 <= n <= index for n in reads):
        raise FileFormatError(
            f"{where}: reads {brief(reads)}, but must read 1 to {MOST_JOINED} values from 0 to {index}"
        )
