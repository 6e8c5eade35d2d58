"""Networks of several bits for tests, and what they give, in Python integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from xnorcore.model.network import (
    Add,
    Concat,
    Conv2d,
    Dense,
    GlobalSum,
    InputSpec,
    MaxPool2d,
    Network,
    Node,
)


def limits(rng: np.random.Generator, outputs: int, steps: int, reach: int) -> Any:
    """Rising thresholds, some of them equal, some that no sum reaches."""
    if not steps:
        return None
    found = np.sort(rng.integers(-reach, reach + 2, (outputs, steps)), axis=1)
    return found if steps > 1 else found[:, 0]


def weights(rng: np.random.Generator, shape: tuple[int, ...], bits: int, *, narrow: bool = False) -> Any:
    """Weights of so many bits: of one, -1 and +1."""
    if bits == 1:
        return rng.choice([-1, 1], shape)
    top = 1 << (bits - 1)
    found = rng.integers(1 - top if narrow else -top, top, shape)
    found.flat[0] = 1 - top if narrow else -top  # so that no fewer bits do
    return found


def chain(bits: int, weight_bits: int, steps: int, *, seed: int = 0, ends: int = 0) -> Network:
    """Dense layers of 23, 11, 7 and 5 values."""
    rng = np.random.default_rng([bits, weight_bits, steps, seed])
    first = 3 * (2**bits - 1) << (weight_bits - 1)
    return Network(
        "chain", InputSpec((23,), bits),
        [
            Dense(weights(rng, (11, 23), weight_bits), limits(rng, 11, steps, first)),
            Dense(weights(rng, (7, 11), weight_bits), limits(rng, 7, steps, 4 * steps << (weight_bits - 1))),
            Dense(weights(rng, (5, 7), weight_bits), limits(rng, 5, ends, 3 * steps << (weight_bits - 1))),
        ],
    )  # fmt: skip


def maps(bits: int = 3, *, summed: bool = False) -> Network:
    """Branches of codes with 1 to 3 bits of weights, padded with codes, pooled and joined."""
    rng = np.random.default_rng(bits)

    def conv(outputs: int, inputs: int, m: int, steps: int, reach: int, name: str, **options: Any) -> Conv2d:
        table = weights(rng, (outputs, 3, 3, inputs), m)
        return Conv2d(table, limits(rng, outputs, steps, reach), name=name, **options)

    around = (1, 1, 1, 1)
    end: list[Any] = [Dense(weights(rng, (4, 3 * 2 * 11), 2, narrow=True), name="end")]
    if summed:
        end = [GlobalSum("sum"), Dense(weights(rng, (4, 11), 3), limits(rng, 4, 2, 90), "end")]
    return Network(
        "maps", InputSpec((7, 6, 2), bits),
        [
            conv(5, 2, 1, 3, 12, "stem", padding=around, pad_value=2 if bits > 1 else 0),
            Node(conv(6, 5, 3, 6, 40, "left", padding=around, pad_value=3), "stem"),
            Node(conv(5, 5, 1, 3, 8, "right", padding=(1, 0, 2, 1)), "stem"),
            Node(MaxPool2d((2, 3), (2, 3), "small"), "left"),
            Node(MaxPool2d((3, 3), (2, 3), "big", (1, 0, 0, 1)), "right"),
            Node(Concat("join"), ("small", "big")),
            *end,
        ],
    )  # fmt: skip


def by_hand(network: Network, image: Any) -> list[list[int]]:
    """Every layer's results for one image, with loops over Python integers."""
    shape = network.input.shape if len(network.input.shape) == 3 else (1, 1, *network.input.shape)
    pixels = np.asarray(image).reshape(shape).tolist()
    if network.input.bits == 1:
        pixels = [[[2 * v - 1 for v in place] for place in row] for row in pixels]
    values = [pixels]
    for layer, reads in zip(network.layers, network.reads, strict=True):
        values.append(_layer(layer, [values[number] for number in reads]))
    found = []
    for value, numbers in zip(network.values[1:], values[1:], strict=True):
        flat = [v for row in numbers for place in row for v in place]
        found.append([(v + 1) // 2 for v in flat] if value.coding == "sign" else flat)
    return found


def _layer(layer: Any, reads: list[Any]) -> Any:
    maps_ = reads[0]
    height, width = len(maps_), len(maps_[0])
    if isinstance(layer, Concat):
        return [[[v for one in reads for v in one[y][x]] for x in range(width)] for y in range(height)]
    if isinstance(layer, Add):
        most = 1 << 30 if layer.most is None else layer.most
        return [
            [
                [min(max(sum(v) - layer.offset, 0), most) for v in zip(*places, strict=True)]
                for places in zip(*rows, strict=True)
            ]
            for rows in zip(*reads, strict=True)
        ]
    if isinstance(layer, GlobalSum):
        places = [place for row in maps_ for place in row]
        return [[[sum(column) for column in zip(*places, strict=True)]]]
    if isinstance(layer, Dense):
        flat = [v for row in maps_ for place in row for v in place]
        return [[_given(layer, [_dot(row, flat) for row in layer.weights.tolist()])]]
    size = layer.window if isinstance(layer, MaxPool2d) else layer.kernel
    top, bottom, left, right = layer.padding
    result = []
    for y in range(-top, height + bottom - size[0] + 1, layer.stride[0]):
        row = []
        for x in range(-left, width + right - size[1] + 1, layer.stride[1]):
            window = [
                maps_[y + dy][x + dx] if 0 <= y + dy < height and 0 <= x + dx < width else None
                for dy in range(size[0])
                for dx in range(size[1])
            ]
            if isinstance(layer, MaxPool2d):
                inside = [place for place in window if place is not None]
                row.append([max(column) for column in zip(*inside, strict=True)])
                continue
            pad = [layer.pad_value] * layer.inputs
            taps = [v for place in window for v in (pad if place is None else place)]
            table = layer.weights.reshape(layer.outputs, -1).tolist()
            row.append(_given(layer, [_dot(weights_, taps) for weights_ in table]))
        result.append(row)
    return result


def _dot(a: list[int], b: list[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _given(layer: Any, sums: list[int]) -> list[int]:
    if layer.thresholds is None:
        return sums
    if layer.steps == 1:
        return [1 if s >= t else -1 for s, t in zip(sums, layer.thresholds.tolist(), strict=True)]
    return [sum(s >= t for t in row) for s, row in zip(sums, layer.thresholds.tolist(), strict=True)]
