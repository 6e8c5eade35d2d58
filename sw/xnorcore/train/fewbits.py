"""Layers with weights of several bits, activations of several bits with a learned step, residual additions.

The step is that of Esser, McKinstry, Bablani, Appuswamy and Modha, "Learned Step Size Quantization", 2020,
arXiv:1902.08153. Weights are the nearest of equally spaced levels; of 2 bits, -1, 0 and +1.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from ..errors import UsageError
from ..model.check import brief, is_int
from ._torch import nn, torch
from .layers import BinaryConv2d, BinaryLinear

__all__ = ["MOST_BITS", "Quant", "QuantConv2d", "QuantLinear", "Residual"]

MOST_BITS = 8
"""Most bits of a weight, and of an activation."""
_LEAST_STEP = 2.0**-20


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, *grads):
        return grads[0]


def _rounded(step: torch.Tensor) -> torch.Tensor:
    """Return a number with 8 significant bits."""
    mantissa, exponent = torch.frexp(step)
    return torch.ldexp((mantissa * 256).round(), exponent - 8)


def _checked(what: str, bits: object) -> int:
    if not is_int(bits) or not 2 <= bits <= MOST_BITS:
        raise UsageError(f"{what}: bits is {brief(bits)}, but must be 2 to {MOST_BITS}")
    return bits


class Quant(nn.Module):
    """Activations of n bits: the nearest of 0, 1, ... 2**n - 1 steps, with one step that is learned.

    The step that counts is the parameter rounded to 8 significant bits, so that floats hold sums of its
    multiples exactly: the model is the integer network that it becomes.
    It stands where `Sign` may, behind a batch norm. Values that are added need one step: give one `Quant` to
    all branches that meet.

    Parameters
    ----------
    bits : int
        2 to 8. Devices run 2 and 3.
    dtype : torch.dtype, optional
        Default: float64.

    Attributes
    ----------
    step : torch.nn.Parameter
        At first what suits numbers of mean 0 and variance 1; above 0 after `clip`.

    Raises
    ------
    UsageError
        If `bits` is out of range.
    """

    def __init__(self, bits: int = 2, *, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.bits = _checked("Quant", bits)
        # Twice the mean magnitude, over the root of the largest level.
        first = 2 * 0.8 / self.top**0.5
        self.step = nn.Parameter(torch.tensor(first, dtype=dtype or torch.float64))

    @property
    def top(self) -> int:
        """The largest level."""
        return (1 << self.bits) - 1

    def exact(self) -> Fraction:
        """Return the step that counts."""
        return Fraction(_rounded(self.step.detach()).item())

    def places(self) -> list[tuple[Fraction, bool]]:
        """Return where each level but 0 begins, and whether the place itself belongs to it."""
        return [
            (self.exact() * Fraction(2 * level - 1, 2), level % 2 == 0) for level in range(1, self.top + 1)
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the nearest steps of `x`, half a step to the even one; same shape and dtype."""
        share = (x[0].numel() * self.top) ** -0.5
        # Exactly the step that counts; its gradient is smaller by that share.
        step = _rounded(self.step.detach()) + (self.step - self.step.detach()) * share
        return _Round.apply((x / step).clamp(0, self.top)) * step

    def clip(self) -> None:
        """Keep the step above 0; call it after every optimizer step."""
        with torch.no_grad():
            self.step.clamp_(min=_LEAST_STEP)


class _Levels:
    """What layers with weights of several bits share, in place of the signs of `BinaryLinear`."""

    weight: torch.nn.Parameter
    bits: int

    @property
    def top(self) -> int:
        """The largest weight."""
        return (1 << (self.bits - 1)) - 1

    def effective(self) -> torch.Tensor:
        """Return the weights of the forward pass."""
        return _Round.apply(self.weight * self.top)

    def _bits(self) -> np.ndarray:
        return self.effective().detach().cpu().numpy().astype(np.int8)


class QuantLinear(_Levels, BinaryLinear):
    """Fully connected layer whose weights are integers of several bits; no bias.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the layer.
    bits : int
        2 to 8: weights from -(2**(bits - 1) - 1) to 2**(bits - 1) - 1; of 2 bits -1, 0 and +1.
    dtype : torch.dtype, optional
        Default: float64.

    Attributes
    ----------
    weight : torch.nn.Parameter
        Latent weights within [-1, 1], of which the largest weight's multiples are rounded.

    Raises
    ------
    UsageError
        If a size or `bits` is out of range.
    """

    def __init__(self, inputs: int, outputs: int, bits: int = 2, *, dtype: torch.dtype | None = None) -> None:
        super().__init__(inputs, outputs, dtype)
        self.bits = _checked("QuantLinear", bits)


class QuantConv2d(_Levels, BinaryConv2d):
    """Convolution whose weights are integers of several bits; no bias.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel, stride, padding, pad_value
        As of `BinaryConv2d`.
    bits, dtype
        As of `QuantLinear`.

    Raises
    ------
    UsageError
        If a size or `bits` is out of range.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int] = (3, 3),
        bits: int = 2,
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        pad_value: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(
            inputs, outputs, kernel, stride=stride, padding=padding, pad_value=pad_value, dtype=dtype
        )
        self.bits = _checked("QuantConv2d", bits)


class Residual(nn.Module):
    """``body(x) + shortcut(x)``, where both end in one and the same `Quant`: the integers add up exactly.

    Without a shortcut it is ``body(x) + x``, and x is what that `Quant` gave, or sums of it.

    Parameters
    ----------
    body, shortcut : torch.nn.Sequential
        The shortcut may be None. Each ends in a `Quant`, or in a `Residual`.

    Notes
    -----
    The export refuses additions of values with different steps, and of signs.
    """

    def __init__(self, body: torch.nn.Sequential, shortcut: torch.nn.Sequential | None = None) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of both branches."""
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))
