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

__all__ = ["MOST_BITS", "Quant", "QuantConv2d", "QuantLinear", "Residual", "Shortcut"]

MOST_BITS = 8
"""Most bits of a weight, and of an activation."""
_LEAST_STEP = 2.0**-20
_TIMES = tuple(1 << number for number in range(6))


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

    Signed, of -2**(n - 1) to 2**(n - 1) - 1 steps: values of a shortcut, or changes of these.

    The step that counts is the parameter rounded to 8 significant bits, so that floats hold sums of its
    multiples exactly: the model is the integer network that it becomes.
    It stands where `Sign` may, behind a batch norm. Values that are added need one step: give one `Quant` to
    all branches that meet.

    Parameters
    ----------
    bits : int
        2 to 8. Devices run 2 and 3, and where the compiler can multiply up to 8.
    signed : bool
        Levels are as often below 0 as above.
    like : Quant, optional
        Its step is this one's, too.
    times : int
        So many of its steps are one here: 1, 2, 4, ... 32.
    dtype : torch.dtype, optional
        Default: float64.

    Attributes
    ----------
    step : torch.nn.Parameter
        At first what suits numbers of mean 0 and variance 1; above 0 after `clip`.

    Raises
    ------
    UsageError
        If `bits` or `times` is out of range.
    """

    def __init__(
        self,
        bits: int = 2,
        *,
        signed: bool = False,
        like: Quant | None = None,
        times: int = 1,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.bits, self.signed = _checked("Quant", bits), bool(signed)
        if times not in _TIMES or (times > 1 and like is None):
            raise UsageError(f"Quant: times is {brief(times)}, but must be 1, or, of another's step, 2 to 32")
        self.times = times * (like.times if like is not None else 1)
        # Twice the mean magnitude, over the root of the largest level.
        first = 2 * 0.8 / self.top**0.5
        own = nn.Parameter(torch.tensor(first, dtype=dtype or torch.float64))
        self.step = own if like is None else like.step

    @property
    def low(self) -> int:
        """The smallest level."""
        return -(1 << self.bits - 1) if self.signed else 0

    @property
    def top(self) -> int:
        """The largest level."""
        return self.low + (1 << self.bits) - 1

    def exact(self) -> Fraction:
        """Return the step that counts."""
        return Fraction(_rounded(self.step.detach()).item()) * self.times

    def places(self) -> list[tuple[Fraction, bool]]:
        """Return where each level but the lowest begins, and whether the place itself belongs to it."""
        step, levels = self.exact(), range(self.low + 1, self.top + 1)
        return [(step * Fraction(2 * level - 1, 2), level % 2 == 0) for level in levels]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the nearest steps of `x`, half a step to the even one; same shape and dtype."""
        share = (x[0].numel() * self.top) ** -0.5
        # Exactly the step that counts; its gradient is smaller by that share.
        step = (_rounded(self.step.detach()) + (self.step - self.step.detach()) * share) * self.times
        return _Round.apply((x / step).clamp(self.low, self.top)) * step

    def held(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x`, which are whole steps, as far as it is within the levels, and else the nearest end."""
        step = _rounded(self.step.detach()) * self.times
        return x.clamp(self.low * step, self.top * step)

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

    Without a shortcut it is ``body(x) + x``, and x is what that `Quant` gave, or sums of it. With `values`, x
    and the sums are values of 8 bits with a sign, which saturate, and what the body adds to them are changes.

    Parameters
    ----------
    body, shortcut : torch.nn.Sequential
        The shortcut may be None, or a `Shortcut`. Each ends in a `Quant`, or in a `Residual`.
    values : Quant, optional
        That of the values: of 8 bits, signed, and first of all in front of the first block. The body then
        ends in ``Quant(bits, signed=True, like=values)``.

    Raises
    ------
    UsageError
        If `values` has other levels.

    Notes
    -----
    The export refuses additions of values with different steps, and of signs. Devices with `value_depth` run
    blocks with `values` in place, where the body is `Sign`, `BinaryConv2d`, batch norm and a `Quant` in steps
    of one of the values'.
    """

    def __init__(
        self,
        body: torch.nn.Sequential,
        shortcut: torch.nn.Sequential | Shortcut | None = None,
        *,
        values: Quant | None = None,
    ) -> None:
        super().__init__()
        if values is not None and (values.bits, values.signed) != (MOST_BITS, True):
            kind = "signed" if values.signed else "without sign"
            raise UsageError(
                f"Residual: values have {values.bits} bits, {kind}, but must have {MOST_BITS}, signed: "
                f"Quant({MOST_BITS}, signed=True)"
            )
        self.body, self.values = body, values
        self.shortcut = nn.Sequential(shortcut) if isinstance(shortcut, Shortcut) else shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sum of both branches."""
        y = self.body(x) + (x if self.shortcut is None else self.shortcut(x))
        return y if self.values is None else self.values.held(y)


class Shortcut(nn.Module):
    """Every second row and column of a map, and new channels of 0: the shortcut of a block that halves.

    Parameters
    ----------
    inputs, outputs : int
        Channels.

    Raises
    ------
    UsageError
        If there are fewer outputs than inputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        if not 1 <= inputs <= outputs:
            raise UsageError(f"Shortcut: {inputs} channels become {outputs}, but must become no fewer")
        self.inputs, self.outputs = inputs, outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return them, shape (n, outputs, height / 2, width / 2), rounded up."""
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.outputs - self.inputs))
