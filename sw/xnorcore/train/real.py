"""Real modules at both ends of a trained model, as the layers that the host computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from ..errors import NetworkError, UsageError
from ..host.layers import (
    Real,
    RealAffine,
    RealAveragePool2d,
    RealClip,
    RealConv2d,
    RealDense,
    RealMaxPool2d,
)
from ._torch import nn, torch
from .fewbits import Quant, Residual
from .layers import BinaryConv2d, BinaryLinear, Sign
from .model import FlattenChannelsLast
from .modules import pair, place, stored

__all__ = ["ends_of", "real_layers"]

_BINARY = (BinaryConv2d, BinaryLinear, Residual)
_INTEGER = (Sign, Quant, *_BINARY)
_REAL = (nn.Conv2d, nn.Linear)
_IDLE = (nn.Dropout, nn.Dropout2d, nn.Identity)


def ends_of(modules: Sequence[torch.nn.Module]) -> tuple[int, int]:
    """Return where the integers of a model begin and end, as numbers of modules.

    In front of a first layer with real weights and its `Sign` or `Quant`, and behind the last integer one in
    front of one, are the host's modules. Without such layers the integers are everything.
    """
    begin, end = 0, len(modules)
    first = next((index for index, module in enumerate(modules) if isinstance(module, _INTEGER)), None)
    if first is None or not any(isinstance(module, _BINARY) for module in modules):
        return begin, end
    if isinstance(modules[first], (Sign, Quant)) and any(
        isinstance(module, _REAL) for module in modules[:first]
    ):
        begin = first + 1
    last = max(index for index, module in enumerate(modules) if isinstance(module, _INTEGER))
    if any(isinstance(module, _REAL) for module in modules[last + 1 :]):
        end = last + 1
    return begin, end


def real_layers(
    modules: Sequence[torch.nn.Module], first: int, shape: tuple[int, ...]
) -> tuple[list[Real], tuple[int, ...]]:
    """Return modules as real layers, and the shape of what they give.

    Parameters
    ----------
    modules : sequence of torch.nn.Module
        In evaluation mode.
    first : int
        The first one's number, for messages.
    shape : tuple of int
        Of what it reads: (values,) or (height, width, channels).

    Raises
    ------
    UsageError
        If the host does not compute a module; names its place and the reason.
    """
    layers: list[Real] = []
    flattened: tuple[int, ...] = ()
    for index, module in enumerate(modules, first):
        if isinstance(module, _IDLE):
            continue
        if isinstance(module, (nn.Flatten, FlattenChannelsLast)):
            # torch flattens (channels, height, width); here the channel is the fastest.
            flattened = shape if isinstance(module, nn.Flatten) and len(shape) == 3 else ()
            shape = (prod(shape),)
            continue
        make = next((make for kind, make in _MADE.items() if isinstance(module, kind)), None)
        if make is None:
            raise UsageError(
                f"{place(index, module)}: is nothing that the host computes beside real weights; that is "
                "Conv2d, Linear, batch norm, ReLU, ReLU6, Hardtanh, pooling and Flatten"
            )
        if flattened and not isinstance(module, (nn.Linear, nn.ReLU, nn.ReLU6, nn.Hardtanh)):
            raise UsageError(f"{place(index, module)}: stands behind Flatten; put it in front")
        try:
            layer = make(index, module, flattened if isinstance(module, nn.Linear) else shape)
            shape = layer.output_shape(shape)
        except NetworkError as error:
            raise UsageError(f"{place(index, module)}: {error}") from None
        flattened = () if isinstance(module, nn.Linear) else flattened
        layers.append(layer)
    if flattened:
        raise UsageError(
            f"{place(first + len(modules) - 1, modules[-1])}: Flatten must be followed by Linear"
        )
    return layers, shape


def _numbers(tensor: Any) -> Any:
    return None if tensor is None else tensor.detach().cpu().numpy()


def _conv(index: int, module: Any, shape: tuple[int, ...]) -> Real:
    if module.padding_mode != "zeros" or pair(module.dilation) != (1, 1):
        raise NetworkError(f"padding_mode {module.padding_mode!r} or dilation {module.dilation} cannot run")
    if module.padding == "same":
        sides = [side - 1 for side in module.kernel_size for _ in (0, 1)]
        padding = tuple((side + late) // 2 for side, late in zip(sides, (0, 1, 0, 1), strict=True))
    else:
        rows, columns = (0, 0) if module.padding == "valid" else pair(module.padding)
        padding = (rows, rows, columns, columns)
    return RealConv2d(
        _numbers(module.weight).transpose(0, 2, 3, 1), _numbers(module.bias), stride=pair(module.stride),
        padding=padding, groups=module.groups,
    )  # fmt: skip


def _linear(index: int, module: Any, flattened: tuple[int, ...]) -> Real:
    weights = _numbers(module.weight)
    if flattened and weights.shape[1] == prod(flattened):
        height, width, channels = flattened
        weights = weights.reshape(-1, channels, height, width).transpose(0, 2, 3, 1).reshape(len(weights), -1)
    return RealDense(weights, _numbers(module.bias))


def _norm(index: int, module: Any, shape: tuple[int, ...]) -> Real:
    values = stored(index, module)
    scale = values["gamma"] / np.sqrt(values["var"] + values["eps"])
    return RealAffine(scale, values["beta"] - values["mean"] * scale)


def _pool(index: int, module: Any, shape: tuple[int, ...]) -> Real:
    rows, columns = pair(module.padding)
    if module.ceil_mode or pair(getattr(module, "dilation", 1)) != (1, 1):
        raise NetworkError("dilation and ceil_mode cannot run; leave them out")
    kind: Any = RealMaxPool2d
    if isinstance(module, nn.AvgPool2d):
        kind = RealAveragePool2d
        if module.divisor_override or ((rows or columns) and not module.count_include_pad):
            raise NetworkError(
                "divisor_override, and padding that does not count, cannot run; leave them out"
            )
    stride = module.kernel_size if module.stride is None else module.stride
    return kind(pair(module.kernel_size), pair(stride), (rows, rows, columns, columns))


def _global(index: int, module: Any, shape: tuple[int, ...]) -> Real:
    if module.output_size not in (1, (1, 1)) or len(shape) != 3:
        raise NetworkError(f"output_size is {module.output_size}, but must be 1, of a map")
    return RealAveragePool2d((shape[0], shape[1]))


_MADE: dict[Any, Callable[[int, Any, tuple[int, ...]], Real]] = {
    nn.Conv2d: _conv, nn.Linear: _linear, nn.BatchNorm1d: _norm, nn.BatchNorm2d: _norm,
    nn.ReLU6: lambda *_: RealClip(0, 6), nn.ReLU: lambda *_: RealClip(0),
    nn.Hardtanh: lambda _, module, shape: RealClip(module.min_val, module.max_val), nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool, nn.AdaptiveAvgPool2d: _global,
}  # fmt: skip
