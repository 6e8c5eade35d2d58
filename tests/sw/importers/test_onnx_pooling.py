"""Max pooling of bits with any window, stride and padding; ceil_mode; pools of one dimension."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.draws import RNG
from tests.sw.importers.onnx_graphs import Builder, evaluated
from tests.sw.importers.test_onnx_patterns import imported
from xnorcore.model.layers import MaxPool2d
from xnorcore.reference import golden

KINDS: dict[str, tuple[dict[str, Any], tuple[int, int, int, int]]] = {
    "padded": ({"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}, (1, 1, 1, 1)),
    "four": ({"kernel_shape": [4, 4], "strides": [4, 4]}, (0, 0, 0, 0)),
    "seven": ({"kernel_shape": [7, 7], "strides": [3, 2], "pads": [3, 2, 1, 0]}, (3, 1, 2, 0)),
    "stride of 1": ({"kernel_shape": [2, 3]}, (0, 0, 0, 0)),
    "same": ({"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, (1, 1, 0, 1)),
    "same, lower": ({"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}, (1, 1, 1, 0)),
    "ceil": ({"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, (0, 1, 0, 1)),
    "ceil of what fits": ({"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, (0, 0, 0, 0)),
    "ceil, padded": (
        {"kernel_shape": [3, 3], "strides": [3, 3], "pads": [1, 1, 1, 1], "ceil_mode": 1}, (1, 2, 1, 2),
    ),
    "ceil, last window in the padding": (
        {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1}, (0, 1, 0, 1),
    ),
}  # fmt: skip


def two(b: Builder, x: str) -> str:
    """A sign of standard operators."""
    return b.node("Where", b.node("GreaterOrEqual", x, b.const(0.0)), b.const(1.0), b.const(-1.0))


def pooled(kind: dict[str, Any], order: str, values: int, *, pad: bool = False) -> Any:
    """A 9 x 9 map of bits that are mostly 0, pooled before or behind its sign, and a dense layer."""
    b = Builder((1, 2, 11, 11))
    b.annotation = "BIPOLAR"
    x = b.node("Conv", "x", b.signs(5, 2, 3, 3))
    if order == "before":
        x = two(b, b.norm(b.node("MaxPool", x, **kind), 5))
    else:
        rise = b.node("Mul", x, b.const(RNG.choice([-1.0, 1.0], (1, 5, 1, 1))))
        x = two(b, b.node("Sub", rise, b.const(8.5)))
        if pad:
            x = b.node("Pad", x, b.const(np.array([0, 0, 1, 2, 0, 0, 0, 1])), b.const(-1.0))
        x = b.node("MaxPool", x, **kind)
    return b.model(b.node("Gemm", b.node("Flatten", x), b.signs(4, values), transB=1))


def values_of(kind: dict[str, Any], padding: tuple[int, int, int, int]) -> int:
    (kh, kw), (sy, sx) = kind["kernel_shape"], kind.get("strides", (1, 1))
    top, bottom, left, right = padding
    return 5 * ((9 + top + bottom - kh) // sy + 1) * ((9 + left + right - kw) // sx + 1)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("name", KINDS)
def test_pooling(tmp_path: Path, name: str, order: str) -> None:
    kind, padding = KINDS[name]
    model = pooled(kind, order, values_of(kind, padding))
    result = imported(model, tmp_path)
    pool = result.network.layers[1]
    assert isinstance(pool, MaxPool2d) and pool.padding == padding
    assert result.report.layers[1].padding == ("-1" if any(padding) else None)
    if order == "after":
        bits = golden.layers(result.network, RNG.integers(0, 2, (20, 242), np.uint8))[1]
        assert 0.02 < bits.mean() < 0.98
    if "auto_pad" in kind:  # onnx's own pooling knows no SAME_LOWER
        (node,) = (node for node in model.graph.node if node.op_type == "MaxPool")
        del node.attribute[:]
        top, bottom, left, right = padding
        explicit = {**kind, "pads": [top, left, bottom, right]}
        del explicit["auto_pad"]
        node.attribute.extend(helper.make_attribute(key, value) for key, value in explicit.items())
    bipolar_map(result, model)


def test_a_pad_node_with_the_lower_value_is_padding_of_the_pooling(tmp_path: Path) -> None:
    kind = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 0, 1]}
    padding = (2, 0, 2, 2)
    model = pooled(kind, "after", values_of(kind, padding), pad=True)
    result = imported(model, tmp_path)
    pool = result.network.layers[1]
    assert isinstance(pool, MaxPool2d) and pool.padding == padding
    bipolar_map(result, model)


def bipolar_map(result: Any, model: Any) -> None:
    """Compare with onnx's evaluator on random signs, all dark and all bright."""
    network = result.network
    bits = RNG.integers(0, 2, (20, *network.input.shape), np.uint8)
    bits[0], bits[1] = 0, 1
    x = (2.0 * bits - 1).astype(np.float32).transpose(0, 3, 1, 2)
    y = evaluated(model, x)
    assert np.allclose(network.affine(golden.run(network, bits)), y.reshape(len(y), -1), atol=1e-5)
