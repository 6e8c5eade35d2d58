"""Real functions and reductions on arrays: what becomes of constant weights, and of a sign's two values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .graph import Node

Array = NDArray[Any]
MAX_ERF = 1 << 22
"""Most elements of an Erf or Gelu, which are computed one by one."""


def _sigmoid(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype)


def _softplus(x: Array) -> Array:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def _erf(x: Array) -> Array:
    if x.size > MAX_ERF:
        raise ValueError(f"{x.size} elements, the limit is {MAX_ERF}")
    return np.array([math.erf(value) for value in x.ravel().tolist()]).reshape(x.shape).astype(x.dtype)


PLAIN: dict[str, Callable[[Array], Array]] = {
    "Tanh": np.tanh, "Sigmoid": _sigmoid, "Softsign": lambda x: x / (1 + np.abs(x)), "Softplus": _softplus,
    "Relu": lambda x: np.maximum(x, x.dtype.type(0)), "Exp": np.exp, "Log": np.log, "Erf": _erf,
    "Sin": np.sin, "Cos": np.cos, "Tan": np.tan, "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan,
    "Sinh": np.sinh, "Cosh": np.cosh, "Asinh": np.arcsinh, "Acosh": np.arccosh, "Atanh": np.arctanh,
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "Mish": lambda x: x * np.tanh(_softplus(x)),
}  # fmt: skip
"""Of one array, without attributes."""
SHAPED = {"HardSigmoid", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Gelu", "PRelu"}
"""With attributes, or a slope."""
FUNCTIONS = {*PLAIN, *SHAPED}
"""Operators that change each value alone and keep the shape of their first input."""
REDUCTIONS: dict[str, Callable[..., Array]] = {
    "ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod,
    "ReduceL1": lambda x, **kw: np.sum(np.abs(x), **kw),
    "ReduceSumSquare": lambda x, **kw: np.sum(x * x, **kw),
    "ReduceL2": lambda x, **kw: np.sqrt(np.sum(x * x, **kw)),
}  # fmt: skip


def applied(node: Node, arrays: Sequence[Array]) -> Array:
    """Compute an operator of `FUNCTIONS`, in the array's own type."""
    x = arrays[0]
    if node.op in PLAIN:
        return PLAIN[node.op](x).astype(x.dtype)
    kind = x.dtype.type
    if node.op == "HardSigmoid":
        return np.clip(x * kind(node.number("alpha", 0.2)) + kind(node.number("beta", 0.5)), 0, 1).astype(
            kind
        )
    if node.op == "LeakyRelu":
        return np.where(x < 0, x * kind(node.number("alpha", 0.01)), x)
    if node.op == "PRelu":
        return np.where(x < 0, x * arrays[1], x)
    if node.op == "ThresholdedRelu":
        return np.where(x > kind(node.number("alpha", 1.0)), x, kind(0))
    if node.op == "Gelu":
        return _gelu(node, x)
    alpha, gamma, stretch = exponential(node)
    return np.where(x > 0, kind(gamma) * x, kind(gamma * alpha) * np.expm1(x / kind(stretch))).astype(kind)


def exponential(node: Node) -> tuple[float, float, float]:
    """Return alpha, gamma and stretch of ``gamma * alpha * (exp(x / stretch) - 1)``: Elu, Selu and Celu."""
    if node.op == "Selu":
        return node.number("alpha", 1.6732632423543772), node.number("gamma", 1.0507009873554805), 1.0
    alpha = node.number("alpha", 1.0)
    return alpha, 1.0, alpha if node.op == "Celu" else 1.0


def _gelu(node: Node, x: Array) -> Array:
    if node.text("approximate", "none") == "tanh":
        inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    else:
        inner = _erf(x / math.sqrt(2))
    return (0.5 * x * (1 + inner)).astype(x.dtype)


def reduced(node: Node, x: Array, axes: tuple[int, ...] | None) -> Array:
    """Compute an operator of `REDUCTIONS` over axes; None is none, and leaves x."""
    if axes is None:
        return x
    wide = x.astype(np.float64) if x.dtype.kind == "f" else x
    keep = bool(node.integer("keepdims", 1))
    return np.asarray(REDUCTIONS[node.op](wide, axis=axes, keepdims=keep)).astype(x.dtype)
