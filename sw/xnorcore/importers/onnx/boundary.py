"""Inputs of one layer whose sums lie at its thresholds: where a wrong convention shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...model.layers import Conv2d, Dense


def boundary_inputs(
    layer: Dense | Conv2d, shape: tuple[int, ...], bits: int, most: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Return images of a layer, two for each of up to `most` channels: a sum at the threshold, and one below.

    Channels whose thresholds no sum reaches are left out.

    Parameters
    ----------
    layer : Dense or Conv2d
        With thresholds.
    shape : tuple of int
        Of its input, in network order.
    bits : int
        Of its input values.
    most : int
    rng : numpy Generator

    Returns
    -------
    array of uint8, shape (n, values)
    """
    assert layer.thresholds is not None
    chosen = rng.permutation(layer.outputs)[:most]
    images = []
    for channel in chosen.tolist():
        places, weights = _window(layer, shape, channel, rng)
        for below in (0, 1):
            values = rng.integers(0, 1 << bits, int(np.prod(shape)))
            target = int(layer.thresholds[channel]) - below
            if _reach(values, places, weights, bits, target, below == 0, rng):
                images.append(values.astype(np.uint8))
    return np.array(images, np.uint8).reshape(len(images), int(np.prod(shape)))


def _window(
    layer: Dense | Conv2d, shape: tuple[int, ...], channel: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places and weights of the taps of one output."""
    if isinstance(layer, Dense):
        return np.arange(layer.inputs), layer.weights[channel].astype(np.int64)
    rows, columns = layer.valid(shape)
    if layer.pad_value:  # padding counts: take a position that sees none, if there is one
        full = [np.flatnonzero(taps.all(axis=1)) for taps in (rows, columns)]
        y, x = (int(rng.choice(f)) if len(f) else 0 for f in full)
    else:
        y, x = int(rng.integers(len(rows))), int(rng.integers(len(columns)))
    top, _, left, _ = layer.padding
    places, weights = [], []
    for ky in np.flatnonzero(rows[y]).tolist():
        for kx in np.flatnonzero(columns[x]).tolist():
            row, column = y * layer.stride[0] + ky - top, x * layer.stride[1] + kx - left
            places.append((row * shape[1] + column) * shape[2] + np.arange(shape[2]))
            weights.append(layer.weights[channel, ky, kx].astype(np.int64))
    return np.concatenate(places), np.concatenate(weights)


def _reach(
    values: NDArray[np.int64], places: NDArray[np.int64], weights: NDArray[np.int64], bits: int, target: int,
    above: bool, rng: np.random.Generator,
) -> bool:  # fmt: skip
    """Change values in place until the taps' sum is the target, or its neighbour of the right parity."""
    most = (1 << bits) - 1
    if bits == 1:
        if (target - len(places)) % 2:
            target += 1 if above else -1
        gap = (target - int((weights * (2 * values[places] - 1)).sum())) // 2
    else:
        gap = target - int((weights * values[places]).sum())
    for tap in rng.permutation(len(places)).tolist():
        if not gap:
            break
        up = (gap > 0) == (weights[tap] > 0)
        value = int(values[places[tap]])
        move = min(abs(gap), most - value if up else value)
        values[places[tap]] += move if up else -move
        gap -= move if gap > 0 else -move
    return gap == 0
