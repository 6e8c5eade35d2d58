"""Weights and thresholds of a layer that multiplies, and how far its sums go; see `xnorcore.model.spec`."""

from __future__ import annotations

from math import prod

import numpy as np

from ..errors import NetworkError
from .graph import Coding
from .layers import Conv2d, Dense, InputScale
from .limits import MAX_SIZE, MAX_SUM, MOST_STEPS, THRESHOLD_RANGE, Site


def compared(site: Site, layer: Dense | Conv2d) -> tuple[Coding, int]:
    """Check the thresholds of a layer with weights, and follow the largest magnitude through it."""
    where, value, giver = site.where, site.inputs[0], site.givers[0]
    may_give_sums = all(isinstance(reader, InputScale) for reader in site.readers)
    _thresholds(where, layer, last=may_give_sums)
    bound = layer.reach * value.bound
    if isinstance(giver, InputScale):
        bound = prod(layer.weights.shape[1:]) * value.bound
        if bound <= MAX_SUM:
            bound = layer.reach * (bound >> giver.mean_shift)
        if bound > MAX_SUM:
            raise NetworkError(
                f"{where}: K times the sum reaches {bound}, the limit is {MAX_SUM}; use larger "
                "shifts in front"
            )
    if layer.thresholds is None:
        return "sum", bound
    if bound > THRESHOLD_RANGE[1] and not isinstance(giver, InputScale):
        raise NetworkError(
            f"{where}: the sum reaches {bound}, beyond every threshold; the limit is {THRESHOLD_RANGE[1]}; "
            "use fewer bits"
        )
    return ("sign", 1) if layer.steps == 1 else ("unsigned", layer.steps)


def check_weights(where: str, layer: Dense | Conv2d, axes: str, what: str) -> None:
    """Check the shape of weights; int8 holds those of 8 bits and less."""
    weights = layer.weights
    if weights.dtype != np.int8 or weights.ndim != axes.count(",") + 1:
        raise NetworkError(f"{where}: weights are {weights.dtype} {weights.shape}, but must be int8 ({axes})")
    taps = prod(weights.shape[1:])
    for size, name in ((layer.outputs, "outputs"), (taps, what)):
        if not 1 <= size <= MAX_SIZE:
            raise NetworkError(f"{where}: {size} {name}, but there must be 1 to {MAX_SIZE}")


def _thresholds(where: str, layer: Dense | Conv2d, *, last: bool) -> None:
    thresholds = layer.thresholds
    if thresholds is None:
        if not last:
            raise NetworkError(
                f"{where}: has no thresholds; only the last layer, or one in front of an InputScale, may "
                "give scores"
            )
        return
    shape = thresholds.shape
    if thresholds.dtype != np.int64 or shape[:1] != (layer.outputs,) or len(shape) > 2:
        raise NetworkError(
            f"{where}: thresholds are {thresholds.dtype} {shape}, but must be int64 ({layer.outputs},), or "
            f"({layer.outputs}, steps)"
        )
    if len(shape) == 2 and not 2 <= shape[1] <= MOST_STEPS:
        raise NetworkError(
            f"{where}: {shape[1]} thresholds for each output, but there must be 2 to {MOST_STEPS}, or one "
            f"as int64 ({layer.outputs},)"
        )
    low, high = THRESHOLD_RANGE
    far = (thresholds < low) | (thresholds > high)
    if far.any():
        place = tuple(int(i[0]) for i in np.nonzero(far))
        raise NetworkError(
            f"{where}: threshold {_shown(place)} is {thresholds[place]}, but must be {low} to {high}; "
            "any value beyond the reachable sums makes the neuron constant"
        )
    if len(shape) == 2 and (falls := np.diff(thresholds, axis=1) < 0).any():
        neuron, step = (int(i[0]) for i in np.nonzero(falls))
        raise NetworkError(
            f"{where}: threshold {step + 1} of output {neuron} is {thresholds[neuron, step + 1]}, below "
            f"{thresholds[neuron, step]} in front of it; sort each output's thresholds"
        )


def _shown(place: tuple[int, ...]) -> str:
    return str(place[0] if len(place) == 1 else list(place))
