"""ONNX models of several bits for tests, and an executor in rationals, independent of the importer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np

from tests.sw.importers.onnx_graphs import Builder

ROUNDS = {
    "ROUND": round,
    "FLOOR": floor,
    "CEIL": ceil,
    "HALF_UP": lambda x: floor(x + Fraction(1, 2)) if x >= 0 else -floor(-x + Fraction(1, 2)),
    "HALF_DOWN": lambda x: ceil(x - Fraction(1, 2)) if x >= 0 else -ceil(-x - Fraction(1, 2)),
    "UP": lambda x: ceil(x) if x >= 0 else floor(x),
    "DOWN": lambda x: floor(x) if x >= 0 else ceil(x),
    "ROUND_TO_ZERO": int,
    "DPU": lambda x: ceil(x) if x < 0 and x % 1 == Fraction(1, 2) else round(x),
}


NIL: Any = Fraction(0)


class Net:
    """A model that grows, and its values for given inputs, in rationals; every method adds to both.

    Parameters
    ----------
    shape : sequence of int
        Of an input, without the batch.
    images : array, shape (n, ...)
        Inputs as the framework reads them, whole numbers.

    Attributes
    ----------
    scaled : bool
        Weights have a scale.
    stored : bool
        Weights are stored, as float32 rounds them, and no quantiser gives them.
    """

    def __init__(self, shape: Sequence[int], images: Any, seed: int = 0) -> None:
        self.b = Builder((1, *shape))
        self.rng = np.random.default_rng(seed)
        self.x = "x"
        self.v = np.vectorize(Fraction, otypes=[object])(images.astype(object))
        self.codes: list[Any] = []
        self.scaled = True
        self.stored = False

    def node(self, op: str, *inputs: str, **attributes: Any) -> None:
        self.x = self.b.node(op, self.x, *inputs, **attributes)

    def quantised(self, values: Any, scale: Any, bits: int, **attributes: Any) -> str:
        """A constant that a Quant node gives."""
        names = [self.b.const(np.asarray(one, np.float32)) for one in (values, scale, 0.0, float(bits))]
        return self.b.quant(
            "Quant", *names, **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **attributes}
        )

    def weights(self, shape: tuple[int, ...], bits: int, narrow: int) -> tuple[str, Any]:
        """Weights of several bits; each output has a scale, which float32 does not multiply exactly."""
        top = 1 << (bits - 1)
        whole = self.rng.integers(-top + narrow, top, shape)
        whole[0].flat[:2] = -top + narrow, top - 1
        scale = self.rng.uniform(0.01, 3, (shape[0], *[1] * (len(shape) - 1))).astype(np.float32)
        scale = scale if self.scaled else np.ones_like(scale)
        if self.stored:
            products = (whole.astype(np.float32) * scale).astype(np.float32)
            return self.b.const(products), exact(products)
        name = self.quantised(whole * scale.astype(np.float64), scale, bits, narrow=narrow)
        return name, whole * np.vectorize(Fraction, otypes=[object])(scale.astype(np.float64))

    def dense(self, outputs: int, bits: int = 2, narrow: int = 1, *, bias: bool = False) -> None:
        inputs = int(np.prod(self.v.shape[1:]))
        if self.v.ndim > 2:
            self.node("Flatten")
        name, weights = self.weights((outputs, inputs), bits, narrow)
        self.v = self.v.reshape(len(self.v), inputs) @ weights.T
        added = self.rng.normal(size=outputs).astype(np.float32)
        self.node("Gemm", name, *([self.b.const(added)] if bias else []), transB=1)
        if bias:
            self.v = self.v + exact(added)

    def conv(
        self, outputs: int, bits: int = 2, narrow: int = 1, *, pads: int = 0, stride: int = 1, groups: int = 1
    ) -> None:
        name, weights = self.weights((outputs, self.v.shape[1] // groups, 3, 3), bits, narrow)
        self.node("Conv", name, pads=[pads] * 4, strides=[stride] * 2, kernel_shape=[3, 3], group=groups)
        v = np.pad(self.v, ((0, 0), (0, 0), (pads, pads), (pads, pads)), constant_values=NIL)
        n, _, height, width = v.shape
        rows, columns = range(0, height - 2, stride), range(0, width - 2, stride)
        found = np.empty((n, outputs, len(rows), len(columns)), object)
        for i, y in enumerate(rows):
            for j, x in enumerate(columns):
                taps = v[:, :, y : y + 3, x : x + 3].reshape(n, groups, -1)
                rows_ = weights.reshape(groups, outputs // groups, -1)
                found[:, :, i, j] = np.hstack([taps[:, g] @ rows_[g].T for g in range(groups)])
        self.v = found

    def norm(self, *, falls: bool = True) -> None:
        """A batch norm whose roots are rational, fit for what it normalises; some gammas fall."""
        channels = self.v.shape[1]
        over = tuple(axis for axis in range(self.v.ndim) if axis != 1)
        values = self.v.astype(np.float64)
        root = 2.0 ** np.rint(np.log2(values.std(axis=over) + 1e-6))
        gamma = self.rng.choice([0.5, 1.0, 1.5], channels) * self.rng.choice(
            [1, -1 if falls else 1], channels
        )
        mean, beta = values.mean(axis=over), self.rng.normal(size=channels) / 2
        given = [np.asarray(one, np.float32) for one in (gamma, beta, mean, root**2)]
        self.node("BatchNormalization", *map(self.b.const, given), epsilon=0.0)
        gamma, beta, mean, root = (self._wide(exact(one)) for one in (*given[:3], np.float32(root)))
        self.v = (self.v - mean) / root * gamma + beta

    def relu(self) -> None:
        self.node("Relu")
        self.v = np.maximum(self.v, NIL)

    def quant(
        self,
        bits: int,
        *,
        signed: int = 1,
        narrow: int = 0,
        mode: str = "ROUND",
        scale: float = 0.3,
        zero: float = 0,
    ) -> None:
        numbers = [self.b.const(np.float32(one)) for one in (scale, zero, bits)]
        attributes = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
        self.x = self.b.quant("Quant", self.x, *numbers, **attributes)
        top = 1 << (bits - 1)
        low, high = (-top + narrow, top - 1) if signed else (0, 2 * top - 1 - narrow)
        unit, shift, rounds = Fraction(float(np.float32(scale))), Fraction(zero), ROUNDS[mode]
        whole = [rounds(min(max(v / unit + shift, Fraction(low)), Fraction(high))) for v in self.v.ravel()]
        codes = np.array(whole).reshape(self.v.shape)
        self.keep(codes - low)
        self.v = (exact(codes) - shift) * unit

    def multi(self, steps: int, *, shared: bool = False, scale: float = 0.5, bias: float = -1.0) -> None:
        """A MultiThreshold whose thresholds may be equal."""
        values = self.v.astype(np.float64)
        rows = [self.rng.choice(values[:, 0 if shared else c].ravel(), steps) for c in range(self.v.shape[1])]
        table = np.sort(np.array(rows[:1] if shared else rows, np.float32))
        self.x = self.b.quant(
            "MultiThreshold", self.x, self.b.const(table), out_scale=scale, out_bias=bias, out_dtype="INT8"
        )
        limits = np.broadcast_to(exact(table), (self.v.shape[1], steps))
        codes = sum((self.v >= self._wide(column)).astype(int) for column in limits.T)
        self.keep(codes)
        self.v = exact(codes) * Fraction(scale) + Fraction(bias)

    def sign(self) -> None:
        self.x = self.b.sign(self.x)
        codes = (self.v >= 0).astype(int)
        self.keep(codes)
        self.v = exact(2 * codes - 1)

    def pool(self) -> None:
        self.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
        self.v, self.codes[-1] = (_pooled(one) for one in (self.v, self.codes[-1]))

    def average(self, size: int, stride: int, pads: int = 0) -> None:
        self.node(
            "AveragePool", kernel_shape=[size] * 2, strides=[stride] * 2, pads=[pads] * 4, count_include_pad=1
        )
        v = np.pad(self.v, ((0, 0), (0, 0), (pads, pads), (pads, pads)), constant_values=NIL)
        rows, columns = (range(0, length - size + 1, stride) for length in v.shape[2:])
        found = np.empty((*v.shape[:2], len(rows), len(columns)), object)
        for (i, y), (j, x) in itertools.product(enumerate(rows), enumerate(columns)):
            found[:, :, i, j] = v[:, :, y : y + size, x : x + size].sum(axis=(2, 3)) / Fraction(size * size)
        self.v = found

    def add(self, other: tuple[str, Any]) -> None:
        """Add what `state` was before."""
        self.node("Add", other[0])
        self.v = self.v + other[1]

    def concat(self, *others: tuple[str, Any]) -> None:
        """Put what `state` was before behind the channels."""
        self.node("Concat", *(name for name, _ in others), axis=1)
        self.v = np.concatenate([self.v, *(values for _, values in others)], axis=1)

    @property
    def state(self) -> tuple[str, Any]:
        """The tensor so far, and its values."""
        return self.x, self.v

    @state.setter
    def state(self, state: tuple[str, Any]) -> None:
        self.x, self.v = state

    def mean(self) -> None:
        self.node("GlobalAveragePool")
        self.node("Flatten")
        self.v = self.v.sum(axis=(2, 3)) / Fraction(self.v.shape[2] * self.v.shape[3])

    def keep(self, codes: Any) -> None:
        self.codes.append(np.asarray(codes))

    def hidden(self) -> list[Any]:
        """What the network's layers must give, flat, the channel fastest."""
        return [np.moveaxis(one, 1, -1).reshape(len(one), -1) for one in self.codes]

    def model(self) -> Any:
        return self.b.model(self.x)

    def _wide(self, values: Any) -> Any:
        return np.asarray(values, object).reshape(-1, *[1] * (self.v.ndim - 2))


def exact(values: Any) -> Any:
    """Numbers as the rationals that they are."""
    return np.vectorize(lambda x: Fraction(x.item() if hasattr(x, "item") else x), otypes=[object])(values)


def _pooled(v: Any) -> Any:
    return np.maximum(
        np.maximum(v[:, :, ::2, ::2], v[:, :, 1::2, ::2]), np.maximum(v[:, :, ::2, 1::2], v[:, :, 1::2, 1::2])
    )
