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
from .topology import Topology

EXECUTOR = "the folder's own words: popcount > T (NumPy)"
_CHANNELS = 128
"""Most channels of a layer whose thresholds are approached from both sides."""
_IMAGES = {"LFC": (126, 16), "CNV": (6, 2)}
"""Random images of the whole network; how many of them the golden model computes, too."""


def run(folder: Folder, topology: Topology, network: Network, built: list[Built]) -> CheckReport:
    """Compare the network with the folder.

    Random and extreme images go through the whole network, on `fast` and some on `golden`. Then each layer
    alone gets inputs for which a channel's popcount is exactly its threshold, and one more.
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
    if network.output_kind == "scores":
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
    what = "output bits" if topology.kind == "LFC" else "popcounts"
    detail = f"{what} of whole images; each layer at the thresholds of up to {_CHANNELS} channels"
    if details:
        detail = f"first difference: {details[0]}"
    return CheckReport(EXECUTOR, inputs, chosen, mismatches, detail)


def _form(network: Network) -> tuple[int, ...]:
    """Shape in which `execute.run` wants an image."""
    return network.input.shape if isinstance(network.layers[0], Conv2d) else (network.input.size,)


def boundary(built: Built, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return inputs of one layer, shape (n, taps), at those thresholds of its channels that can be reached.

    The first half gives 0 in the channel it is made for, the second half 1.
    """
    weights, thresholds = built.layer.weights, built.raw.thresholds
    assert thresholds is not None
    rows = weights.reshape(len(weights), -1) > 0
    channels = np.unique(np.linspace(0, len(rows) - 1, _CHANNELS).astype(int))
    padding = _padding(built)
    sides: tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]] = ([], [])
    for channel in channels:
        threshold = int(thresholds[channel % built.raw.pe, channel // built.raw.pe])
        for side, more in zip(sides, (0, 1), strict=True):
            if isinstance(built.layer, Conv2d) and built.layer.inputs == 3:
                values = _reach_sum(rows[channel], threshold // 2 + more)
            else:
                values = _reach_count(rows[channel], threshold + more - int(padding[channel]), rng)
            if values is not None:
                side.append(values)
    return np.array([*sides[0], *sides[1]], np.uint8).reshape(-1, rows.shape[1])


def _padding(built: Built) -> NDArray[np.int64]:
    """Matches that each channel has in inputs of padding, whatever the image."""
    weights, shape = built.layer.weights, built.shape
    if isinstance(built.layer, Conv2d) or shape.inputs == weights.shape[1]:
        return np.zeros(len(weights), np.int64)
    zeros = np.zeros((1, weights.shape[1]), np.uint8)
    total = execute.counts(built.raw, shape, execute.pad(zeros, shape))[0, : len(weights)]
    return total - (weights < 0).sum(axis=1)


def _reach_count(row: NDArray[np.bool_], matches: int, rng: np.random.Generator) -> NDArray[np.uint8] | None:
    """Bits that equal `row` in so many places."""
    if not 0 <= matches <= len(row):
        return None
    bits = (~row).astype(np.uint8)
    places = rng.permutation(len(row))[:matches]
    bits[places] ^= 1
    return bits


def _reach_sum(row: NDArray[np.bool_], total: int) -> NDArray[np.uint8] | None:
    """Values q + 128 with so large a sum of +q and -q; every tap gives -127 to 127."""
    left = total + 127 * len(row)
    if not 0 <= left <= 254 * len(row):
        return None
    terms = np.clip(left - 254 * np.arange(len(row)), 0, 254) - 127
    return (np.where(row, terms, -terms) + OFFSET).astype(np.uint8)


def _alone(built: Built, values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Say where a layer alone and the folder differ: bool, shape (n, channels)."""
    layer, raw, shape = built.layer, built.raw, built.shape
    if not len(values):
        return np.zeros((0, layer.outputs), bool)
    first = isinstance(layer, Conv2d) and layer.inputs == 3
    spec = InputSpec(
        (3, 3, layer.inputs) if isinstance(layer, Conv2d) else (layer.inputs,), 8 if first else 1
    )
    found = fast.run(Network("layer", spec, [layer]), values)
    if first:
        counted = execute.products(raw, shape, values.astype(np.int64) - OFFSET)
    else:
        counted = execute.counts(raw, shape, execute.pad(values, shape))
    return found != execute.fires(raw, counted)[:, : layer.outputs]
