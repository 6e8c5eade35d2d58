"""Pooling in front of a batch norm with negative gamma: AND, as OR between two complements.

A channel whose bits are emitted complemented can be pooled by OR; the layer that reads it changes to match.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import NetworkError
from ..model.layers import Conv2d, Dense, Layer, has_weights
from .fold import ALWAYS, NEVER, fold_batchnorm


def fold_pooled_batchnorm(
    weights: ArrayLike, *, gamma: ArrayLike, **parameters: Any
) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.bool_]]:
    """Fold ``sign(batchnorm(max(z)))``, where the maximum pools z of a convolution over a window.

    With gamma >= 0 that is the OR of the window's bits. With gamma < 0 it is their AND: such a channel emits
    the complements of its bits, whose OR is the complement of the AND.

    Parameters
    ----------
    weights, gamma
        As in `fold_batchnorm`.
    **parameters
        The other parameters of `fold_batchnorm`.

    Returns
    -------
    weights : array of int8, of the shape given
    thresholds : array of int64, shape (outputs,)
    complement : array of bool, shape (outputs,)
        Where it is set, the OR of the emitted bits is the complement of the true value, which the next layer
        has to know: see `absorb_complement`.

    Raises
    ------
    NetworkError
        As `fold_batchnorm`.
    """
    rows, thresholds = fold_batchnorm(weights, gamma=gamma, **parameters)
    complement = np.broadcast_to(np.asarray(gamma) < 0, thresholds.shape).copy()
    rows[complement] *= -1
    # Not (s >= T) is -s >= 1 - T. One end of the range has no negative in it; both ends are out of reach.
    thresholds[complement] = np.clip(1 - thresholds[complement], ALWAYS, NEVER)
    return rows, thresholds, complement


@overload
def absorb_complement(layer: Dense, mask: ArrayLike) -> Dense: ...
@overload
def absorb_complement(layer: Conv2d, mask: ArrayLike) -> Conv2d: ...
def absorb_complement(layer: Dense | Conv2d, mask: ArrayLike) -> Dense | Conv2d:
    """Change a layer so that it gives, for complemented input channels, what it gave for the true ones.

    The weights that read such a channel are negated. Zero padding stays 0. Padding with -1 or +1 must come
    out negated on complemented channels, which only a layer with all or none of them complemented can do.

    Parameters
    ----------
    layer : Dense or Conv2d
        A `Dense` may read a flattened map, or the sums of `GlobalSum`.
    mask : array of bool, shape (channels,)

    Returns
    -------
    Dense or Conv2d
        Of the same shape, thresholds and name.

    Raises
    ------
    NetworkError
        If the mask has another length, the padding cannot be kept, or a weight's negative has no 8 bits.
    """
    flags = _mask(mask)
    weights = layer.weights.copy()
    label = f"{type(layer).__name__} {layer.name!r}" if layer.name else type(layer).__name__
    what, whole = _READS[type(layer)]
    if layer.inputs % max(len(flags), 1) or (whole and layer.inputs != len(flags)):
        raise NetworkError(
            f"{label}: reads {layer.inputs} {what}, but the complement has {len(flags)} channels"
        )
    negated = weights.reshape(-1, len(flags))
    lowest = flags & (negated == np.iinfo(np.int8).min).any(axis=0)
    if lowest.any():
        raise NetworkError(
            f"{label}: has a weight of -128, whose negative 8 bits do not hold, for channel "
            f"{int(np.argmax(lowest))}, which it reads complemented (pooling before a batch norm with "
            "negative gamma); use narrow weights, -127 to 127, or pool after the sign"
        )
    negated[:, flags] *= -1
    changed = layer.with_arrays(weights)
    return _padded(label, changed, flags) if isinstance(changed, Conv2d) else changed


_READS = {Dense: ("values", False), Conv2d: ("channels", True)}
"""What a layer reads, and whether that is exactly one value for each channel."""


def _padded(label: str, layer: Conv2d, flags: NDArray[np.bool_]) -> Conv2d:
    """Negate padding of -1 or +1 on complemented channels, if that can be."""
    if not layer.pad_value or not any(layer.padding) or not flags.any():
        return layer
    if not flags.all():
        raise NetworkError(
            f"{label}: pads with {layer.pad_value:+d}, but {np.count_nonzero(flags)} of its {len(flags)} "
            "input channels are complemented (pooling before a batch norm with negative gamma); pad with 0, "
            "or pool after the sign"
        )
    return Conv2d(
        layer.weights, layer.thresholds, stride=layer.stride, padding=layer.padding,
        pad_value=-layer.pad_value, name=layer.name,
    )  # fmt: skip


def absorb_complements(layers: Sequence[Layer], masks: Mapping[int, ArrayLike]) -> tuple[Layer, ...]:
    """Absorb every complement of a chain of layers in the next layer with weights.

    Parameters
    ----------
    layers : sequence of Layer
    masks : mapping of int to array of bool, shape (outputs,)
        By the index of a layer with weights, the channels whose bits it emits complemented.

    Returns
    -------
    tuple of Layer

    Raises
    ------
    NetworkError
        If no later layer can absorb a complement, a mask does not fit its layer, or as `absorb_complement`.
    """
    result = list(layers)
    for index, mask in masks.items():
        flags, source = _mask(mask), layers[index]
        if not has_weights(source) or source.outputs != len(flags):
            raise NetworkError(
                f"layer {index}: a complement of {len(flags)} channels does not belong to this "
                f"{type(source).__name__}"
            )
        if not flags.any():
            continue
        place = f"layer {index} {source.name!r}" if source.name else f"layer {index}"
        for later in range(index + 1, len(result)):
            layer = result[later]
            if has_weights(layer):
                result[later] = absorb_complement(layer, flags)
                break
        else:
            raise NetworkError(
                f"{place}: channel {int(np.argmax(flags))} is pooled before a batch norm with negative "
                "gamma, and no later layer can absorb its complement; pool after the sign, or add a Dense"
            )
    return tuple(result)


def _mask(mask: ArrayLike) -> NDArray[np.bool_]:
    flags = np.asarray(mask)
    if flags.dtype.kind != "b" or flags.ndim != 1:
        raise NetworkError(f"complement is {flags.dtype} {flags.shape}, but must be bool (channels,)")
    return flags
