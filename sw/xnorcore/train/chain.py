"""The layers of the integer network, made from a list of trained modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np

from ..errors import UsageError
from ..folding import fold
from ..folding.complement import fold_pooled_batchnorm
from ..folding.steps import fold_steps
from ..model.layers import is_dense
from ..model.network import Add, Conv2d, Dense, GlobalSum, Layer, MaxPool2d
from ._torch import nn, torch
from .branches import At, Fork, Join, Turn, added, begins, coded, flat, unquantised
from .factors import fraction_of, input_scale_of, mean_shift
from .fewbits import Quant, Shortcut
from .layers import BinaryConv2d, BinaryLinear, Sign
from .model import FlattenChannelsLast
from .modules import pair, place, refusal, stored
from .plain import halved, identity, padding_of

__all__ = ["Chain"]

_IDLE = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Hardtanh)
"""Modules that do nothing in evaluation, or, in front of a sign, nothing to it."""


class Chain:
    """Layers of the integer network, made from a list of modules.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        In evaluation mode.
    shape : tuple of int
        Of what the first of them reads.
    first : int
        Number of that one. In front of it are real layers, and a `Sign` or `Quant`.

    Attributes
    ----------
    layers : list of Layer
    reads : list of tuple of int
        The values that each reads.
    shape : tuple of int
        Of what the last gives.
    masks : dict of int to array of bool
        Channels that a layer emits complemented, by its number.
    scale, offset : array of float64, or None
        Of the scores.

    Raises
    ------
    UsageError
        If a module cannot run on the accelerator.
    """

    def __init__(self, modules: Sequence[torch.nn.Module], shape: tuple[int, ...], first: int = 0) -> None:
        pairs = list(flat(modules))
        self.labels, self.modules = [label for label, _ in pairs], [module for _, module in pairs]
        self.at = At(0, tuple(shape))
        if first and isinstance(before := modules[first - 1], Quant):
            self.at = coded(self.at, before)
        self.layers: list[Layer] = []
        self.reads: list[tuple[int, ...]] = []
        self.masks: dict[int, np.ndarray] = {}
        self.scale: np.ndarray | None = None
        self.offset: np.ndarray | None = None
        self.flattened: tuple[int, ...] = ()
        self.unit = 1.0
        self.branches: list[At] = []
        work = [i for i, module in enumerate(self.modules) if i >= first and not isinstance(module, _IDLE)]
        while work:
            work = self._take(work)
        if not self.layers:
            raise UsageError("the model has no layer with weights; start with BinaryLinear or BinaryConv2d")
        if isinstance(self.layers[-1], GlobalSum):
            self._add(identity(self.shape, None, "same"))
            self.at = replace(self.at, coded=True)
        if self.at.coded:
            self.scale = np.full(prod(self.shape), float(self.at.step))
            self.offset = self.scale * self.at.low if self.at.low else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the last layer so far gives."""
        return self.at.shape

    def _take(self, work: list[int]) -> list[int]:
        """Take one layer with all that belongs to it from the front of `work`; return the rest."""
        module = self.modules[work[0]]
        if isinstance(module, (Fork, Turn, Join)):
            self._branch(work[0], module)
            return work[1:]
        if isinstance(module, (nn.Flatten, FlattenChannelsLast)):
            self.flattened = self.shape if isinstance(module, nn.Flatten) else ()
            return work[1:]
        if isinstance(module, nn.MaxPool2d) and self.layers:
            self._add(self._pool(work[0]))
            return work[1:]
        if isinstance(module, nn.AdaptiveAvgPool2d) and self.layers:
            self._average(work[0], module)
            return work[1:]
        if isinstance(module, Shortcut):
            self._add(halved(self.at, module, self._place(work[0])))
            return work[1:]
        if isinstance(module, Sign) and self.at.coded:
            self._add(identity(self.shape, -self.at.low, f"sign{len(self.layers)}"))
            self.at = replace(self.at, step=Fraction(1), low=0, coded=False)
            return work[1:]
        if not isinstance(module, (BinaryLinear, BinaryConv2d)):
            raise UsageError(refusal(self._place(work[0]), module))
        if module.input_scale and not self.layers:
            raise UsageError(
                f"{self._place(work[0])}: an input scale K needs real values of a layer before it, but "
                "this one reads the image; use input_scale=False"
            )
        rest = iter([*work[1:], -1])
        index = next(rest)
        pool = norm = None
        if index >= 0 and isinstance(self.modules[index], nn.MaxPool2d):
            pool, index = index, next(rest)
        if index >= 0 and isinstance(self.modules[index], (nn.BatchNorm1d, nn.BatchNorm2d)):
            norm, index = index, next(rest)
        end: Any = self.modules[index] if index >= 0 else None
        end = end if isinstance(end, (Sign, Quant)) else None
        follows = [index, *rest][:-1] if end is None else [i for i in rest if i >= 0]
        scaled = self._scaled(follows)
        if end is None and follows and isinstance(self.modules[follows[0]], (Turn, Join)):
            raise unquantised(self._block(follows[0]))
        if end is None and follows and not scaled:
            raise UsageError(refusal(self._place(follows[0]), self.modules[follows[0]]))
        if scaled and isinstance(end, Quant):
            raise UsageError(f"{self._place(index)}: an input scale K behind it has no meaning; use Sign")
        if pool is not None and (scaled or (module.input_scale and end is None)):
            raise UsageError(f"{self._place(pool)}: sums that meet an input scale are not pooled")
        self._layer(module, pool, norm, end, scaled)
        return follows

    def _place(self, index: int) -> str:
        return place(self.labels[index], self.modules[index])

    def _block(self, index: int) -> str:
        return f"module {self.labels[index]} (Residual)"

    def _scaled(self, follows: list[int]) -> Any:
        """Return the layer that comes next, if it has an input scale."""
        modules = [self.modules[i] for i in follows]
        found = [module for module in modules if not isinstance(module, (nn.Flatten, FlattenChannelsLast))]
        return found[0] if found and getattr(found[0], "input_scale", False) else None

    def _branch(self, index: int, module: torch.nn.Module) -> None:
        """Begin a residual block, go to its shortcut, or add what both give."""
        if isinstance(module, Fork):
            begins(self.at, self._block(index))
            if not self.at.value:  # a device adds nothing to an image
                self._add(identity(self.shape, np.arange(1, self.at.most + 1), "image"))
            self.branches.append(self.at)
            return
        if isinstance(module, Turn):
            self.branches[-1], self.at = self.at, self.branches[-1]
            return
        one, two = self.branches.pop(), self.at
        values: Any = module.values
        found, times, layer = added(one, two, self._block(index), values)
        self.at = replace(found, value=len(self.layers) + 1)
        name = f"add{sum(isinstance(layer, Add) for layer in self.layers)}"
        self.layers.append(replace(layer, name=name))
        self.reads.append((two.value,) * times[1] + (one.value,) * times[0])

    def _layer(
        self, module: Any, pool: int | None, norm: int | None, end: Sign | Quant | None, scaled: Any
    ) -> None:
        # What a sum counts for: 1, alpha, and what one step of a rounded K stands for.
        alpha = module.scales().detach().numpy() if module.alpha else None
        if module.input_scale:
            alpha = self.unit * (np.ones(len(module.weight)) if alpha is None else alpha)
        values = (
            _nothing(len(module.weight)) if norm is None else stored(self.labels[norm], self.modules[norm])
        )
        step = self.at.step
        pad = padding_of(self.at, module)
        label = f"{'conv' if isinstance(module, BinaryConv2d) else 'dense'}{self._count(module)}"
        weights, thresholds = self._weights(module), None
        if end is not None:
            if isinstance(module, BinaryConv2d):
                values["zero_padded"] = any(module.padding) and pad == 0
            weights, thresholds = self._folded(
                weights, end, pool,
                values | {"alpha": alpha, "input_scale": step, "input_offset": float(step * self.at.low)},
            )  # fmt: skip
        elif norm is not None or alpha is not None or scaled or step != 1 or self.at.low:
            factor = values["gamma"] / np.sqrt(values["var"] + values["eps"])
            self.offset = None if norm is None and not scaled else values["beta"] - values["mean"] * factor
            self.scale = factor * float(step) * (1.0 if alpha is None else alpha)
            if self.at.low:
                sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64) * self.at.low
                self.offset = self.scale * sums + (0.0 if self.offset is None else self.offset)
        layer: Layer = Dense(weights, thresholds, name=label)
        if isinstance(module, BinaryConv2d):
            layer = Conv2d(
                weights, thresholds, stride=module.stride, padding=module.padding, pad_value=pad, name=label,
            )  # fmt: skip
        self._add(layer)
        if pool is not None:
            self._add(self._pool(pool))
        self.at = replace(self.at, step=Fraction(1), low=0, coded=False)
        if isinstance(end, Quant):
            self.at = coded(self.at, end)
        if scaled:
            taps, bits = scaled.weight[0].numel(), scaled.scale_bits
            self._add(input_scale_of(self.scale, self.offset, taps, f"scale{len(self.layers)}", bits))
            self.unit = 2.0 ** mean_shift(taps, bits) / (taps << fraction_of(bits))
            self.scale = self.offset = None

    def _folded(
        self, weights: np.ndarray, end: Sign | Quant, pool: int | None, values: dict[str, Any]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return weights and thresholds of a layer with its batch norm and sign, or quantiser."""
        binary = (np.abs(weights) == 1).all()
        if isinstance(end, Sign) and binary:
            if pool is None:
                return fold.fold_batchnorm(weights, **values)
            weights, thresholds, mask = fold_pooled_batchnorm(weights, **values)
            self.masks[len(self.layers)] = mask
            return weights, thresholds
        if pool is not None and (values["gamma"] < 0).any():
            raise UsageError(
                f"{self._place(pool)}: pools in front of a batch norm that has negative factors, which is "
                "exact with signs and weights of one bit alone; put it behind the quantiser"
            )
        places = end.places() if isinstance(end, Quant) else [(Fraction(0), True)]
        weights, thresholds = fold_steps(weights, places, **values)
        return weights, thresholds[:, 0] if len(places) == 1 else thresholds

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
        self.reads.append((self.at.value,))
        # An illegal shape is refused by the network, in its own words.
        shape = tuple(layer.output_shape(self.shape)) if _fits(layer, self.shape) else self.shape
        self.at = replace(self.at, value=len(self.layers), shape=shape)

    def _average(self, index: int, module: Any) -> None:
        """Take an average over all of a map as its sum, which is so many times as large."""
        if module.output_size not in (1, (1, 1)) or len(self.shape) != 3:
            raise UsageError(
                f"{self._place(index)}: output_size is {module.output_size}, but must be 1, of a map"
            )
        positions = self.shape[0] * self.shape[1]
        self._add(GlobalSum())
        self.at = replace(self.at, step=self.at.step / positions, low=self.at.low * positions, coded=False)

    def _pool(self, index: int) -> MaxPool2d:
        module: Any = self.modules[index]
        if any(pair(module.padding)) or pair(module.dilation) != (1, 1) or module.ceil_mode:
            raise UsageError(
                f"{self._place(index)}: padding, dilation and ceil_mode cannot run; leave them out"
            )
        number = sum(type(layer) is Conv2d for layer in self.layers) - 1
        return MaxPool2d(pair(module.kernel_size), pair(module.stride), name=f"pool{number}")


def _nothing(outputs: int) -> dict[str, Any]:
    """A batch norm that changes nothing."""
    one, zero = np.ones(outputs), np.zeros(outputs)
    return {"gamma": one, "beta": zero, "mean": zero, "var": one, "eps": 0.0}


def _fits(layer: Layer, shape: tuple[int, ...]) -> bool:
    return is_dense(layer) or len(shape) == 3
