"""Names what a random network exercises, so that a run can show that nothing was left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..compiler.compile import compile_network
from ..compiler.group import fitted
from ..folding.fold import ALWAYS, NEVER
from ..isa.codes import MAX_COMPARED_BITS
from ..isa.stores import FLASHES, StoreKind
from ..model.layers import Add, Concat, Conv2d, Dense, GlobalSum, InputScale, MaxPool2d, has_weights
from ..model.network import Network
from .case import Case, starts_with

__all__ = ["features"]


def features(case: Case) -> set[str]:
    """Return the features of a case, in words."""
    program = compile_network(case.network, case.config, case.at_once)
    found = {f"input of {case.network.input.bits} bits", f"link {case.link}"}
    found |= set(_layers(case.network))
    if case.network.scale is not None:
        found.add("affine of the scores")
    found.add("rows share an image" if program.spread else "an image per row")
    if any(one.strips for section in program.sections for one in section.descriptors):
        found.add("strips")
    if any(one.row_sum for section in program.sections for one in section.descriptors):
        found.add("sums of the rows")
    if any(one.four for section in program.sections for one in section.descriptors):
        found.add("signs that count four times")
    if any(one.rescaled for section in program.sections for one in section.descriptors):
        found.add("codes of the results unit")
    if any(one.scaling for section in program.sections for one in section.descriptors):
        found.add("sums times K")
    changes = [one.adding for section in program.sections for one in section.descriptors if one.adding]
    if any(one.adds for one in changes):
        found.add("codes added in place")
    if any(one.halves for one in changes):
        found.add("values that are halved")
    if any(plan.name.startswith("copy of ") for plan in program.layers):
        found.add("copied maps")
    if any(plan.name.endswith(" again") for plan in program.layers):
        found.add("vectors computed again")
    if program.streams:
        found.add(f"weights from a store: {StoreKind(case.config.store_kind).memory}")
    if program.later:
        found.add("passes")
    if starts_with(case, program):
        found.add(f"kept in flash: {'the store' if case.config.store_kind in FLASHES else 'beside'}")
    at_once = fitted(program, len(case.images))
    if at_once.per_row > 1:
        found.add("several images per row, in rounds" if at_once.turns else "several images per row")
    if len(case.images) > at_once.batch:
        found.add("several batches")
    config = case.config
    named = {"counters": 0, "convolution": 0, "program_halves": 1, "whole_windows": 1, "act_ports": 1}
    named |= {"row_sums": 1, "packed_rows": 1}
    for name, wanted in named.items():
        if getattr(config, name) == wanted:
            found.add(f"device with {name}={wanted}")
    descriptors = [one for section in program.sections for one in section.descriptors]
    found |= {f"kernel rows of words: {one.packed}" for one in descriptors if one.packed}
    if any(one.kinds > 1 for one in descriptors):
        found.add("weights for the edges of rows")
    if any(one.adding and one.adding.short for one in descriptors):
        found.add("values of few channels")
    if config.code_bits > 1:
        found.add(f"device with code_bits{_bits(config.code_bits)}")
    if config.result_lanes:
        found.add("device with a results unit")
    if config.value_depth:
        found.add("device with values")
    if config.scale_depth:
        found.add("device with a memory for K")
    if config.threshold_share > 1:
        found.add("device with threshold_share > 1")
    if config.column_align > 1:
        found.add("device with column_align > 1")
    if config.groups > 1:
        found.add("device with several column groups")
    return found


def _layers(network: Network) -> Iterator[str]:
    last = network.layers[-1]
    yield f"ends in {type(last).__name__.lower()} {network.output_kind}"
    for index, layer in enumerate(network.layers):
        yield from FEATURES[type(layer)](network, index, layer)
        limits = getattr(layer, "thresholds", None)
        if limits is not None and ((limits == ALWAYS) | (limits == NEVER)).any():
            yield "constant channels"
        if has_weights(layer) and layer.weight_width > 1:
            yield "weights of several bits, odd" if (layer.weights & 1).all() else "weights of several bits"
    for value, layer in zip(network.values[1:], network.layers, strict=True):
        if value.coding == "unsigned" and has_weights(layer):
            few = value.bits <= MAX_COMPARED_BITS
            yield f"codes of {value.bits} bits" if few else f"codes of more than {MAX_COMPARED_BITS} bits"
    if any(len(readers) > 1 for readers in network.readers[1:]):
        yield "branches"
    if len(network.readers[0]) > 1:
        yield "branches of the image"


def _bits(count: int) -> str:
    return f"={count}" if count <= MAX_COMPARED_BITS else f" > {MAX_COMPARED_BITS}"


def _conv(network: Network, index: int, layer: Any) -> Iterator[str]:
    read = network.inputs(index)[0]
    image = network.reads[index] == (0,)
    where = "image" if image else "map"
    yield "convolution of an image" if image else "convolution of a map"
    if layer.kernel == (1, 1):
        yield "kernel 1x1"
    if max(layer.kernel) > 3:
        yield "kernel above 3"
    if layer.stride != (1, 1):
        yield "stride above 1"
    if any(layer.padding):
        kind = where
        if read.coding == "unsigned":
            kind = "pixels" if image else "codes"
        with_what = f"{layer.pad_value:+d}" if layer.pad_value else "0"
        if kind == "codes" and layer.pad_value:
            with_what = "a code"
        yield f"padding {kind} with {with_what}"
    if len(set(layer.padding)) > 1:
        yield "uneven padding"


def _pool(network: Network, index: int, layer: Any) -> Iterator[str]:
    yield "pooling that overlaps" if layer.stride < layer.window else "pooling"
    if network.values[index + 1].coding == "unsigned":
        yield "pooling of codes"
    if any(layer.padding):
        yield "pooling with padding"
    if max(layer.window) > 3:
        yield "pooling above 3"


def _dense(network: Network, index: int, layer: Any) -> Iterator[str]:
    map_read = network.reads[index] != (0,) and len(network.inputs(index)[0].shape) == 3
    yield "dense layer of a map" if map_read else "dense layer"


def _concat(network: Network, index: int, layer: Any) -> Iterator[str]:
    yield f"concatenation of {'maps' if len(network.shapes[index + 1]) == 3 else 'vectors'}"
    if network.values[index + 1].coding == "unsigned":
        yield "concatenation of codes"
    if any(len(network.readers[number]) > 1 for number in network.reads[index]):
        yield "concatenation of what others read"


def _add(network: Network, index: int, layer: Any) -> Iterator[str]:
    yield f"addition of {'maps' if len(network.shapes[index + 1]) == 3 else 'vectors'}"
    if any(len(network.readers[number]) > 1 for number in network.reads[index]):
        yield "addition of what others read"
    if len(set(network.reads[index])) < len(network.reads[index]):
        yield "addition that counts a value several times"
    if layer.most is not None:
        yield "addition that saturates"


def _sum(network: Network, index: int, layer: Any) -> Iterator[str]:
    yield "global sum"
    if network.inputs(index)[0].coding == "unsigned":
        yield "global sum of codes"


FEATURES: dict[type, Callable[[Network, int, Any], Iterator[str]]] = {
    Dense: _dense, Conv2d: _conv, MaxPool2d: _pool, Concat: _concat,
    GlobalSum: _sum, Add: _add,
    InputScale: lambda network, index, layer: iter(["input scale"]),
}  # fmt: skip
"""By kind of layer: what it exercises."""
