"""From a BNN-PYNQ folder to the integer network, layer by layer, with what the report says of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...model import pixels
from ...model.layers import Conv2d, Dense, InputSpec, Layer
from ...model.network import Network
from ...model.spatial import MaxPool2d
from ..outcome import LayerReport
from .files import Folder, RawLayer
from .topology import (
    CNV_CHANNELS,
    CNV_POOLED,
    CNV_SIDE,
    LFC_INPUTS,
    LFC_PIXELS,
    LFC_SIDE,
    Shape,
    Topology,
    matrix,
    neuron_thresholds,
)

SIGN_ZERO = "-1 ({} > T, strict)"
LFC_PIXEL = 128
"""pixel / 255 * 2 - 1 >= 0 from this pixel on."""
OFFSET = 128
"""CNV's inputs are q = -128 to 127; the network's are q + 128."""


@dataclass(frozen=True)
class Built:
    """One layer of the network, and how to test it alone.

    Attributes
    ----------
    layer : Layer
    raw : RawLayer
    shape : Shape
    facts : LayerReport
    """

    layer: Dense | Conv2d
    raw: RawLayer
    shape: Shape
    facts: LayerReport


def quantised() -> np.ndarray:
    """Return q + 128 of every pixel: q = (2 x - 255) * 128 / 255, rounded, at most 127; there are no ties."""
    pixel = np.arange(256)
    return np.minimum(((2 * pixel - 255) * 256 + 255) // 510, 127) + OFFSET


def layers(folder: Folder, topology: Topology) -> list[Built]:
    """Return the layers with weights, in order."""
    last = len(topology.shapes) - 1
    built = []
    for index, (raw, shape) in enumerate(zip(folder.layers, topology.shapes, strict=True)):
        weights = matrix(raw, shape)
        thresholds = None if raw.thresholds is None else neuron_thresholds(raw, shape)
        folded: list[str] = []
        if index == last and topology.classes < shape.neurons:
            folded.append(f"{shape.neurons - topology.classes} neurons of padding left out")
            weights = weights[: topology.classes]
            thresholds = None if thresholds is None else thresholds[: topology.classes]
        padding = weights[:, LFC_PIXELS:] if index == 0 and shape.inputs == LFC_INPUTS else weights[:, :0]
        weights = weights[:, : shape.inputs - padding.shape[1]]
        if padding.size:
            folded.append(f"{padding.shape[1]} inputs of padding, always 0")
        if thresholds is not None:
            thresholds, how = _folded(shape, weights, padding, thresholds)
            folded += how
        elif shape.reads == "codes":
            folded.append("offset of the input, -1, into the scores")
        name = f"{'conv' if shape.conv else 'dense'}{index}"
        layer: Dense | Conv2d = Dense(weights, thresholds, name)
        if shape.conv:
            layer = Conv2d(weights.reshape(len(weights), 3, 3, -1), thresholds, name=name)
        built.append(Built(layer, raw, shape, _facts(index, layer, raw, shape, tuple(folded))))
    return built


def _folded(
    shape: Shape, weights: NDArray[np.int8], padding: NDArray[np.int8], thresholds: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return what sums of the network's own inputs are compared with, and how that is said."""
    total = weights.sum(axis=1, dtype=np.int64)[:, None]
    if shape.reads == "pixels":
        # 2 sum(w q) > T, and q + 128 is what the network reads.
        found, said = thresholds // 2 + 1 + OFFSET * total, f"offset of the input, {OFFSET}"
    elif shape.reads == "codes":
        # The network reads 0, 1 and 2.
        found, said = thresholds + 1 + total, "offset of the input, -1; sum > T as sum >= T + 1"
    elif shape.reads == "signs":
        # Inputs of padding are 0 bits, that is, -1.
        found = thresholds + 1 + padding.sum(axis=1, dtype=np.int64)[:, None]
        said = "sum > T as sum >= T + 1"
    else:
        # Inputs of padding are 0 bits: each matches a weight of -1, and no other.
        rest = thresholds - (padding < 0).sum(axis=1)[:, None]
        found, said = 2 * (rest + 1) - weights.shape[1], "popcount > T as sum >= 2 (T + 1) - inputs"
    return found[:, 0] if shape.thresholds == 1 else found, [said]


def _facts(
    index: int, layer: Dense | Conv2d, raw: RawLayer, shape: Shape, folded: tuple[str, ...]
) -> LayerReport:
    rows = layer.weights.reshape(layer.outputs, -1).astype(np.int64)
    plus, minus = rows.clip(min=0).sum(axis=1), (-rows).clip(min=0).sum(axis=1)
    largest = {"pixels": 2 * OFFSET - 1, "codes": 2}.get(shape.reads)
    bound = int((plus + minus).max() if largest is None else largest * np.maximum(plus, minus).max())
    counted = "popcount" if shape.reads == "bits" else "sum"
    reads = {"pixels": 8, "codes": 2}.get(shape.reads, 1)
    kinds = ("weights", "thres") if raw.thresholds is not None else ("weights",)
    return LayerReport(
        name=layer.name,
        kind=type(layer).__name__.lower(),
        source_nodes=tuple(f"{index}-{_numbers(raw.pe)}-{kind}.bin" for kind in kinds),
        shape=layer.weights.shape,
        sign_zero="none" if layer.thresholds is None else SIGN_ZERO.format(counted),
        negative_gamma=0,
        pool_order=None,
        padding=None,
        folded=folded,
        accumulator_bound=bound,
        memory_bits=layer.weight_bits + 32 * shape.thresholds * layer.outputs,
        bits=(layer.weight_width, reads, shape.thresholds),
    )


def _numbers(count: int) -> str:
    """Files of a layer as a shell writes them."""
    return f"{{0..{count - 1}}}" if count > 1 else "0"


def network(
    name: str, folder: Folder, topology: Topology, built: list[Built]
) -> tuple[Network, list[LayerReport]]:
    """Chain the layers, with CNV's pooling."""
    chain: list[Layer] = []
    facts: list[LayerReport] = []
    for index, each in enumerate(built):
        chain.append(each.layer)
        facts.append(each.facts)
        if topology.kind == "CNV" and index in CNV_POOLED:
            pool = MaxPool2d((2, 2), name=f"pool{index}")
            chain.append(pool)
            facts.append(
                LayerReport(
                    pool.name, "maxpool2d", (), pool.window, "none", 0, "after sign", None, (), 0, 0
                )
            )  # fmt: skip
    metadata: dict[str, object] = {"imported": {"format": "bnn-pynq", "topology": topology.kind}}
    if topology.kind == "CNV":
        spec = InputSpec((CNV_SIDE, CNV_SIDE, CNV_CHANNELS), 8)
        metadata[pixels.KEY] = pixels.table(quantised())
    else:
        spec = InputSpec((LFC_SIDE, LFC_SIDE, 1), 1)
        metadata[pixels.KEY] = pixels.threshold(LFC_PIXEL)
    if folder.classes is not None:
        metadata["classes"] = list(folder.classes)
    offset = None
    last = built[-1]
    if last.layer.thresholds is None and last.shape.reads == "codes":
        # The network reads 0, 1 and 2 for -1, 0 and 1.
        offset = -last.layer.weights.sum(axis=1, dtype=np.float64)
    return Network(name, spec, chain, topology.classes, offset=offset, metadata=metadata), facts
