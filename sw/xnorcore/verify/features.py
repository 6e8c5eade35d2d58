"""Names what a random network exercises, so that a run can show that nothing was left out."""

from __future__ import annotations

from collections.abc import Iterator

from ..compiler.compile import compile_network
from ..folding.fold import ALWAYS, NEVER
from ..model.layers import Conv2d, Dense, GlobalSum, MaxPool2d
from ..model.network import Network
from .case import Case

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
    if program.later:
        found.add("passes")
    if len(case.images) > program.batch:
        found.add("several batches")
    config = case.config
    for name, wanted in (("counters", 0), ("convolution", 0), ("program_halves", 1)):
        if getattr(config, name) == wanted:
            found.add(f"device with {name}={wanted}")
    if config.threshold_share > 1:
        found.add("device with threshold_share > 1")
    if config.groups > 1:
        found.add("device with several column groups")
    return found


def _layers(network: Network) -> Iterator[str]:
    last = network.layers[-1]
    yield f"ends in {type(last).__name__.lower()} {'bits' if last.result == 'bits' else 'scores'}"
    for index, layer in enumerate(network.layers):
        where = "image" if index == 0 else "map"
        if isinstance(layer, Conv2d):
            yield f"convolution of an {where}" if index == 0 else f"convolution of a {where}"
            if layer.kernel == (1, 1):
                yield "kernel 1x1"
            if max(layer.kernel) > 3:
                yield "kernel above 3"
            if layer.stride != (1, 1):
                yield "stride above 1"
            if any(layer.padding):
                kind = "pixels" if index == 0 and network.input.bits > 1 else where
                yield (
                    f"padding {kind} with {layer.pad_value:+d}"
                    if layer.pad_value
                    else f"padding {kind} with 0"
                )
            if len(set(layer.padding)) > 1:
                yield "uneven padding"
        elif isinstance(layer, MaxPool2d):
            yield "pooling that overlaps" if layer.stride < layer.window else "pooling"
            if any(layer.padding):
                yield "pooling with padding"
            if max(layer.window) > 3:
                yield "pooling above 3"
        elif isinstance(layer, GlobalSum):
            yield "global sum"
        elif isinstance(layer, Dense):
            before = network.shapes[index]
            yield "dense layer of a map" if len(before) == 3 and index else "dense layer"
        limits = getattr(layer, "thresholds", None)
        if limits is not None and ((limits == ALWAYS) | (limits == NEVER)).any():
            yield "constant channels"
