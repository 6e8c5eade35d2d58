"""Binarized layers with a straight-through estimator.

After Courbariaux, Hubara, Soudry, El-Yaniv and Bengio, "Binarized Neural Networks: Training Deep
Neural Networks with Weights and Activations Constrained to +1 or -1", 2016, arXiv:1602.02830:
the forward pass uses only the signs, the backward pass treats the sign as the identity on [-1, 1],
and the real-valued *latent* weights that collect the gradients are clipped to [-1, 1].
"""

from __future__ import annotations

from itertools import pairwise
from math import prod

import numpy as np

from ..errors import UsageError
from ._torch import nn, torch
from .recipe import Conv


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        # Several times faster than torch.where.
        return (x >= 0).to(x.dtype).mul_(2).sub_(1)

    @staticmethod
    def backward(ctx, *grads):
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1)


def sign(x: torch.Tensor) -> torch.Tensor:
    """Binarize to +1 and -1, with sign(0) = +1, unlike `torch.sign`.

    The gradient is that of the straight-through estimator: passed on where ``|x| <= 1``, else 0.

    Parameters
    ----------
    x : torch.Tensor
        Any shape, floating point.

    Returns
    -------
    torch.Tensor
        Same shape and dtype, every element +1 or -1.
    """
    return _Sign.apply(x)


class BinaryLinear(nn.Module):
    """Fully connected layer whose weights are the signs of latent weights; no bias.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the layer.
    dtype : torch.dtype

    Attributes
    ----------
    weight : torch.nn.Parameter
        Latent weights, shape (outputs, inputs), within [-1, 1] after `clip`.
    """

    def __init__(self, inputs: int, outputs: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, dtype=dtype))
        nn.init.uniform_(self.weight, -1.0, 1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the dot products of `x` (batch, inputs) with the binary weights, (batch, outputs).

        Float64 and float32 hold these integers exactly.
        """
        return nn.functional.linear(x, sign(self.weight))

    def clip(self) -> None:
        """Clip the latent weights to [-1, 1]; call it after every optimizer step."""
        with torch.no_grad():
            self.weight.clamp_(-1.0, 1.0)

    def binary_weights(self) -> np.ndarray:
        """Return the weights of the forward pass: int8, +1 or -1, shape (outputs, inputs)."""
        return np.where(self.weight.detach().cpu().numpy() >= 0, 1, -1).astype(np.int8)


class BinaryConv2d(nn.Module):
    """Convolution whose weights are the signs of latent weights; no bias.

    Parameters
    ----------
    inputs : int
        Input channels.
    conv : Conv
        Output channels, kernel, stride and padding; its pooling is not done here.
    dtype : torch.dtype

    Attributes
    ----------
    weight : torch.nn.Parameter
        Latent weights, shape (outputs, inputs, height, width), within [-1, 1] after `clip`.
    """

    def __init__(self, inputs: int, conv: Conv, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.conv = conv
        self.weight = nn.Parameter(torch.empty(conv.channels, inputs, *conv.kernel, dtype=dtype))
        nn.init.uniform_(self.weight, -1.0, 1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sums of `x` (batch, inputs, height, width) under the binary weights: exact integers."""
        if any(self.conv.padding):
            top, bottom, left, right = self.conv.padding
            x = nn.functional.pad(x, (left, right, top, bottom), value=float(self.conv.pad_value))
        return nn.functional.conv2d(x, sign(self.weight), stride=self.conv.stride)

    def clip(self) -> None:
        """Clip the latent weights to [-1, 1]; call it after every optimizer step."""
        with torch.no_grad():
            self.weight.clamp_(-1.0, 1.0)

    def binary_weights(self) -> np.ndarray:
        """Return the weights of the forward pass: int8, +1 or -1, (outputs, height, width, inputs)."""
        weights = np.where(self.weight.detach().cpu().numpy() >= 0, 1, -1).astype(np.int8)
        return np.ascontiguousarray(weights.transpose(0, 2, 3, 1))


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
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        size = (shape,) if isinstance(shape, int) else tuple(shape)
        self.input_bits = input_bits
        layers = []
        for conv in convs:
            if len(size) != 3:
                raise UsageError(f"images of {size} cannot be convolved; give (height, width, channels)")
            layers.append(BinaryConv2d(size[2], conv, dtype))
            size = conv.output_shape((size[0], size[1], size[2]))
        sizes = (prod(size), *hidden, classes)
        self.convs = nn.ModuleList(layers)
        self.linears = nn.ModuleList([BinaryLinear(a, b, dtype) for a, b in pairwise(sizes)])
        normed = sizes[1:] if head == "affine" else sizes[1:-1]
        norms: list[torch.nn.Module] = [nn.BatchNorm2d(conv.channels, dtype=dtype) for conv in convs]
        norms += [nn.BatchNorm1d(n, dtype=dtype) for n in normed]
        self.norms = nn.ModuleList(norms)
        self.temperature = sizes[-2] ** -0.5

    def trace(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Run the network and keep what the accelerator computes.

        Parameters
        ----------
        images : torch.Tensor
            Integers, shape (batch, ...), 0 to 2**input_bits - 1.

        Returns
        -------
        list of torch.Tensor
            The +1/-1 outputs of each hidden layer, after its pooling, then the integer scores; flat,
            (batch, outputs), row-major with the channel fastest.
        """
        x = images.to(self.linears[0].weight.dtype)
        if self.input_bits == 1:
            x = 2 * x - 1
        results = []
        if self.convs:
            # The memory stays as it is, channel fastest, which is also what the convolutions like best.
            x = x.permute(0, 3, 1, 2)
        for layer, norm in zip(self.convs, self.norms, strict=False):
            conv = layer.conv
            x = layer(x)
            if conv.pool and conv.pool_first:
                x = nn.functional.max_pool2d(x, conv.pool)
            x = sign(norm(x))
            if conv.pool and not conv.pool_first:
                x = nn.functional.max_pool2d(x, conv.pool)
            results.append(x.permute(0, 2, 3, 1).flatten(1))
        x = results[-1] if results else x.flatten(1)
        for linear, norm in zip(self.linears[:-1], self.norms[len(self.convs) :], strict=False):
            x = sign(norm(linear(x)))
            results.append(x)
        return [*results, self.linears[-1](x)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, classes) of integer `images` (batch, ...)."""
        scores = self.trace(images)[-1]
        if len(self.norms) == len(self.convs) + len(self.linears):
            return self.norms[-1](scores)
        return scores * self.temperature

    def clip(self) -> None:
        """Clip all latent weights to [-1, 1]; call it after every optimizer step."""
        for layer in (*self.convs, *self.linears):
            layer.clip()
