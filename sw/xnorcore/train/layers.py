"""Binarized layers with a straight-through estimator, for networks of one's own and for the recipes.

After Courbariaux, Hubara, Soudry, El-Yaniv and Bengio, "Binarized Neural Networks: Training Deep
Neural Networks with Weights and Activations Constrained to +1 or -1", 2016, arXiv:1602.02830:
the forward pass uses only the signs, the backward pass treats the sign as the identity on [-1, 1],
and the real-valued *latent* weights that collect the gradients are clipped to [-1, 1].

`BinaryLinear` and `BinaryConv2d` also take the factors of Rastegari, Ordonez, Redmon and Farhadi,
"XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks", 2016, arXiv:1603.05279:
``alpha`` per output, and the input scale ``K`` per position.
"""

from __future__ import annotations

import numpy as np

from ..errors import UsageError
from ._torch import nn, torch


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


class Sign(nn.Module):
    """`sign` as a module: it stands between a batch norm and the next layer, or a pooling."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the signs of `x`, +1 and -1."""
        return sign(x)


SCALE_BITS = (2, 16)
"""Of values that K is the mean of, with their sign."""


def scale_fraction(bits: int) -> int:
    """Return how many of the bits of a value are behind the point: values reach about 4."""
    return max(bits - 3, 0)


class _Binary(nn.Module):
    """What both layers share: latent weights and the two factors."""

    def __init__(
        self,
        shape: tuple[int, ...],
        alpha: bool,
        input_scale: bool,
        dtype: torch.dtype | None,
        scale_bits: int = 0,
    ) -> None:
        super().__init__()
        if min(shape) < 1:
            raise UsageError(
                f"{type(self).__name__}: weights of shape {shape}; every size must be at least 1"
            )
        if scale_bits and (not input_scale or scale_bits not in range(SCALE_BITS[0], SCALE_BITS[1] + 1)):
            raise UsageError(
                f"{type(self).__name__}: scale_bits is {scale_bits}, but must be 0, or {SCALE_BITS[0]} to "
                f"{SCALE_BITS[1]} with input_scale"
            )
        self.alpha, self.input_scale, self.scale_bits = bool(alpha), bool(input_scale), scale_bits
        self.weight = nn.Parameter(torch.empty(*shape, dtype=dtype or torch.float64))
        nn.init.uniform_(self.weight, -1.0, 1.0)

    def clip(self) -> None:
        """Clip the latent weights to [-1, 1]; call it after every optimizer step."""
        with torch.no_grad():
            self.weight.clamp_(-1.0, 1.0)

    def scales(self) -> torch.Tensor:
        """Return XNOR-Net's alpha, the mean of ``|latent weight|`` of each output: shape (outputs,).

        It is at least 0, so that it folds into a threshold without changing a sign.
        """
        return self.weight.abs().flatten(1).mean(1)

    def magnitudes(self, x: torch.Tensor) -> torch.Tensor:
        """Return what K is the mean of: ``|x|``, or with `scale_bits` what of it these hold.

        The gradient is that of ``|x|``, as far as it does not saturate.
        """
        if not self.scale_bits:
            return x.abs()
        unit, largest = 1 << scale_fraction(self.scale_bits), (1 << self.scale_bits - 1) - 1
        real, steps = x.clamp(-largest / unit, largest / unit).abs(), (x * unit).floor()
        held = torch.where(steps < 0, -1 - steps, steps).clamp(max=largest) / unit
        return real + (held - real).detach()

    def effective(self) -> torch.Tensor:
        """Return the weights of the forward pass."""
        return sign(self.weight)

    def _bits(self) -> np.ndarray:
        return np.where(self.weight.detach().cpu().numpy() >= 0, 1, -1).astype(np.int8)


class BinaryLinear(_Binary):
    """Fully connected layer whose weights are the signs of latent weights; no bias.

    Parameters
    ----------
    inputs, outputs : int
        Sizes of the layer.
    alpha : bool
        Multiply each output by the mean of its latent weights' absolute values (XNOR-Net, equation 6).
    input_scale : bool
        The input is real: use its signs, and multiply the outputs by K, the mean of its absolute values
        (XNOR-Net, section 3.2).
    scale_bits : int
        With `input_scale`: K is the mean of numbers of so many bits with their sign, 2 to 16, which saturate
        near 4; 0, of 12 fractional bits. Devices with `scale_depth` run such a layer, of 8 bits at most, if a
        `Sign` follows, the layer in front of it has no K, and it is not the last one.
    dtype : torch.dtype, optional
        Default: float64.

    Attributes
    ----------
    weight : torch.nn.Parameter
        Latent weights, shape (outputs, inputs), within [-1, 1] after `clip`. A latent 0 counts as +1.

    Raises
    ------
    UsageError
        If a size is below 1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dtype: torch.dtype | None = None,
        *,
        alpha: bool = False,
        input_scale: bool = False,
        scale_bits: int = 0,
    ) -> None:
        super().__init__((outputs, inputs), alpha, input_scale, dtype, scale_bits)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the dot products of `x` (batch, inputs) with the binary weights, (batch, outputs).

        Without `input_scale`, `x` holds +1 and -1 or the integers of an n-bit input, and the products are
        integers, which float64 and float32 hold exactly; alpha is multiplied to them afterwards.
        """
        k = None
        if self.input_scale:
            k = self.magnitudes(x).mean(1, keepdim=True)
            x = sign(x)
        sums = nn.functional.linear(x, self.effective())
        if self.alpha:
            sums = sums * self.scales()
        return sums if k is None else sums * k

    def binary_weights(self) -> np.ndarray:
        """Return the weights of the forward pass: int8, shape (outputs, inputs)."""
        return self._bits()


class BinaryConv2d(_Binary):
    """Convolution whose weights are the signs of latent weights; no bias.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : tuple of int
        Height and width.
    stride : tuple of int
        Vertical and horizontal.
    padding : tuple of int
        Rows and columns added at (top, bottom, left, right).
    pad_value : int
        What they hold: 0, or for inputs of +1 and -1 also -1 or +1.
    alpha, input_scale, scale_bits : bool, bool, int
        As in `BinaryLinear`; K is one value per output position: the mean of ``|x|`` over the channels,
        averaged over the window. With zero padding, rows and columns that are added count as 0.
    dtype : torch.dtype, optional
        Default: float64.

    Attributes
    ----------
    weight : torch.nn.Parameter
        Latent weights, shape (outputs, inputs, height, width), within [-1, 1] after `clip`. A latent 0
        counts as +1.

    Raises
    ------
    UsageError
        If a size is below 1, or `input_scale` meets padding with other values than 0.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: tuple[int, int] = (3, 3),
        *,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        pad_value: int = 0,
        alpha: bool = False,
        input_scale: bool = False,
        scale_bits: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__((outputs, inputs, *kernel), alpha, input_scale, dtype, scale_bits)
        self.stride, self.padding, self.pad_value = stride, padding, pad_value
        if input_scale and any(padding) and pad_value:
            raise UsageError(
                f"BinaryConv2d: input_scale with padding of {pad_value:+d} has no meaning; use pad_value=0"
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the sums of `x` (batch, inputs, height, width) under the binary weights: exact integers.

        With `alpha` or `input_scale` they are multiplied afterwards.
        """
        k = None
        if self.input_scale:
            mean = self._pad(self.magnitudes(x).mean(1, keepdim=True))
            k = nn.functional.avg_pool2d(mean, tuple(self.weight.shape[2:]), self.stride)
            x = sign(x)
        sums = nn.functional.conv2d(self._pad(x), self.effective(), stride=self.stride)
        if self.alpha:
            sums = sums * self.scales()[:, None, None]
        return sums if k is None else sums * k

    def _pad(self, x: torch.Tensor) -> torch.Tensor:
        if not any(self.padding):
            return x
        top, bottom, left, right = self.padding
        return nn.functional.pad(x, (left, right, top, bottom), value=float(self.pad_value))

    def binary_weights(self) -> np.ndarray:
        """Return the weights of the forward pass: int8, shape (outputs, height, width, inputs)."""
        return np.ascontiguousarray(self._bits().transpose(0, 2, 3, 1))
