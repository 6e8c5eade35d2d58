"""From a trained model to the integer network, without any rounding that could change a bit.

Only XNOR-Net's K, which no accelerator runs, is rounded: to fixed-point numbers.
"""

from __future__ import annotations

import copy
from math import frexp, log2
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import NetworkError, UsageError
from ..folding import fold
from ..folding.complement import absorb_complements, fold_pooled_batchnorm
from ..host.head import Head
from ..host.tail import Tail
from ..model.layers import is_dense
from ..model.network import Conv2d, Dense, InputScale, InputSpec, Layer, MaxPool2d, Network
from ._torch import nn, torch
from .layers import BinaryConv2d, BinaryLinear, Sign
from .model import BinaryNet, FlattenChannelsLast
from .modules import pair, place, stored
from .real import ends_of, real_layers

_IDLE = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Hardtanh)
"""Modules that do nothing in evaluation, or, in front of a sign, nothing to it."""
_FRACTION = 12
"""Fractional bits of the values that K is the mean of."""


def to_network(
    model: BinaryNet | torch.nn.Sequential,
    name: str,
    shape: tuple[int, ...],
    metadata: dict[str, Any] | None = None,
    *,
    input_bits: int | None = None,
    pixels: ArrayLike | None = None,
) -> Network:
    """Fold the batch norms of `model` into integer thresholds, in rationals.

    Hidden bits of the result equal the signs of the model in evaluation mode, computed in float64; channels
    that are pooled in front of a batch norm with negative gamma are complemented, and the next layer knows.
    A batch norm behind the last layer, and its alpha, become the network's per-class scale and offset.
    A first layer with real weights, up to the `Sign` behind it, and what is real behind the last one, are
    the host's, and are computed there in float32 (docs/numerics.md, section 10).
    Layers with an input scale K get an `InputScale` in front, which the compiler refuses by name: such a
    network runs on the reference model only, in fixed-point numbers of 12 fractional bits.

    Parameters
    ----------
    model : BinaryNet or torch.nn.Sequential
        On any device. A Sequential consists of `BinaryLinear`, `BinaryConv2d`, ``BatchNorm1d``,
        ``BatchNorm2d``, ``MaxPool2d`` in front of the batch norm or behind the sign, `Sign`, ``Flatten``;
        ``Dropout`` anywhere and ``Hardtanh`` in front of a sign change nothing.
    name : str
        Name of the network.
    shape : tuple of int
        Shape of one image: (values,) or (height, width, channels).
    metadata : dict, optional
        What JSON holds.
    input_bits : int, optional
        Of a Sequential: 1 if its input is -1 and +1; 2 to 8 if it is the unsigned integers themselves. One
        that begins with real layers needs none.
    pixels : array of float32, optional
        Of a Sequential that begins with real layers: what each pixel stands for, as `Head` takes it.

    Raises
    ------
    UsageError
        If a module cannot run on the accelerator, named with its place and the reason: real weights, real
        activations (as in Binary-Weight-Networks, of which the first layer alone can run, on 1- to 8-bit
        inputs), pooling between layers with an input scale.
    NetworkError
        If a parameter is not finite, as after a diverged training.
    """
    if isinstance(model, BinaryNet):
        input_bits = model.input_bits
    copied = copy.deepcopy(model).double().cpu()
    modules = copied.chain() if isinstance(copied, BinaryNet) else list(copied)
    begin, end = ends_of(modules)
    front, inner = real_layers(modules[: begin - 1], 0, tuple(shape)) if begin else ([], tuple(shape))
    if begin:
        input_bits = 1
    elif pixels is not None:
        raise UsageError("pixels are given, but the model does not begin with real layers; use input_bits")
    if input_bits is None:
        raise UsageError("a Sequential does not know its input: give input_bits, 1 for -1 and +1, or 2 to 8")
    chain = _Chain(modules[:end], inner, begin)
    behind = real_layers(modules[end:], end, chain.shape)[0] if end < len(modules) else []
    return Network(
        name, InputSpec(inner, input_bits), absorb_complements(chain.layers, chain.masks),
        scale=chain.scale, offset=chain.offset, metadata=metadata or {},
        head=Head(tuple(shape), front, [[0.0]], pixels) if begin else None,
        tail=Tail(chain.shape, behind) if behind else None,
    )  # fmt: skip


class _Chain:
    """Layers of the integer network, made from a list of modules."""

    def __init__(self, modules: list[torch.nn.Module], shape: tuple[int, ...], first: int = 0) -> None:
        self.modules, self.shape = modules, tuple(shape)
        self.layers: list[Layer] = []
        self.masks: dict[int, np.ndarray] = {}
        self.scale: np.ndarray | None = None
        self.offset: np.ndarray | None = None
        self.flattened: tuple[int, ...] = ()
        self.unit = 1.0
        work = [i for i, module in enumerate(modules) if i >= first and not isinstance(module, _IDLE)]
        while work:
            work = self._take(work)
        if not self.layers:
            raise UsageError("the model has no layer with weights; start with BinaryLinear or BinaryConv2d")

    def _take(self, work: list[int]) -> list[int]:
        """Take one layer with all that belongs to it from the front of `work`; return the rest."""
        module = self.modules[work[0]]
        if isinstance(module, (nn.Flatten, FlattenChannelsLast)):
            self.flattened = self.shape if isinstance(module, nn.Flatten) else ()
            return work[1:]
        if isinstance(module, nn.MaxPool2d) and self.layers:
            self._add(self._pool(work[0]))
            return work[1:]
        if not isinstance(module, (BinaryLinear, BinaryConv2d)):
            raise UsageError(_refusal(work[0], module))
        if module.input_scale and not self.layers:
            raise UsageError(
                f"{place(work[0], module)}: an input scale K needs real values of a layer before it, but "
                "this one reads the image; use input_scale=False"
            )
        rest = iter([*work[1:], -1])
        index = next(rest)
        pool = norm = None
        if index >= 0 and isinstance(self.modules[index], nn.MaxPool2d):
            pool, index = index, next(rest)
        if index >= 0 and isinstance(self.modules[index], (nn.BatchNorm1d, nn.BatchNorm2d)):
            norm, index = index, next(rest)
        signed = index >= 0 and isinstance(self.modules[index], Sign)
        follows = [index, *rest][:-1] if not signed else [i for i in rest if i >= 0]
        scaled = self._scaled(follows)
        if not signed and follows and not scaled:
            raise UsageError(_refusal(follows[0], self.modules[follows[0]]))
        if pool is not None and (scaled or (module.input_scale and not signed)):
            raise UsageError(
                f"{place(pool, self.modules[pool])}: sums that meet an input scale are not pooled"
            )
        self._layer(module, pool, norm, signed, scaled)
        return follows

    def _scaled(self, follows: list[int]) -> Any:
        """Return the layer that comes next, if it has an input scale."""
        modules = [self.modules[i] for i in follows]
        flat = [module for module in modules if not isinstance(module, (nn.Flatten, FlattenChannelsLast))]
        return flat[0] if flat and getattr(flat[0], "input_scale", False) else None

    def _layer(
        self, module: Any, pool: int | None, norm: int | None, signed: bool, scaled: Any = None
    ) -> None:
        # What a sum counts for: 1, alpha, and what one step of a rounded K stands for.
        alpha = module.scales().detach().numpy() if module.alpha else None
        if module.input_scale:
            alpha = self.unit * (np.ones(len(module.weight)) if alpha is None else alpha)
        values = _nothing(len(module.weight)) if norm is None else stored(norm, self.modules[norm])
        label = f"{'conv' if isinstance(module, BinaryConv2d) else 'dense'}{self._count(module)}"
        weights, thresholds = self._weights(module), None
        if signed:
            if isinstance(module, BinaryConv2d):
                values["zero_padded"] = any(module.padding) and module.pad_value == 0
            if pool is not None:
                weights, thresholds, mask = fold_pooled_batchnorm(weights, alpha=alpha, **values)
                self.masks[len(self.layers)] = mask
            else:
                weights, thresholds = fold.fold_batchnorm(weights, alpha=alpha, **values)
        elif norm is not None or alpha is not None or scaled:
            factor = values["gamma"] / np.sqrt(values["var"] + values["eps"])
            self.offset = None if norm is None and not scaled else values["beta"] - values["mean"] * factor
            self.scale = factor if alpha is None else factor * alpha
        if isinstance(module, BinaryConv2d):
            self._add(
                Conv2d(
                    weights, thresholds, stride=module.stride, padding=module.padding,
                    pad_value=module.pad_value, name=label,
                )
            )  # fmt: skip
        else:
            self._add(Dense(weights, thresholds, name=label))
        if pool is not None:
            self._add(self._pool(pool))
        if scaled:
            taps = scaled.weight[0].numel()
            self._add(_input_scale(self.scale, self.offset, taps, f"scale{len(self.layers)}"))
            self.unit = 2.0 ** _mean_shift(taps) / (taps << _FRACTION)
            self.scale = self.offset = None

    def _weights(self, module: Any) -> np.ndarray:
        weights = module.binary_weights()
        flattened, self.flattened = self.flattened, ()
        if len(flattened) == 3 and weights.shape[1] == np.prod(flattened):
            # torch flattens (channels, height, width); the accelerator keeps the channel fastest.
            height, width, channels = flattened
            weights = weights.reshape(len(weights), channels, height, width)
            weights = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)
        return weights

    def _count(self, module: Any) -> int:
        kind = Conv2d if isinstance(module, BinaryConv2d) else Dense
        return sum(type(layer) is kind for layer in self.layers)

    def _add(self, layer: Layer) -> None:
        self.layers.append(layer)
        # An illegal shape is refused by the network, in its own words.
        if _fits(layer, self.shape):
            self.shape = tuple(layer.output_shape(self.shape))

    def _pool(self, index: int) -> MaxPool2d:
        module: Any = self.modules[index]
        if any(pair(module.padding)) or pair(module.dilation) != (1, 1) or module.ceil_mode:
            raise UsageError(
                f"{place(index, module)}: padding, dilation and ceil_mode cannot run; leave them out"
            )
        number = sum(type(layer) is Conv2d for layer in self.layers) - 1
        return MaxPool2d(pair(module.kernel_size), pair(module.stride), name=f"pool{number}")


def _nothing(outputs: int) -> dict[str, Any]:
    """A batch norm that changes nothing."""
    one, zero = np.ones(outputs), np.zeros(outputs)
    return {"gamma": one, "beta": zero, "mean": zero, "var": one, "eps": 0.0}


def _fits(layer: Layer, shape: tuple[int, ...]) -> bool:
    return is_dense(layer) or len(shape) == 3


def _mean_shift(taps: int) -> int:
    return round(log2(taps))


def _input_scale(scale: Any, offset: Any, taps: int, name: str) -> InputScale:
    """Round ``scale * sum + offset``: multipliers of 16 bits, a result of `_FRACTION` fractional bits."""
    if not (np.isfinite(scale).all() and np.isfinite(offset).all()):
        raise NetworkError(f"{name}: a parameter in front of an input scale is not finite; train again")
    largest = float(np.abs(scale).max())
    shift = min(max(16 - frexp(largest)[1] - _FRACTION, 0), 48) if largest else 0
    unit = 2.0 ** (_FRACTION + shift)
    return InputScale(np.rint(scale * unit), np.rint(offset * unit), shift, _mean_shift(taps), name)


def _refusal(index: int, module: torch.nn.Module) -> str:
    where = place(index, module)
    if isinstance(module, (BinaryLinear, BinaryConv2d)):
        return (
            f"{where}: reads real-valued activations, as in Binary-Weight-Networks; the accelerator has them "
            "only as 1- to 8-bit values in the first layer; put xnorcore.train.Sign in front of it"
        )
    if isinstance(module, (nn.Linear, nn.Conv2d)):
        return f"{where}: has real weights; use BinaryLinear or BinaryConv2d of xnorcore.train"
    if isinstance(module, (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.Sigmoid, nn.Tanh, nn.PReLU, nn.SiLU)):
        return (
            f"{where}: gives real-valued activations, as in Binary-Weight-Networks; the accelerator has them "
            "only as 1- to 8-bit values in the first layer; use xnorcore.train.Sign"
        )
    return (
        f"{where}: is not expected here; the order is layer, pooling or none, batch norm or none, Sign, "
        "pooling or none, and again, ending in a layer with or without batch norm"
    )
