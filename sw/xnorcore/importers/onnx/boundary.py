"""Inputs of one layer whose sums lie at its thresholds: where a wrong convention shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...model.layers import Conv2d, Dense


def boundary_inputs(
    layer: Dense | Conv2d, shape: tuple[int, ...], ends: tuple[int, int], most: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return images of a layer, two for each of up to `most` channels: a sum at a threshold, and one below.

    Channels whose threshold no sum reaches are left out.

    Parameters
    ----------
    layer : Dense or Conv2d
        With thresholds; of several for each channel, one is chosen.
    shape : tuple of int
        Of its input, in network order.
    ends : tuple of int
        Smallest and largest of its input values: -1 and 1 of bits, else 0 and more.
    most : int
    rng : numpy Generator

    Returns
    -------
    array of uint8, shape (n, values)
    """
    assert layer.thresholds is not None
    limits = layer.thresholds.reshape(layer.outputs, -1)
    top = 1 if ends[0] < 0 else ends[1]
    chosen = rng.permutation(layer.outputs)[:most]
    images = []
    for channel in chosen.tolist():
        limit = (
            int(limits[channel, rng.integers(layer.steps)]) if layer.steps > 1 else int(limits[channel, 0])
        )
        places, weights, fixed = _window(layer, shape, channel, rng)
        for below in (0, 1):
            values = rng.integers(0, top + 1, int(np.prod(shape)))
            target = limit - below - fixed
            if _reach(values, places, weights, ends, target, below == 0, rng):
                images.append(values.astype(np.uint8))
    return np.array(images, np.uint8).reshape(len(images), int(np.prod(shape)))


def _window(
    layer: Dense | Conv2d, shape: tuple[int, ...], channel: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Places and weights of the taps of one output, and what its padding adds."""
    if isinstance(layer, Dense):
        return np.arange(layer.inputs), layer.weights[channel].astype(np.int64), 0
    rows, columns = layer.valid(shape)
    y, x = int(rng.integers(len(rows))), int(rng.integers(len(columns)))
    top, _, left, _ = layer.padding
    places, weights = [], []
    table = layer.weights[channel].astype(np.int64)
    for ky in np.flatnonzero(rows[y]).tolist():
        for kx in np.flatnonzero(columns[x]).tolist():
            row, column = y * layer.stride[0] + ky - top, x * layer.stride[1] + kx - left
            places.append((row * shape[1] + column) * shape[2] + np.arange(shape[2]))
            weights.append(table[ky, kx])
    inside = np.concatenate(weights)
    return np.concatenate(places), inside, layer.pad_value * int(table.sum() - inside.sum())


def _reach(
    values: NDArray[np.int64], places: NDArray[np.int64], weights: NDArray[np.int64], ends: tuple[int, int],
    target: int, above: bool, rng: np.random.Generator,
) -> bool:  # fmt: skip
    """Change values in place until the taps' sum is the target, or its neighbour of the right parity."""
    most = ends[1]
    if ends[0] < 0:
        if (target - int(weights.sum())) % 2:
            target += 1 if above else -1
        gap = (target - int((weights * (2 * values[places] - 1)).sum())) // 2
    else:
        gap = target - int((weights * values[places]).sum())
    # Large weights first: what they leave, smaller ones close.
    order = rng.permutation(len(places))
    for tap in order[np.argsort(-np.abs(weights[order]), kind="stable")].tolist():
        size = abs(int(weights[tap]))
        if not gap or not size:
            break
        up = (gap > 0) == (weights[tap] > 0)
        value = int(values[places[tap]])
        move = min(abs(gap) // size, most - value if up else value)
        values[places[tap]] += move if up else -move
        gap -= size * move if gap > 0 else -size * move
    return gap == 0
