"""The ends of networks: a convolution averaged over the map, and functions that keep the scores' order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.draws import RNG
from tests.sw.importers.onnx_graphs import Builder, evaluated, save
from tests.sw.importers.test_onnx_patterns import imported
from tests.sw.importers.test_onnx_pooling import two
from xnorcore.errors import ImportFailedError
from xnorcore.importers import Imported, onnx
from xnorcore.model.layers import Conv2d, Dense, GlobalSum
from xnorcore.reference import golden


def scores(result: Imported, model: Any, count: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of the network and of onnx's evaluator, and classes, for random signs and extremes."""
    network = result.network
    bits = RNG.integers(0, 2, (count, *network.input.shape), np.uint8)
    bits[0], bits[1] = 0, 1
    x = (2.0 * bits - 1).astype(np.float32)
    x = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    found = evaluated(model, x)
    raw = golden.run(network, bits)
    return network.affine(raw), found.reshape(count, -1), network.classify(raw)


def averaged(b: Builder, x: str, how: str) -> str:
    if how == "global":
        return b.node("GlobalAveragePool", x)
    if how == "window":
        return b.node("AveragePool", x, kernel_shape=[4, 5])
    if how == "reduce":
        return b.node("ReduceMean", x, b.const(np.array([2, 3])), keepdims=0)
    return b.node("ReduceMean", x, b.const(np.array([-2, -1])), keepdims=1)


@pytest.mark.parametrize("how", ["global", "window", "reduce", "reduce, axes kept"])
@pytest.mark.parametrize("norm", ["none", "before", "behind"])
def test_a_convolution_head_with_global_average(tmp_path: Path, how: str, norm: str) -> None:
    b = Builder((1, 2, 6, 7))
    b.annotation = "BIPOLAR"
    x = two(b, b.norm(b.node("Conv", "x", b.signs(5, 2, 3, 3)), 5))
    x = b.node("Conv", x, b.signs(4, 5, 1, 1, scale=0.5), b.const(RNG.normal(size=4)))
    x = b.norm(x, 4) if norm == "before" else x
    x = averaged(b, x, how)
    x = b.norm(x, 4) if norm == "behind" else x
    model = b.model(b.node("Flatten", x))
    result = imported(model, tmp_path)
    assert [type(layer) for layer in result.network.layers] == [Conv2d, GlobalSum, Dense]
    ours, theirs, classes = scores(result, model)
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert np.array_equal(classes, theirs.argmax(axis=1)) and theirs.std(axis=0).min() > 0


def test_a_head_of_signs(tmp_path: Path) -> None:
    b = Builder((1, 2, 6, 7))
    b.annotation = "BIPOLAR"
    x = two(b, b.norm(b.node("Conv", "x", b.signs(5, 2, 3, 3)), 5))
    x = b.node("GlobalAveragePool", b.node("Conv", x, b.signs(4, 5, 1, 1)))
    model = b.model(two(b, b.node("Sub", b.node("Flatten", x), b.const(0.25))))
    result = imported(model, tmp_path)
    bits = RNG.integers(0, 2, (60, 6, 7, 2), np.uint8)
    x = (2.0 * bits - 1).astype(np.float32).transpose(0, 3, 1, 2)
    theirs = evaluated(model, x)
    assert np.array_equal(golden.run(result.network, bits), theirs > 0) and 0 < (theirs > 0).mean() < 1


@pytest.mark.parametrize(
    ("weights", "attributes", "text"),
    [
        (
            (4, 5, 3, 3),
            {},
            "a convolution of 3 x 3 with stride (1, 1) and padding (0, 0, 0, 0); the device adds",
        ),
        ((4, 5, 1, 1), {"strides": [2, 2]}, "a convolution of 1 x 1 with stride (2, 2)"),
    ],
)
def test_heads_that_the_device_cannot_add_up(
    tmp_path: Path, weights: Any, attributes: Any, text: str
) -> None:
    b = Builder((1, 2, 6, 7))
    b.annotation = "BIPOLAR"
    x = two(b, b.node("Conv", "x", b.signs(5, 2, 3, 3)))
    x = b.node("GlobalAveragePool", b.node("Conv", x, b.signs(*weights), **attributes))
    with pytest.raises(ImportFailedError) as error:
        onnx.load(save(b.model(b.node("Flatten", x)), tmp_path))
    assert "GlobalAveragePool 'n4': averages the sums of Conv 'n3', " in str(error.value)
    assert text in str(error.value)


def ended(outputs: int, *tails: tuple[str, dict[str, Any]], bias: float = 0.0, scale: float = 1.0) -> Any:
    b = Builder((1, 21))
    b.annotation = "BIPOLAR"
    x = two(b, b.node("Gemm", "x", b.signs(16, 21), transB=1))
    x = b.node("Gemm", x, b.signs(outputs, 16, scale=scale), transB=1)
    x = b.node("Add", x, b.const(bias))
    for op, attributes in tails:
        x = b.node(op, x, **attributes)
    return b.model(x)


TAILS = {"Sigmoid": 0.5, "Tanh": 0.0, "Softsign": 0.0, "LeakyRelu": 0.0, "Elu": 0.0}


@pytest.mark.parametrize("op", TAILS)
@pytest.mark.parametrize("bias", [0.0, 2.5, -3.0])
def test_one_output_is_the_sign_of_its_score(tmp_path: Path, op: str, bias: float) -> None:
    model = ended(1, (op, {}), bias=bias, scale=0.25)
    result = imported(model, tmp_path)
    assert result.network.class_count == 2
    assert any("class 1 where its score is above 0" in note for note in result.report.notes)
    ours, theirs, classes = scores(result, model)
    assert np.array_equal(classes, theirs[:, 0] > TAILS[op])
    assert not ours[:, 0].any() and (bias or len(set(classes)) == 2)
    if bias == 0:  # a score of exactly 0 is class 0
        assert (ours[:, 1] == 0).any()


@pytest.mark.parametrize("op", TAILS)
def test_many_outputs_keep_their_order(tmp_path: Path, op: str) -> None:
    model = ended(5, (op, {}), bias=0.5, scale=0.125)
    result = imported(model, tmp_path)
    ours, theirs, classes = scores(result, model)
    assert np.array_equal(classes, theirs.argmax(axis=1))
    assert ours.shape[1] == 5 and any("does not change the order" in note for note in result.report.notes)


def test_one_output_of_a_convolution(tmp_path: Path) -> None:
    b = Builder((1, 2, 6, 6))
    b.annotation = "BIPOLAR"
    x = b.node("Conv", two(b, b.node("Conv", "x", b.signs(5, 2, 3, 3))), b.signs(1, 5, 4, 4))
    model = b.model(b.node("Sigmoid", b.node("Flatten", x)))
    result = imported(model, tmp_path)
    assert [type(layer) for layer in result.network.layers] == [Conv2d, Conv2d]
    _, theirs, classes = scores(result, model)
    assert np.array_equal(classes, theirs[:, 0] > 0.5) and len(set(classes)) == 2


@pytest.mark.parametrize(
    ("outputs", "tails", "text"),
    [
        (3, [("Clip", {})], "Clip 'n5': stands behind the last sums and makes some of them equal"),
        (1, [("Sigmoid", {}), ("ArgMax", {"axis": 1})], "ArgMax 'n6': ranks the one output of Sigmoid 'n5'"),
        (2, [("Sigmoid", {}), ("Sqrt", {})], "Sqrt 'n6'"),
    ],
)
def test_tails_that_are_refused(tmp_path: Path, outputs: int, tails: Any, text: str) -> None:
    with pytest.raises(ImportFailedError) as error:
        onnx.load(save(ended(outputs, *tails), tmp_path))
    assert text in str(error.value)
