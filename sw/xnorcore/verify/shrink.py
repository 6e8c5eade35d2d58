"""Makes a failing case smaller while it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import XnorcoreError
from ..model.layers import (
    Conv2d,
    Dense,
    GlobalSum,
    InputSpec,
    Layer,
    MaxPool2d,
    Weighted,
)
from ..model.narrower import fitted
from ..model.network import Network
from ..reference import golden
from .case import Case

__all__ = ["shrink"]

CHECKS = 400
"""Most runs that a case is given."""


def shrink(
    case: Case, fails: Callable[[Case], str | None], progress: Callable[[int, int], None] | None = None
) -> tuple[Case, str]:
    """Return the smallest failing case that was found, and how it fails.

    Every simplification that still fails is kept: fewer images, layers, channels, rows and columns; no
    padding, strides or pooling; fewer input bits; thresholds of 0. It need not fail in the same way.

    Parameters
    ----------
    case : Case
        One that fails.
    fails : callable
        Returns how a case fails, or None; as `xnorcore.verify.case.check`.
    progress : callable, optional
        Called with (runs done, most runs).
    """
    reason = fails(case) or ""
    runs, smaller = 0, True
    while smaller and runs < CHECKS:
        smaller = False
        for candidate in _candidates(case):
            if runs == CHECKS:
                break
            runs += 1
            if progress:
                progress(runs, CHECKS)
            found = fails(candidate)
            if found:
                case, reason, smaller = candidate, found, True
                break
    return case, reason


def _candidates(case: Case) -> Iterator[Case]:
    """Yield simpler cases, the most drastic first; those that are not legal are left out."""
    network, images = case.network, case.images
    if len(images) > 1:
        half = len(images) // 2
        yield replace(case, images=images[:half])
        yield replace(case, images=images[half:])
    if case.at_once is not None:
        yield replace(case, at_once=None)
    if case.link != "direct":
        yield replace(case, link="direct")
    if network.scale is not None or network.offset is not None or network.class_count != network.outputs:
        yield replace(case, network=replace(network, classes=None, scale=None, offset=None))
    yield from _ends(case)
    for layers, reads, spec in _graphs(network):
        built = _build(case, layers, reads, spec)
        if built:
            yield built


def _ends(case: Case) -> Iterator[Case]:
    """Leave out layers at either end."""
    network = case.network
    count = len(network.layers)
    for keep in range(count - 1):
        part = None
        with suppress(XnorcoreError):
            part = network.up_to(keep, network.layers[keep])
        if part is not None:
            yield replace(case, network=part)
    results = golden.layers(network, case.images)
    for first in range(count - 1, 0, -1):
        reads = network.reads[first:]
        if network.values[first].coding == "sign" and all(n >= first for one in reads for n in one):
            spec = InputSpec(network.shapes[first])
            behind = [[number - first for number in one] for one in reads]
            built = _build(case, network.layers[first:], behind, spec, results[first - 1])
            if built:
                yield built


def _build(
    case: Case,
    layers: Sequence[Layer],
    reads: Sequence[Sequence[int]],
    spec: InputSpec,
    images: np.ndarray | None = None,
) -> Case | None:
    """Return the case with other layers, cut to fit each other; None if that is no legal network."""
    try:
        kept, numbers = _needed(layers, reads)
        network = Network(case.network.name, spec, fitted(kept, numbers, spec.shape), reads=numbers)
    except (XnorcoreError, IndexError, ValueError):
        return None
    if images is None:
        old = case.network.input
        images = case.images >> max(old.bits - spec.bits, 0)
        if spec.shape != old.shape:
            images = images[(slice(None), *(slice(size) for size in spec.shape))]
    return replace(case, network=network, images=images.reshape(-1, *spec.shape).astype(np.uint8))


def _needed(layers: Sequence[Layer], reads: Sequence[Sequence[int]]) -> tuple[list[Layer], list[list[int]]]:
    """Leave out the layers that the last one does not need."""
    needed = {len(layers)}
    for number in range(len(layers), 0, -1):
        if number in needed:
            needed |= set(reads[number - 1])
    kept = sorted(needed - {0})
    numbers = {0: 0} | {old: new for new, old in enumerate(kept, 1)}
    return [layers[n - 1] for n in kept], [[numbers[read] for read in reads[n - 1]] for n in kept]


def _conv(layer: Conv2d, **changes: object) -> Conv2d:
    values = {
        "weights": layer.weights, "thresholds": layer.thresholds, "stride": layer.stride,
        "padding": layer.padding, "pad_value": layer.pad_value, "name": layer.name, **changes,
    }  # fmt: skip
    return Conv2d(**values)  # pyright: ignore[reportArgumentType]


def _graphs(network: Network) -> Iterator[tuple[list[Layer], list[list[int]], InputSpec]]:
    """Yield the layers with one of them, what it reads, or the image, simpler."""
    spec, layers, reads = network.input, list(network.layers), [list(one) for one in network.reads]
    for axis, size in enumerate(spec.shape):
        for smaller in dict.fromkeys((size // 2, size - 1)):
            if smaller:
                smaller_shape = (*spec.shape[:axis], smaller, *spec.shape[axis + 1 :])
                yield layers, reads, InputSpec(smaller_shape, spec.bits)
    for bits in dict.fromkeys((1, spec.bits - 1)):
        if 0 < bits < spec.bits:
            yield layers, reads, InputSpec(spec.shape, bits)
    # Layers whose results lie beside each other only stay alike if all become simpler at once.
    points = [_point(one) if isinstance(one, Conv2d) else one for one in layers]
    if points != layers:
        yield points, reads, spec
    for index, layer in enumerate(layers):
        for part in range(len(reads[index]) if len(reads[index]) > 1 else 0):
            # What reads this one reads one of its parts instead; or it goes on without that part.
            passed = [[reads[index][part] if n == index + 1 else n for n in one] for one in reads]
            if passed != reads:
                yield layers, passed, spec
            fewer = [n for place, n in enumerate(reads[index]) if place != part]
            if len(fewer) > 1:
                yield layers, [*reads[:index], fewer, *reads[index + 1 :]], spec
        for other in _simpler(layer):
            if other is None:
                passed = [[reads[index][0] if n == index + 1 else n for n in one] for one in reads]
                if passed != reads:
                    yield layers, passed, spec
            else:
                yield [*layers[:index], other, *layers[index + 1 :]], reads, spec


def _point(layer: Conv2d) -> Conv2d:
    """Return a convolution of single points."""
    return _conv(layer, weights=layer.weights[:, :1, :1], stride=(1, 1), padding=(0, 0, 0, 0))


def _simpler(layer: Layer) -> Iterator[Layer | None]:
    """Yield simpler layers in place of one; None leaves it out."""
    yield from SIMPLER.get(type(layer), lambda _: iter(()))(layer)


def _simpler_pool(layer: MaxPool2d) -> Iterator[Layer | None]:
    yield None
    if any(layer.padding):
        yield MaxPool2d(layer.window, layer.stride, layer.name)
    if (layer.window, layer.stride) != ((2, 2), (2, 2)):
        yield MaxPool2d((2, 2), (2, 2), layer.name)


def _simpler_weighted(layer: Weighted) -> Iterator[Weighted]:
    limits, count = layer.thresholds, layer.outputs
    for first, end in dict.fromkeys(((0, count // 2), (count // 2, count), (0, count - 1))):
        if 0 < end - first < count:
            rows = slice(first, end)
            yield layer.with_arrays(layer.weights[rows], None if limits is None else limits[rows])
    if limits is not None and limits.any():
        yield layer.with_arrays(thresholds=np.zeros_like(limits))


def _simpler_conv(layer: Conv2d) -> Iterator[Layer]:
    yield from _simpler_weighted(layer)
    if any(layer.padding):
        yield _conv(layer, padding=(0, 0, 0, 0))
        for side in range(4):
            if layer.padding[side]:
                yield _conv(layer, padding=(*layer.padding[:side], 0, *layer.padding[side + 1 :]))
    if layer.stride != (1, 1):
        yield _conv(layer, stride=(1, 1))
    (height, width), (top, bottom, left, right) = layer.kernel, layer.padding
    if height > 1:
        most = height - 2
        yield _conv(
            layer, weights=layer.weights[:, :-1], padding=(min(top, most), min(bottom, most), left, right)
        )
    if width > 1:
        most = width - 2
        yield _conv(
            layer, weights=layer.weights[:, :, :-1], padding=(top, bottom, min(left, most), min(right, most))
        )


SIMPLER: dict[type, Callable[[Any], Iterator[Layer | None]]] = {
    Dense: _simpler_weighted, Conv2d: _simpler_conv, MaxPool2d: _simpler_pool,
    GlobalSum: lambda layer: iter([None]),
}  # fmt: skip
"""By kind of layer: what may stand in its place. Of a `Concat`, its parts do."""
