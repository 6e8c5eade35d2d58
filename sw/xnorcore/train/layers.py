"""Binarized layers with a straight-through estimator.

After Courbariaux, Hubara, Soudry, El-Yaniv and Bengio, "Binarized Neural Networks: Training Deep
Neural Networks with Weights and Activations Constrained to +1 or -1", 2016, arXiv:1602.02830:
the forward pass uses only the signs, the backward pass treats the sign as the identity on [-1, 1],
and the real-valued *latent* weights that collect the gradients are clipped to [-1, 1].
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ._torch import nn, torch


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

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

    Attributes
    ----------
    weight : torch.nn.Parameter
        Latent weights, shape (outputs, inputs), float64, within [-1, 1] after `clip`.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, dtype=torch.float64))
        nn.init.uniform_(self.weight, -1.0, 1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the dot products of `x` (batch, inputs) with the binary weights, (batch, outputs).

        Float64 holds these integers exactly.
        """
        return nn.functional.linear(x, sign(self.weight))

    def clip(self) -> None:
        """Clip the latent weights to [-1, 1]; call it after every optimizer step."""
        with torch.no_grad():
            self.weight.clamp_(-1.0, 1.0)

    def binary_weights(self) -> np.ndarray:
        """Return the weights of the forward pass: int8, +1 or -1, shape (outputs, inputs)."""
        return np.where(self.weight.detach().cpu().numpy() >= 0, 1, -1).astype(np.int8)


class BinaryNet(nn.Module):
    """Multilayer perceptron: binary layers, each followed by batch norm, with a sign in between.

    The output of the last layer is not binarized: its dot products are the integer scores, and the
    batch norm behind them (``head="affine"``) or a constant factor (``head="scores"``) makes the logits.

    Parameters
    ----------
    inputs : int
        Values per image.
    hidden : tuple of int
        Outputs of each hidden layer.
    classes : int
        Outputs of the last layer.
    input_bits : int
        1: an input of 1 counts as +1 and 0 as -1. More: inputs are the unsigned integers themselves.
    head : {"affine", "scores"}
        Whether the class is the largest score after a per-class affine, or the largest integer score.
    """

    def __init__(
        self, inputs: int, hidden: tuple[int, ...], classes: int, *, input_bits: int, head: str = "affine"
    ) -> None:
        super().__init__()
        sizes = (inputs, *hidden, classes)
        self.input_bits = input_bits
        self.linears = nn.ModuleList([BinaryLinear(a, b) for a, b in pairwise(sizes)])
        normed = sizes[1:] if head == "affine" else sizes[1:-1]
        self.norms = nn.ModuleList([nn.BatchNorm1d(n, dtype=torch.float64) for n in normed])
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
            The +1/-1 outputs of each hidden layer, then the integer scores; float64, (batch, outputs).
        """
        x = images.flatten(1).to(torch.float64)
        if self.input_bits == 1:
            x = 2 * x - 1
        results = []
        for linear, norm in zip(self.linears[:-1], self.norms, strict=False):
            x = sign(norm(linear(x)))
            results.append(x)
        return [*results, self.linears[-1](x)]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits (batch, classes) of integer `images` (batch, ...)."""
        scores = self.trace(images)[-1]
        if len(self.norms) == len(self.linears):
            return self.norms[-1](scores)
        return scores * self.temperature

    def clip(self) -> None:
        """Clip all latent weights to [-1, 1]; call it after every optimizer step."""
        for linear in self.linears:
            linear.clip()
