"""From a BNN-PYNQ folder to the integer network, layer by layer, with what the report says of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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

SIGN_ZERO = "-1 (popcount > T, strict)"
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
        thresholds = None if raw.thresholds is None else neuron_thresholds(raw)
        folded: list[str] = []
        if index == last and topology.classes < shape.neurons:
            folded.append(f"{shape.neurons - topology.classes} neurons of padding left out")
            weights = weights[: topology.classes]
            thresholds = None if thresholds is None else thresholds[: topology.classes]
        bits, taps = 1, shape.inputs
        if thresholds is not None and index == 0 and topology.kind == "CNV":
            # 2 sum(w q) > T, and q + 128 is what the network reads.
            bits = 8
            thresholds = thresholds // 2 + 1 + OFFSET * weights.sum(axis=1, dtype=np.int64)
            folded.append(f"offset of the input, {OFFSET}")
        elif thresholds is not None:
            if index == 0 and taps == LFC_INPUTS:
                # Inputs of padding are 0 bits: each matches a weight of -1, and no other.
                thresholds = thresholds - (weights[:, LFC_PIXELS:] < 0).sum(axis=1)
                weights, taps = weights[:, :LFC_PIXELS], LFC_PIXELS
                folded.append(f"{LFC_INPUTS - LFC_PIXELS} inputs of padding, always 0")
            thresholds = 2 * (thresholds + 1) - taps
            folded.append("popcount > T as sum >= 2 (T + 1) - inputs")
        name = f"{'conv' if shape.conv else 'dense'}{index}"
        layer: Dense | Conv2d = Dense(weights, thresholds, name)
        if shape.conv:
            layer = Conv2d(weights.reshape(len(weights), 3, 3, -1), thresholds, name=name)
        built.append(Built(layer, raw, shape, _facts(index, layer, raw, bits, tuple(folded))))
    return built


def _facts(
    index: int, layer: Dense | Conv2d, raw: RawLayer, bits: int, folded: tuple[str, ...]
) -> LayerReport:
    plus = (layer.weights > 0).reshape(layer.outputs, -1).sum(axis=1)
    taps = layer.weights.size // layer.outputs
    bound = taps if bits == 1 else ((1 << bits) - 1) * int(np.maximum(plus, taps - plus).max())
    kinds = ("weights", "thres") if raw.thresholds is not None else ("weights",)
    return LayerReport(
        name=layer.name,
        kind=type(layer).__name__.lower(),
        source_nodes=tuple(f"{index}-{_numbers(raw.pe)}-{kind}.bin" for kind in kinds),
        shape=layer.weights.shape,
        sign_zero="none" if layer.thresholds is None else SIGN_ZERO,
        negative_gamma=0,
        pool_order=None,
        padding=None,
        folded=folded,
        accumulator_bound=bound,
        memory_bits=layer.weight_bits + (0 if layer.thresholds is None else 32 * layer.outputs),
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
    return Network(name, spec, chain, topology.classes, metadata=metadata), facts
