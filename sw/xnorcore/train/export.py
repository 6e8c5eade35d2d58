"""From a trained model to the integer network, without any rounding that could change a bit."""

from __future__ import annotations

from typing import Any

from .. import fold
from ..network import Dense, InputSpec, Network
from ._torch import torch
from .layers import BinaryNet


def to_network(
    model: BinaryNet, name: str, shape: tuple[int, ...], metadata: dict[str, Any] | None = None
) -> Network:
    """Fold the batch norms of `model` into integer thresholds, in rationals.

    Hidden bits of the result equal the signs of the model in evaluation mode. With ``head="affine"`` the
    last batch norm becomes the network's per-class scale and offset.

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
    layers: list[Dense] = []
    last = len(model.linears) - 1
    for index, linear in enumerate(model.linears):
        weights, thresholds = linear.binary_weights(), None
        if index < last:
            weights, thresholds = fold.fold_batchnorm(weights, **_stored(model.norms[index]))
        layers.append(Dense(weights, thresholds, name=f"dense{index}"))
    scale = offset = None
    if len(model.norms) > last:
        norm = model.norms[-1]
        with torch.no_grad():
            factor = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            scale, offset = factor.cpu().numpy(), (norm.bias - norm.running_mean * factor).cpu().numpy()
    return Network(
        name, InputSpec(tuple(shape), model.input_bits), layers, scale=scale, offset=offset,
        metadata=metadata or {},
    )  # fmt: skip


def _stored(norm: torch.nn.BatchNorm1d) -> dict[str, Any]:
    tensors = {"gamma": norm.weight, "beta": norm.bias, "mean": norm.running_mean, "var": norm.running_var}
    return {key: value.detach().cpu().numpy() for key, value in tensors.items()} | {"eps": norm.eps}
