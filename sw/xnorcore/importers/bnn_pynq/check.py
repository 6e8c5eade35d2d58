"""The check at the end of an import: the network against `execute`, as a whole and layer by layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...model.layers import Conv2d, InputSpec
from ...model.network import Network
from ...reference import fast, golden
from ..outcome import CheckReport
from . import execute
from .build import OFFSET, Built
from .files import Folder
from .topology import Shape, Topology, neuron_thresholds

EXECUTOR = "the folder's own words: {} > T (NumPy)"
_CHANNELS = 128
"""Most channels of a layer whose thresholds are approached from both sides."""
_IMAGES = {"LFC": (126, 16), "CNV": (6, 2)}
"""Random images of the whole network; how many of them the golden model computes, too."""


def run(folder: Folder, topology: Topology, network: Network, built: list[Built]) -> CheckReport:
    """Compare the network with the folder.

    Random and extreme images go through the whole network, on `fast` and some on `golden`. Then each layer
    alone gets inputs for which what a channel counts is exactly a threshold, and one more.
    """
    rng = np.random.default_rng(0)
    random, slow = _IMAGES[topology.kind]
    spec = network.input
    images = rng.integers(0, spec.maximum + 1, (random, spec.size)).astype(np.uint8)
    extremes = np.stack([np.zeros(spec.size, np.uint8), np.full(spec.size, spec.maximum, np.uint8)])
    images = np.concatenate([extremes, images])
    expected = execute.run(folder, topology, images.reshape(len(images), *_form(network)))
    taps = built[-1].layer.weights.shape[1]
    found = fast.run(network, images).astype(np.int64)
    exact = golden.run(network, images[:slow]).astype(np.int64)
    counted = "popcount" if topology.precision == "W1A1" else "sum"
    if network.offset is not None:
        offset = network.offset.astype(np.int64)
        found, exact = found + offset, exact + offset
    elif network.output_kind == "scores":
        # A sum has the parity of its taps, so that nothing is lost here.
        found, exact = (found + taps) // 2, (exact + taps) // 2
    wrong = (found != expected).any(axis=1)
    wrong[:slow] |= (exact != expected[:slow]).any(axis=1)
    details = [f"image {int(np.flatnonzero(wrong)[0])}"] if wrong.any() else []
    inputs, chosen, mismatches = len(images), len(extremes), int(wrong.sum())
    for each in built:
        if each.layer.thresholds is None:
            continue
        values = boundary(each, rng)
        bad = _alone(each, values)
        if bad.any():
            details.append(f"layer {each.layer.name}, channel {int(np.flatnonzero(bad.any(axis=0))[0])}")
        inputs, chosen = inputs + len(values), chosen + len(values)
        mismatches += int(bad.any(axis=1).sum())
    what = "output bits" if topology.kind == "LFC" else f"{counted}s"
    detail = f"{what} of whole images; each layer at the thresholds of up to {_CHANNELS} channels"
    if details:
        detail = f"first difference: {details[0]}"
    return CheckReport(EXECUTOR.format(counted), inputs, chosen, mismatches, detail)


def _form(network: Network) -> tuple[int, ...]:
    """Shape in which `execute.run` wants an image."""
    return network.input.shape if isinstance(network.layers[0], Conv2d) else (network.input.size,)


def boundary(built: Built, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return inputs of one layer, shape (n, taps), at those thresholds of its channels that can be reached.

    The first half does not pass the threshold it is made for, the second half does.
    """
    weights, shape = built.layer.weights, built.shape
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    thresholds = neuron_thresholds(built.raw, shape)
    padding = _padding(built)
    step = 2 if shape.reads == "pixels" else 1
    sides: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] = ([], [])
    for channel in np.unique(np.linspace(0, len(rows) - 1, _CHANNELS).astype(int)):
        for threshold in map(int, thresholds[channel]):
            for passes, side in enumerate(sides):
                # Sums of signs have one parity: the next but one is tried as well.
                for away in (0, 1):
                    counted = threshold + step + away if passes else threshold - away
                    values = _reach(rows[channel], _sum(built, counted, int(padding[channel])), shape, rng)
                    if values is not None:
                        side.append(values)
                        break
    return np.array([*sides[0], *sides[1]], np.uint8).reshape(-1, rows.shape[1])


def _sum(built: Built, counted: int, padding: int) -> int:
    """Return the sum of weights times inputs, padding left out, for which so much is counted."""
    if built.shape.reads == "pixels":
        return counted // 2
    if built.shape.reads == "bits":
        return 2 * (counted - padding) - built.layer.weights[0].size
    return counted - padding


def _padding(built: Built) -> NDArray[np.int64]:
    """What inputs of padding add to what each channel counts, whatever the image."""
    weights, shape = built.layer.weights, built.shape
    if isinstance(built.layer, Conv2d) or shape.inputs == weights.shape[1]:
        return np.zeros(len(weights), np.int64)
    zeros = np.zeros((1, weights.shape[1]), np.uint8)
    total = execute.counts(built.raw, shape, execute.pad(zeros, shape))[0, : len(weights)]
    own = (weights < 0).sum(axis=1) if shape.reads == "bits" else -weights.sum(axis=1, dtype=np.int64)
    return total - own


def _reach(
    row: NDArray[np.int64], total: int, shape: Shape, rng: np.random.Generator
) -> NDArray[np.uint8] | None:
    """Return inputs of a layer with so large a sum of weights times values, or None: random ones, changed."""
    low, high, step = {"pixels": (-128, 127, 1), "codes": (-1, 1, 1)}.get(shape.reads, (-1, 1, 2))
    values = low + step * rng.integers(0, (high - low) // step + 1, len(row))
    left = total - int(row @ values)
    for tap in rng.permutation(np.flatnonzero(row)):
        if not left:
            break
        weight = int(row[tap])
        change = abs(left) // (abs(weight) * step) * step
        changed = min(max(int(values[tap]) + (change if left * weight > 0 else -change), low), high)
        left -= weight * (changed - int(values[tap]))
        values[tap] = changed
    if left:
        return None
    return ((values - low) // step).astype(np.uint8)


def _alone(built: Built, values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Say where a layer alone and the folder differ: bool, shape (n, channels)."""
    layer, raw, shape = built.layer, built.raw, built.shape
    if not len(values):
        return np.zeros((0, layer.outputs), bool)
    bits = {"pixels": 8, "codes": 2}.get(shape.reads, 1)
    spec = InputSpec((3, 3, layer.inputs) if isinstance(layer, Conv2d) else (layer.inputs,), bits)
    found = fast.run(Network("layer", spec, [layer]), values)
    if shape.reads == "pixels":
        counted = execute.products(raw, shape, values.astype(np.int64) - OFFSET)
    else:
        counted = execute.counts(raw, shape, execute.pad(values, shape))
    return found != execute.fires(raw, shape, counted)[:, : layer.outputs]
