"""The check of real layers: the source in float64 against head and tail, each by itself.

Between float32 in a stated order and float64 there is rounding. A bit may differ where a number lies within
it of a threshold, and a score by as much.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...host.compute import compute
from ...model.network import Network
from ...reference import fast
from .ends import Front
from .execute import Executor
from .order import to_source
from .parting import Parted
from .walk import Cut

WORK = 1 << 28
"""Products that each comparison may take."""
MOST = 32
"""Most images."""
NEAR = 1e-5
"""How far from a threshold a bit may differ, and a score from the source's; of the largest number there."""


def check_front(executor: Executor, front: Front, parts: Parted) -> str:
    """Compare a head with the source on random images; return what was found, in words.

    Raises
    ------
    ImportFailedError
        If a value differs that is not near a threshold.
    """
    graph, head, rng = parts.whole, front.head, np.random.default_rng(2)
    count = max(2, min(MOST, WORK // max(head.work, 1)))
    shape = front.layout.shape
    if front.unit is not None:
        images: NDArray[Any] = rng.integers(0, 256, (count, head.size))
        mapped = images.reshape(count, *(shape if len(shape) == 3 else (*shape, 1)))
        real = front.unit.real(mapped, graph.input_type).reshape(count, -1)
    else:
        images = real = rng.normal(size=(count, head.size)).astype(graph.input_type)
        if graph.input_type.kind != "f":
            images = real = np.sign(real)
    x = to_source(real, shape, graph.input_shape[1:], front.layout.channels_last)
    tensor = parts.body.input
    (true,) = executor.run({graph.input: x}, [tensor], batch=graph.input_shape[0], double=True)
    wanted = front.image.levels.held(true).astype(np.int64)
    prepared = head.prepare(images if front.unit is not None else real.astype(np.float32))
    numbers = compute(head.layers, head.real(prepared))
    far = np.full(numbers.shape, np.inf)
    for step in range(head.steps):
        far = np.minimum(far, np.abs(numbers - head.thresholds[:, step]))
    differ = head.run(images if front.unit is not None else real.astype(np.float32)) != wanted
    near = far.reshape(count, -1) <= NEAR * max(1.0, float(np.abs(numbers).max()))
    if (differ & ~near).any():
        image, place = map(int, np.argwhere(differ & ~near)[0])
        raise ImportFailedError(
            f"the check found a difference from {executor.name}: value {place} of what the host makes of an "
            f"image, up to {parts.head[-1].label}, image {image}"
        )
    return f"the head's {differ.size:,} values are, but for {int(differ.sum())} at a threshold"


def check_back(executor: Executor, network: Network, parts: Parted, cut: Cut) -> str:
    """Compare a tail with the source, on results of random values; return what was found, in words.

    Raises
    ------
    ImportFailedError
        If a score differs by more than rounding.
    """
    assert network.tail is not None
    count = max(2, min(MOST, WORK // max(network.tail.work + network.macs // 8, 1)))
    rng = np.random.default_rng(3)
    values = rng.integers(0, network.input.maximum + 1, (count, network.input.size))
    raw = fast.run(network, values)
    found = network.scores(raw).astype(np.float64)
    levels = cut.stages[-1].gives
    if levels is None:
        source = network.affine(raw)[:, cut.index[0].ravel()].reshape(count, *cut.index.shape[1:])
    else:
        v = raw.astype(np.int64)
        source = levels.source(2 * v - 1 if levels.bits == 1 else v, np.float64)
    start, end = parts.body.outputs[0], parts.tail[-1].outputs[0]
    batch = parts.whole.input_shape[0]
    (true,) = executor.run({start: source.astype(np.float32)}, [end], batch=batch, double=True)
    error = np.abs(true.reshape(count, -1) - found)
    if not (error <= NEAR * max(1.0, float(np.abs(true).max()))).all():
        raise ImportFailedError(
            f"the check found a difference from {executor.name}: scores of the tail, behind "
            f"{parts.tail[0].label}, differ by {float(error.max()):.3g}"
        )
    return f"the tail's {prod(error.shape):,} scores are, within {float(error.max()):.1g}"
