"""From a trained model to the integer network, without any rounding that could change a bit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .. import fold
from ..complement import absorb_complements, fold_pooled_batchnorm
from ..network import Conv2d, Dense, InputSpec, Layer, MaxPool2d, Network
from ._torch import torch
from .layers import BinaryNet


def to_network(
    model: BinaryNet, name: str, shape: tuple[int, ...], metadata: dict[str, Any] | None = None
) -> Network:
    """Fold the batch norms of `model` into integer thresholds, in rationals.

    Hidden bits of the result equal the signs of the model in evaluation mode, computed in float64; channels
    that are pooled in front of a batch norm with negative gamma are complemented, and the next layer knows.
    With ``head="affine"`` the last batch norm becomes the network's per-class scale and offset.

    Parameters
    ----------
    model : BinaryNet
        On any device.
    name : str
        Name of the network.
    shape : tuple of int
        Shape of one image: (values,) or (height, width, channels).
    metadata : dict, optional
        What JSON holds.

    Raises
    ------
    NetworkError
        If a parameter is not finite, as after a diverged training.
    """
    model = copy.deepcopy(model).double()
    layers: list[Layer] = []
    masks: dict[int, np.ndarray] = {}
    for index, (layer, norm) in enumerate(zip(model.convs, model.norms, strict=False)):
        conv = layer.conv
        weights, stored = layer.binary_weights(), _stored(norm)
        stored["zero_padded"] = any(conv.padding) and conv.pad_value == 0
        if conv.pool and conv.pool_first:
            weights, thresholds, masks[len(layers)] = fold_pooled_batchnorm(weights, **stored)
        else:
            weights, thresholds = fold.fold_batchnorm(weights, **stored)
        layers.append(
            Conv2d(
                weights, thresholds, stride=conv.stride, padding=conv.padding, pad_value=conv.pad_value,
                name=f"conv{index}",
            )
        )  # fmt: skip
        if conv.pool:
            layers.append(MaxPool2d(conv.pool, name=f"pool{index}"))
    norms = model.norms[len(model.convs) :]
    last = len(model.linears) - 1
    for index, linear in enumerate(model.linears):
        weights, thresholds = linear.binary_weights(), None
        if index < last:
            weights, thresholds = fold.fold_batchnorm(weights, **_stored(norms[index]))
        layers.append(Dense(weights, thresholds, name=f"dense{index}"))
    scale = offset = None
    if len(norms) > last:
        norm = norms[-1]
        with torch.no_grad():
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            scale, offset = factor.cpu().numpy(), (norm.bias - norm.running_mean * factor).cpu().numpy()
    chain = absorb_complements(layers, masks)
    return Network(
        name, InputSpec(tuple(shape), model.input_bits), chain, scale=scale, offset=offset,
        metadata=metadata or {},
    )  # fmt: skip


def _stored(norm: Any) -> dict[str, Any]:
    tensors = {"gamma": norm.weight, "beta": norm.bias, "mean": norm.running_mean, "var": norm.running_var}
    return {key: value.detach().cpu().numpy() for key, value in tensors.items()} | {"eps": norm.eps}
