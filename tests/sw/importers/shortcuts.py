"""Residual networks with shortcuts of 8 bits around convolutions of signs, as QONNX has them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.sw.importers.fewbit_graphs import Net, exact


class Values(Net):
    """A network of values in steps of `unit`, and changes of these.

    Parameters
    ----------
    shape, images, seed
        As of `Net`.
    bits : int
        Of a change, signed.
    times : float
        Values' steps in a step of changes.
    unit : float
        A step of values.
    """

    def __init__(
        self, shape: Any, images: Any, seed: int = 0, *, bits: int = 3, times: float = 1, unit: float = 0.25
    ) -> None:
        super().__init__(shape, images, seed)
        self.bits, self.times, self.unit = bits, times, unit

    def weights(self, shape: tuple[int, ...], bits: int, narrow: int) -> tuple[str, Any]:
        """Signs, with a scale of each output."""
        signs = self.rng.choice([-1, 1], shape)
        scale = self.rng.uniform(0.01, 3, (shape[0], *[1] * (len(shape) - 1))).astype(np.float32)
        name = self.b.quant("BipolarQuant", self.b.const(signs.astype(np.float32)), self.b.const(scale))
        return name, signs * exact(scale.astype(np.float64))

    def value(self, bits: int = 8, times: float = 1, zero: float = 0) -> None:
        self.quant(bits, signed=1, scale=self.unit * times, zero=zero)

    def stem(self, outputs: int, bits: int = 6) -> None:
        self.conv(outputs, pads=1)
        self.norm(falls=False)
        self.value(bits)

    def block(self, outputs: int, stride: int = 1, way: str = "slice") -> None:
        """A sign, a convolution and a change, added to the values; `way` is how these are halved."""
        trunk, before = self.state, self.v.shape[1]
        self.sign()
        self.conv(outputs, pads=1, stride=stride)
        self.norm(falls=bool(outputs % 2))
        self.value(self.bits, self.times)
        change = self.state
        self.state = trunk
        if stride > 1:
            self.halved(outputs - before, way)
        self.add(change)
        self.value()

    def halved(self, more: int, way: str) -> None:
        """Lose every second row and column, and gain channels of 0 behind the others."""
        halved = self.v[:, :, ::2, ::2]
        self.v = np.pad(halved, ((0, 0), (0, more), (0, 0), (0, 0)), constant_values=exact(0).item())
        if way == "convolution":
            eye = np.eye(self.v.shape[1], halved.shape[1], dtype=np.float32)
            self.node("Conv", self.b.const(eye[:, :, np.newaxis, np.newaxis]), strides=[2, 2])
            self.value()
            return
        if way == "slice":
            ints = [self.b.const(np.array(one)) for one in ([0, 0], [1 << 62] * 2, [2, 3], [2, 2])]
            self.node("Slice", *ints)
        elif way == "slices":
            for axis in (2, 3):
                ints = [self.b.const(np.array([one])) for one in (0, 1 << 62, axis, 2)]
                self.node("Slice", *ints)
        else:
            self.node("AveragePool", kernel_shape=[1, 1], strides=[2, 2])
        self.node("Pad", self.b.const(np.array([0, 0, 0, 0, 0, more, 0, 0])))
