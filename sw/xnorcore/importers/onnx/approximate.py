"""Additions of values whose steps are in no small ratio: the source with other steps, and what that changes.

The steps of both quantisers are replaced in the source, so that they are in a small ratio; what is imported
is that source, exactly. It is another network than the one that was given: how many images have another
class is found by executing both.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import frexp, gcd, ldexp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError, UsageError
from ...model.limits import MOST_JOINED, MOST_STEPS
from .check import WORK
from .execute import Executor
from .fixed import Streams, quantised_name
from .graph import Graph
from .layout import Layout
from .order import to_source
from .signal import Levels, UnequalSteps
from .units import Unit

__all__ = ["MOST_CHANGED", "Source", "compared_with", "inputs_of", "with_small_ratio"]

MOST_CHANGED = 64
"""Most additions whose steps are replaced."""
_DIGITS = 16
"""Significant bits of what both steps are multiples of: float32 holds the multiples."""


@dataclass(frozen=True)
class Source:
    """A source, and how its images become what it reads.

    Attributes
    ----------
    model : onnx.ModelProto
    graph : Graph
        As it was read.
    unit : Unit or None
        What it does to pixels; None if its input holds none.
    layout : Layout
    macs : int
        Products of an image, the host's included.
    """

    model: Any
    graph: Graph
    unit: Unit | None
    layout: Layout
    macs: int


def with_small_ratio(model: Any, error: UnequalSteps, within: float) -> tuple[Any, str]:
    """Return the model with other steps of the two quantisers, and in words what was changed.

    Parameters
    ----------
    model : onnx.ModelProto
    error : UnequalSteps
    within : float
        By how much of it the ratio may change at most.

    Raises
    ------
    ImportFailedError
        If no small ratio is so near, or one of the values is no quantiser's.
    """
    one, two = error.sides
    times = _ratio(one.scale / two.scale, (one.most, two.most), within)
    if times is None:
        raise ImportFailedError(f"{error}; no such ratio is within {within:g} of this one") from None
    mantissa, exponent = frexp(one.scale / times[0])
    unit = ldexp(round(ldexp(mantissa, _DIGITS)), exponent - _DIGITS)
    changed = type(model)()
    changed.CopyFrom(model)
    for side, count in zip((one, two), times, strict=True):
        _replace(changed, side, unit * count, error)
    was = float(one.scale / two.scale)
    return changed, (
        f"steps of {float(one.scale):.9g} and {float(two.scale):.9g} are taken as {times[0]} and {times[1]} "
        f"times {unit:.9g}: their ratio changes by {abs(times[0] / times[1] / was - 1):.2%}"
    )


def _ratio(ratio: Fraction, most: tuple[int, int], within: float) -> tuple[int, int] | None:
    """Return the smallest numbers whose ratio is so near, with few enough levels; of several the nearest."""
    for total in range(2, MOST_JOINED + 1):
        found = [
            (abs(Fraction(p, total - p) / ratio - 1), (p, total - p))
            for p in range(1, total)
            if gcd(p, total) == 1 and p * most[0] + (total - p) * most[1] <= MOST_STEPS
        ]
        error, times = min(found, default=(None, None))
        if error is not None and error <= within:
            return times
    return None


def _replace(model: Any, side: Levels, step: float, error: UnequalSteps) -> None:
    """Give the quantiser of a value another step."""
    from onnx import numpy_helper

    node = next((node for node in model.graph.node if side.tensor in node.output), None)
    if node is None or node.op_type not in ("Quant", "IntQuant"):
        raise ImportFailedError(
            f"{error}; no other step can be given to {side.tensor!r}, which is what no Quant node gives"
        ) from None
    name = f"{side.tensor}, step {step!r}"
    node.input[1] = name
    model.graph.initializer.append(numpy_helper.from_array(np.array(step, np.float32), name))


def inputs_of(source: Source, images: NDArray[Any] | None, count: int = 200) -> tuple[NDArray[Any], str]:
    """Return what a source reads for images, and in words which these are.

    Parameters
    ----------
    source : Source
    images : array of uint8, shape (n, height, width, channels) or (n, values), optional
        Pixels. Default: random ones.
    count : int
        Most images, fewer for large networks.

    Raises
    ------
    UsageError
        If images are given that do not fit, or the source reads no pixels.
    """
    graph, shape = source.graph, source.layout.shape
    size = int(np.prod(shape))
    most = max(8, min(count, 8 * WORK // max(source.macs, 1)))
    kind = "of the images given" if images is not None else "random images"
    if source.unit is None:
        raise UsageError(
            "what rounding changes is seen on pixels, and these inputs are none; say what pixels become, as "
            "--inputs pixels or mean=M:std=S"
        )
    if images is None:
        images = np.random.default_rng(4).integers(0, 256, (most, size), np.uint8)
    if images.ndim < 2 or images[0].size != size or images.dtype.kind not in "iu":
        raise UsageError(
            f"images to compare with are pixels of shape (n, {', '.join(map(str, shape))}); "
            f"found {images.dtype} {images.shape}"
        )
    images = images[:most]
    mapped = images.reshape(len(images), *(shape if len(shape) == 3 else (*shape, 1)))
    real = source.unit.real(mapped, graph.input_type).reshape(len(images), -1)
    return to_source(real, shape, graph.input_shape[1:], source.layout.channels_last), kind


def compared_with(source: Source, changed: Any, images: NDArray[Any] | None, streams: Streams) -> list[str]:
    """Execute a source as it was and as it was changed; return in words what that does.

    Parameters
    ----------
    source : Source
        As it was.
    changed : onnx.ModelProto
    images
        As of `inputs_of`.
    streams : Streams
        What has become values of fixed point, whose signs are compared.

    Raises
    ------
    UsageError
        As `inputs_of`.
    """
    graph = source.graph
    x, kind = inputs_of(source, images)
    one, two = (_classes(model, graph, x) for model in (source.model, changed))
    found = [f"the source so changed gives another class for {int((one != two).sum())} of {len(x)} {kind}"]
    if streams.values:
        names = [list(streams.values), [quantised_name(name) for name in streams.values]]
        pairs = zip(
            *(
                Executor(model).run({graph.input: x}, tensors, batch=graph.input_shape[0])
                for model, tensors in zip((source.model, changed), names, strict=True)
            ),
            strict=True,
        )
        same = [float(np.mean((a >= 0) == (b >= 0))) for a, b in pairs]
        found.append(
            f"of the signs of the shortcuts' values {np.mean(same):.1%} stay as they were; of one tensor of "
            f"{len(same)} {min(same):.1%}"
        )
    return found


def _classes(model: Any, graph: Graph, x: NDArray[Any]) -> NDArray[np.int64]:
    found = Executor(model).run({graph.input: x}, graph.outputs[:1], batch=graph.input_shape[0])
    scores = found[0].reshape(len(x), -1)
    return scores[:, 0].astype(np.int64) if scores.shape[1] == 1 else np.argmax(scores, axis=1)
