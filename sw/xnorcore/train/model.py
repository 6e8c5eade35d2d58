"""The network that a recipe trains: binary convolutions and dense layers with batch norm and sign."""

from __future__ import annotations

from itertools import pairwise
from math import prod
from typing import Any

from ..errors import UsageError
from ._torch import nn, torch
from .fewbits import Quant, QuantConv2d, QuantLinear, Residual
from .layers import BinaryConv2d, BinaryLinear, Sign, sign
from .recipe import Conv


class FlattenChannelsLast(nn.Module):
    """Flatten (batch, channels, height, width) row-major, channel fastest, in the accelerator's order."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x` as (batch, values)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class BinaryNet(nn.Module):
    """Binary convolutions and dense layers, each followed by batch norm, with a sign in between.

    The output of the last layer is not binarized: its dot products are the integer scores, and the
    batch norm behind them (``head="affine"``) or a constant factor (``head="scores"``) makes the logits.

    Parameters
    ----------
    shape : int or tuple of int
        Values per image; with convolutions (height, width, channels).
    hidden : tuple of int
        Outputs of each hidden dense layer.
    classes : int
        Outputs of the last layer.
    input_bits : int
        1: an input of 1 counts as +1 and 0 as -1. More: inputs are the unsigned integers themselves.
    head : {"affine", "scores"}
        Whether the class is the largest score after a per-class affine, or the largest integer score.
    convs : tuple of Conv
        Convolutions in front of the dense layers, each with its pooling.
    dropout : tuple of float
        Shares of the inputs, and of the hidden values, that are set to 0 while training.
    alpha : bool
        XNOR-Net's factor per output, in all layers but the last.
    input_scale : bool
        XNOR-Net's K, in all layers but the first, whose input is not real.
    scale_bits : int
        Of the values that K is the mean of, as of `BinaryLinear`.
    activation_bits : int
        Of what each hidden layer gives: 1, a sign; 2 to 8, a `Quant` of each layer, whose step is learned.
        A convolution that adds what it reads has that of the one before it.
    weight_bits : int
        1; or 2 to 8, as of `QuantLinear`.
    real : tuple of bool
        Whether the first layer has real weights, and the last. The first then reads pixels as numbers from -1
        to 1.
    maximum : int
        The largest pixel, for that.
    dtype : torch.dtype
        Of the latent weights and of the arithmetic.

    Raises
    ------
    UsageError
        If convolutions meet an image without channels, or nothing is left of a map.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        hidden: tuple[int, ...],
        classes: int,
        *,
        input_bits: int,
        head: str = "affine",
        convs: tuple[Conv, ...] = (),
        dropout: tuple[float, float] = (0.0, 0.0),
        alpha: bool = False,
        input_scale: bool = False,
        scale_bits: int = 0,
        activation_bits: int = 1,
        weight_bits: int = 1,
        real: tuple[bool, bool] = (False, False),
        maximum: int = 255,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        size = (shape,) if isinstance(shape, int) else tuple(shape)
        self.input_bits, self.input_scale = input_bits, input_scale
        self.real = real
        self.register_buffer(
            "pixels", torch.linspace(-1, 1, maximum + 1, dtype=torch.float32), persistent=False
        )
        layers: list[torch.nn.Module] = []
        for conv in convs:
            if len(size) != 3:
                raise UsageError(f"images of {size} cannot be convolved; give (height, width, channels)")
            taps: dict[str, Any] = {"stride": conv.stride, "padding": conv.padding, "dtype": dtype}
            taps |= {"pad_value": conv.pad_value}
            if real[0] and not layers:
                around = conv.padding[0], conv.padding[2]
                layers.append(
                    nn.Conv2d(
                        size[2], conv.channels, conv.kernel, conv.stride, around, bias=False, dtype=dtype
                    )
                )
            elif weight_bits > 1:
                layers.append(QuantConv2d(size[2], conv.channels, conv.kernel, weight_bits, **taps))
            else:
                scales = _scales(input_scale and bool(layers), scale_bits)
                layers.append(
                    BinaryConv2d(size[2], conv.channels, conv.kernel, alpha=alpha, **taps, **scales)
                )
            size = conv.output_shape((size[0], size[1], size[2]))
        sizes = (prod(size), *hidden, classes)
        self.conv_options = convs
        self.convs = nn.ModuleList(layers)
        self.linears = nn.ModuleList()
        for index, (a, b) in enumerate(pairwise(sizes)):
            last = index == len(hidden)
            if (last and real[1]) or (real[0] and not (convs or index)):
                self.linears.append(nn.Linear(a, b, bias=last, dtype=dtype))
            elif weight_bits > 1:
                self.linears.append(QuantLinear(a, b, weight_bits, dtype=dtype))
            else:
                scales = _scales(input_scale and bool(convs or index), scale_bits)
                self.linears.append(BinaryLinear(a, b, dtype, alpha=alpha and not last, **scales))
        normed = sizes[1:] if head == "affine" else sizes[1:-1]
        norms: list[torch.nn.Module] = [nn.BatchNorm2d(conv.channels, dtype=dtype) for conv in convs]
        norms += [nn.BatchNorm1d(n, dtype=dtype) for n in normed]
        self.norms = nn.ModuleList(norms)
        self.quants = nn.ModuleList()
        for number in range(len(convs) + len(hidden) if activation_bits > 1 else 0):
            adds = number < len(convs) and convs[number].add
            self.quants.append(self.quants[number - 1] if adds else Quant(activation_bits, dtype=dtype))
        self.dropouts = [nn.Dropout(share) for share in dropout]
        self.temperature = sizes[-2] ** -0.5

    def chain(self) -> list[torch.nn.Module]:
        """Return the modules in the order of the data, as `xnorcore.train.to_network` reads them.

        Pooling stands behind its convolution or behind the sign; dropout and the constant factor of the
        logits are left out.
        """
        modules: list[torch.nn.Module] = []
        for number, (layer, norm, conv) in enumerate(
            zip(self.convs, self.norms, self.conv_options, strict=False)
        ):
            pool, ends = [nn.MaxPool2d(conv.pool)] if conv.pool else [], self._ends(number)
            if conv.add:
                modules.append(Residual(nn.Sequential(layer, norm, *ends)))
            else:
                modules += [layer, *pool, norm, *ends] if conv.pool_first else [layer, norm, *ends, *pool]
        modules.append(FlattenChannelsLast())
        norms = list(self.norms[len(self.convs) :])
        for index, layer in enumerate(self.linears):
            modules += [layer, *norms[index : index + 1]]
            modules += self._ends(len(self.convs) + index) if index < len(self.linears) - 1 else []
        return modules

    def _ends(self, number: int) -> list[torch.nn.Module]:
        """Return what stands behind the batch norm of a hidden layer."""
        if self.quants:
            return [self.quants[number]]
        return [] if self.input_scale else [Sign()]

    def _activate(self, number: int, x: torch.Tensor) -> torch.Tensor:
        if self.quants:
            return self.quants[number](x)
        return x if self.input_scale else sign(x)

    def trace(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Run the network and keep what the accelerator computes.

        Parameters
        ----------
        images : torch.Tensor
            Integers, shape (batch, ...), 0 to 2**input_bits - 1.

        Returns
        -------
        list of torch.Tensor
            The +1/-1 outputs of each hidden layer but a real one, after its pooling, then the integer scores;
            flat, (batch, outputs), row-major with the channel fastest. With `input_scale` the hidden values
            are the real ones in front of the sign; with several `activation_bits`, multiples of their steps,
            and the scores those of the last one.
        """
        kind = self.linears[0].weight.dtype
        x = self.pixels.to(kind)[images.long()] if self.real[0] else images.to(kind)
        if self.input_bits == 1 and not self.real[0]:
            x = 2 * x - 1
        drop_input, drop = self.dropouts
        x = self._drop(drop_input, x)
        results = []
        if self.convs:
            # The memory stays as it is, channel fastest, which is also what the convolutions like best.
            x = x.permute(0, 3, 1, 2)
        for number, (layer, norm, conv) in enumerate(
            zip(self.convs, self.norms, self.conv_options, strict=False)
        ):
            read, x = x, layer(x)
            if conv.pool and conv.pool_first:
                x = nn.functional.max_pool2d(x, conv.pool)
            x = self._activate(number, norm(x))
            x = x + read if conv.add else x
            if conv.pool and not conv.pool_first:
                x = nn.functional.max_pool2d(x, conv.pool)
            results.append(x.permute(0, 2, 3, 1).flatten(1))
            x = self._drop(drop, x)
        x = x.permute(0, 2, 3, 1).flatten(1) if self.convs else x.flatten(1)
        for number, (linear, norm) in enumerate(
            zip(self.linears[:-1], self.norms[len(self.convs) :], strict=False), len(self.convs)
        ):
            x = self._activate(number, norm(linear(x)))
            results.append(x)
            x = self._drop(drop, x)
        return [*results[self.real[0] :], self.linears[-1](x)]

    def _drop(self, dropout: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return dropout.train(self.training)(x)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, classes) of integer `images` (batch, ...)."""
        return self.logits(self.trace(images)[-1])

    def logits(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the logits of integer scores, both (batch, classes)."""
        if len(self.norms) == len(self.convs) + len(self.linears):
            return self.norms[-1](scores)
        return scores if self.real[1] else scores * self.temperature

    def channels(self) -> list[int]:
        """Return the channels of each hidden layer, in the order of `trace`."""
        found = [conv.channels for conv in self.conv_options] + [len(x.weight) for x in self.linears[:-1]]
        return found[self.real[0] :]

    def weights(self) -> list[torch.Tensor]:
        """Return each layer's weights as the integer network will have them."""
        layers: list[Any] = [*self.convs, *self.linears]
        return [layer.effective().detach() for layer in layers if hasattr(layer, "effective")]

    def clip(self) -> None:
        """Clip all latent weights to [-1, 1], and steps above 0; call it after every optimizer step."""
        layers: list[Any] = [*self.convs, *self.linears, *self.quants]
        for layer in layers:
            if not isinstance(layer, (nn.Conv2d, nn.Linear)):
                layer.clip()


def _scales(scaled: bool, bits: int) -> dict[str, Any]:
    """Return the options of a layer that have to do with K."""
    return {"input_scale": scaled, "scale_bits": bits if scaled else 0}
