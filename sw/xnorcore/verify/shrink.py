"""Makes a failing case smaller while it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from math import prod

import numpy as np

from ..errors import XnorcoreError
from ..model.layers import Conv2d, Dense, GlobalSum, InputSpec, Layer, MaxPool2d
from ..model.network import Network
from ..model.values import Shape
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
        yield replace(case, network=Network(network.name, network.input, network.layers))
    yield from _ends(case)
    for layers, spec in _chains(network):
        built = _build(case, layers, spec)
        if built:
            yield built


def _ends(case: Case) -> Iterator[Case]:
    """Leave out layers at either end."""
    network = case.network
    count = len(network.layers)
    for keep in range(1, count):
        built = _build(case, network.layers[:keep], network.input)
        if built:
            yield built
    results = golden.layers(network, case.images)
    for first in range(count - 1, 0, -1):
        if network.layers[first - 1].result == "bits":
            spec = InputSpec(network.shapes[first])
            built = _build(case, network.layers[first:], spec, results[first - 1])
            if built:
                yield built


def _build(
    case: Case, layers: tuple[Layer, ...] | list[Layer], spec: InputSpec, images: np.ndarray | None = None
) -> Case | None:
    """Return the case with other layers, cut to fit each other; None if that is no legal network."""
    try:
        network = Network(case.network.name, spec, _fitted(layers, spec.shape))
    except (XnorcoreError, IndexError, ValueError):
        return None
    if images is None:
        old = case.network.input
        images = case.images >> max(old.bits - spec.bits, 0)
        if spec.shape != old.shape:
            images = images[(slice(None), *(slice(size) for size in spec.shape))]
    return replace(case, network=network, images=images.reshape(-1, *spec.shape).astype(np.uint8))


def _fitted(layers: tuple[Layer, ...] | list[Layer], shape: Shape) -> list[Layer]:
    """Cut weights that read more than the layer before still gives."""
    chain: list[Layer] = []
    before: Shape | None = None
    for layer in layers:
        if isinstance(layer, Conv2d):
            layer = _conv(layer, weights=layer.weights[..., : shape[2]])
        elif isinstance(layer, Dense) and layer.inputs != prod(shape):
            rows = layer.weights
            if before is not None and len(before) == len(shape) and prod(before) == layer.inputs:
                cut = tuple(slice(size) for size in shape)
                rows = rows.reshape(-1, *before)[(slice(None), *cut)].reshape(len(rows), -1)
            layer = Dense(rows[:, : prod(shape)], layer.thresholds, layer.name)
        before = None
        chain.append(layer)
        shape = layer.output_shape(shape)
    return chain


def _conv(layer: Conv2d, **changes: object) -> Conv2d:
    values = {
        "weights": layer.weights, "thresholds": layer.thresholds, "stride": layer.stride,
        "padding": layer.padding, "pad_value": layer.pad_value, "name": layer.name, **changes,
    }  # fmt: skip
    return Conv2d(**values)  # pyright: ignore[reportArgumentType]


def _chains(network: Network) -> Iterator[tuple[list[Layer], InputSpec]]:
    """Yield the layers with one of them, or the image, simpler."""
    spec, layers = network.input, list(network.layers)
    for axis, size in enumerate(spec.shape):
        for smaller in dict.fromkeys((size // 2, size - 1)):
            if smaller:
                yield layers, InputSpec((*spec.shape[:axis], smaller, *spec.shape[axis + 1 :]), spec.bits)
    for bits in dict.fromkeys((1, spec.bits - 1)):
        if 0 < bits < spec.bits:
            yield layers, InputSpec(spec.shape, bits)
    for index, layer in enumerate(layers):
        for other in _simpler(layer):
            yield [*layers[:index], *([other] if other else []), *layers[index + 1 :]], spec


def _simpler(layer: Layer) -> Iterator[Layer | None]:
    """Yield simpler layers in place of one; None leaves it out."""
    if isinstance(layer, (MaxPool2d, GlobalSum)):
        yield None
    if isinstance(layer, MaxPool2d):
        if any(layer.padding):
            yield MaxPool2d(layer.window, layer.stride, layer.name)
        if (layer.window, layer.stride) != ((2, 2), (2, 2)):
            yield MaxPool2d((2, 2), (2, 2), layer.name)
    if not isinstance(layer, (Conv2d, Dense)):
        return
    limits = layer.thresholds
    count = layer.outputs
    for first, end in dict.fromkeys(((0, count // 2), (count // 2, count), (0, count - 1))):
        if 0 < end - first < count:
            yield _rows(layer, slice(first, end))
    if isinstance(layer, Conv2d):
        yield from _simpler_conv(layer)
    if limits is not None and limits.any():
        weights, zeros = layer.weights, np.zeros_like(limits)
        yield (
            Dense(weights, zeros, layer.name) if isinstance(layer, Dense) else _conv(layer, thresholds=zeros)
        )


def _rows(layer: Conv2d | Dense, kept: slice) -> Conv2d | Dense:
    limits = None if layer.thresholds is None else layer.thresholds[kept]
    if isinstance(layer, Dense):
        return Dense(layer.weights[kept], limits, layer.name)
    return _conv(layer, weights=layer.weights[kept], thresholds=limits)


def _simpler_conv(layer: Conv2d) -> Iterator[Conv2d]:
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
