"""From a trained model to the integer network, without any rounding that could change a bit.

Only XNOR-Net's K is rounded: to fixed-point numbers.
"""

from __future__ import annotations

import copy
from typing import Any

from numpy.typing import ArrayLike

from ..errors import UsageError
from ..folding.complement import absorb_complements
from ..host.head import Head
from ..host.tail import Tail
from ..model.network import InputSpec, Network
from ._torch import torch
from .chain import Chain
from .fewbits import Quant, Residual
from .fixed import check_blocks, in_fixed_point
from .layers import Sign
from .model import BinaryNet
from .real import ends_of, real_layers


def to_network(
    model: BinaryNet | torch.nn.Sequential,
    name: str,
    shape: tuple[int, ...],
    metadata: dict[str, Any] | None = None,
    *,
    input_bits: int | None = None,
    pixels: ArrayLike | None = None,
    fixed_point: int | None = None,
    images: ArrayLike | None = None,
) -> Network:
    """Fold the batch norms of `model` into integer thresholds, in rationals.

    Hidden bits and codes equal those of the model in evaluation mode, computed in float64; channels that are
    pooled in front of a batch norm with negative gamma are complemented, and the next layer knows.
    A batch norm behind the last layer, and its alpha, become the network's per-class scale and offset.
    A first layer with real weights, up to the `Sign` or `Quant` behind it, and what is real behind the last
    one, are the host's, and are computed there in float32 (docs/numerics.md, section 10).
    Layers with an input scale K get an `InputScale` in front, in fixed-point numbers: of 12 fractional bits,
    with which a network runs on the reference model only, or of `scale_bits` (`BinaryLinear`).

    Parameters
    ----------
    model : BinaryNet or torch.nn.Sequential
        On any device. A Sequential consists of `BinaryLinear`, `BinaryConv2d`, `QuantLinear`, `QuantConv2d`,
        ``BatchNorm1d``, ``BatchNorm2d``, ``MaxPool2d`` in front of the batch norm or behind the sign, `Sign`,
        `Quant`, `Residual`, `Shortcut`, ``AdaptiveAvgPool2d(1)`` in front of the last layer, ``Flatten``;
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
    fixed_point : int, optional
        Where a Sequential adds real numbers, in a `Residual` whose body ends without a `Quant`, quantise
        them: sums to values of 8 bits, and what bodies add to these to so many, 2 to 8, in one step that
        fits them. What is exported is the model so changed, exactly; the metadata say so under ``exported``.
        Default:
        refuse.
    images : array, shape (n, ...), optional
        For that: what the model reads. The metadata say for how many of them the class changes.

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
    copied: Any = copy.deepcopy(model).double().cpu()
    if isinstance(copied, BinaryNet) and copied.real[0]:
        pixels = copied.pixels.numpy()[None]
    if fixed_point is not None:
        copied, notes = in_fixed_point(copied, fixed_point, images)
        metadata = {**(metadata or {}), **notes}
    modules = copied.chain() if isinstance(copied, BinaryNet) else list(copied)
    check_blocks(modules)
    return _network(modules, name, tuple(shape), metadata, input_bits, pixels)


def _network(
    modules: list[torch.nn.Module],
    name: str,
    shape: tuple[int, ...],
    metadata: dict[str, Any] | None,
    input_bits: int | None,
    pixels: ArrayLike | None,
) -> Network:
    """Return the network of modules in a row, whose numbers are float64."""
    begin, end = ends_of(modules)
    if end < len(modules) and isinstance(modules[end - 1], Residual) and _over_all(modules[end]):
        end += 1  # sums of branches end no network, but their sums over all positions do
    front, inner = real_layers(modules[: begin - 1], 0, shape) if begin else ([], shape)
    last: Any = modules[begin - 1] if begin else None
    if begin:
        input_bits = last.bits if isinstance(last, Quant) else 1
    elif pixels is not None:
        raise UsageError("pixels are given, but the model does not begin with real layers; use input_bits")
    if input_bits is None:
        raise UsageError("a Sequential does not know its input: give input_bits, 1 for -1 and +1, or 2 to 8")
    chain = Chain(modules[:end], inner, begin)
    behind = real_layers(modules[end:], end, chain.shape)[0] if end < len(modules) else []
    return Network(
        name, InputSpec(inner, input_bits), absorb_complements(chain.layers, chain.masks), reads=chain.reads,
        scale=chain.scale, offset=chain.offset, metadata=metadata or {},
        head=Head(shape, front, _thresholds(last), pixels) if begin else None,
        tail=Tail(chain.shape, behind) if behind else None,
    )  # fmt: skip


def _over_all(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))


def _thresholds(last: Sign | Quant) -> list[list[float]]:
    """Return where the real numbers of a head begin to be another integer."""
    return [[float(place) for place, _ in last.places()] if isinstance(last, Quant) else [0.0]]
