"""Networks whose thresholds a results unit can multiply instead: they lie in equal steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.sw.codenets import AROUND, drawn
from xnorcore.model.network import Conv2d, Dense, GlobalSum, InputSpec, MaxPool2d, Network


def even(rng: np.random.Generator, outputs: int, bits: int, reach: int) -> NDArray[np.int64]:
    """Thresholds of codes over a part of -`reach` to `reach`; every seventh channel is constant."""
    levels = np.arange(1, 1 << bits)
    found = []
    for output in range(outputs):
        slope = len(levels) / (rng.uniform(0.1, 1.2) * reach)
        # A few bits less than a unit has, which the units of the accumulator may take.
        shift = int(np.log2(60000 / slope)) - 6
        multiplier, first = max(int(slope * (1 << shift)), 1), int(rng.uniform(-1, 0.2) * reach)
        if output % 7 == 6:
            first = int(rng.choice([-9, 9])) * reach
        found.append(-((multiplier * -first - (levels << shift)) // multiplier))
    return np.array(found)


def dense(bits: int, image: int, *, ends: int = 0, weight: int = 1) -> Network:
    """Dense layers of 23, 37, 21 and 5 values; codes of `ends` bits at the end, or scores."""
    rng = np.random.default_rng([bits, image, ends])
    reach, top = weight * ((1 << image) - 1), weight * ((1 << bits) - 1)
    layers = [Dense(drawn(rng, weight, 37, 23), even(rng, 37, bits, 8 * reach))]
    layers.append(Dense(drawn(rng, weight, 21, 37), even(rng, 21, bits, 6 * top)))
    last = even(rng, 5, ends, 5 * top) if ends else None
    layers.append(Dense(drawn(rng, weight, 5, 21), last))
    return Network("dense", InputSpec((23,), image), layers)


def maps(
    bits: int, *, pad: int = 0, pool: MaxPool2d | None = None, end: str = "dense", image: int = 8
) -> Network:
    """Convolutions of a picture and of two maps of codes, padded with a code; pooling; and an end."""
    rng = np.random.default_rng([bits, pad, image])
    top = (1 << bits) - 1

    def conv(outputs: int, inputs: int, size: int, reach: int, **options: Any) -> Conv2d:
        return Conv2d(drawn(rng, 1, outputs, size, size, inputs), even(rng, outputs, bits, reach), **options)

    layers: list[Any] = [conv(13, 3, 3, 5 * ((1 << image) - 1))]
    layers.append(conv(11, 13, 3, 8 * top, padding=(1, 0, 2, 1), pad_value=pad))
    layers += [pool] if pool else []
    layers.append(conv(9, 11, 2, 6 * top, padding=AROUND, pad_value=pad))
    shape: tuple[int, ...] = (9, 8, 3)
    for layer in layers:
        shape = layer.output_shape(shape)
    if end == "sum":
        layers += [GlobalSum(), Dense(drawn(rng, 1, 4, 9))]
    elif end == "dense":
        layers.append(Dense(drawn(rng, 1, 7, int(np.prod(shape)))))
    return Network("maps", InputSpec((9, 8, 3), image), layers)
