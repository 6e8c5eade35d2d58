"""Signals of one dimension, and qonnx's maps with channels last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.draws import RNG
from tests.sw.importers.onnx_graphs import Builder, evaluated, save
from tests.sw.importers.test_onnx_patterns import imported
from tests.sw.importers.test_onnx_pooling import two
from xnorcore.errors import ImportFailedError
from xnorcore.importers import Imported, onnx
from xnorcore.model.layers import Conv2d, Dense, GlobalSum, MaxPool2d
from xnorcore.reference import golden

LAST = "qonnx.custom_op.channels_last"


def same(result: Imported, model: Any, count: int = 40) -> None:
    """Compare with onnx's evaluator; a signal (channels, length) is an image (1, length, channels)."""
    network = result.network
    bits = RNG.integers(0, 2, (count, *network.input.shape), np.uint8)
    bits[0], bits[1] = 0, 1
    x = (2.0 * bits - 1).astype(np.float32)[:, 0].transpose(0, 2, 1)
    theirs = evaluated(model, x).reshape(count, -1)
    ours = network.affine(golden.run(network, bits))
    assert np.allclose(ours, theirs, atol=1e-4) and theirs.std(axis=0).max() > 0


@pytest.mark.parametrize("form", ["plain", "padded", "Pad node", "same", "strided"])
def test_conv1d(tmp_path: Path, form: str) -> None:
    b = Builder((1, 3, 12))
    b.annotation = "BIPOLAR"
    x = two(b, b.norm(b.node("Conv", "x", b.signs(5, 3, 3), b.const(RNG.normal(size=5))), 5))
    more: dict[str, Any] = {
        "plain": {"kernel_shape": [3], "dilations": [1]}, "padded": {"pads": [2, 1]}, "Pad node": {},
        "same": {"auto_pad": "SAME_UPPER"}, "strided": {"strides": [2], "pads": [1, 0]},
    }[form]  # fmt: skip
    if form == "Pad node":
        x = b.node("Pad", x, b.const(np.array([0, 0, 2, 0, 0, 0])), b.const(0.0))
    x = two(b, b.norm(b.node("Conv", x, b.signs(4, 5, 3), **more), 4))
    length = {"plain": 8, "padded": 11, "Pad node": 10, "same": 10, "strided": 5}[form]
    model = b.model(b.node("Gemm", b.node("Flatten", x), b.signs(3, 4 * length), transB=1))
    result = imported(model, tmp_path)
    conv = result.network.layers[1]
    assert isinstance(conv, Conv2d) and conv.kernel == (1, 3) and result.network.shapes[2] == (1, length, 4)
    same(result, model)


@pytest.mark.parametrize("order", ["before", "after"])
def test_max_pooling_of_a_signal(tmp_path: Path, order: str) -> None:
    b = Builder((1, 2, 14))
    b.annotation = "BIPOLAR"
    x = b.node("Conv", "x", b.signs(6, 2, 3))
    pool: dict[str, Any] = {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}
    x = b.norm(b.node("MaxPool", x, **pool), 6) if order == "before" else b.norm(x, 6)
    x = two(b, x)
    x = x if order == "before" else b.node("MaxPool", x, **pool)
    x = b.node("Conv", x, b.signs(4, 6, 2))
    model = b.model(b.node("Gemm", b.node("Flatten", two(b, x)), b.signs(3, 20), transB=1))
    result = imported(model, tmp_path)
    pooling = result.network.layers[1]
    assert isinstance(pooling, MaxPool2d) and pooling.window == (1, 3) and pooling.padding == (0, 0, 1, 1)
    same(result, model)


@pytest.mark.parametrize("how", ["GlobalAveragePool", "AveragePool", "ReduceMean", "ReduceMean, kept"])
def test_averages_of_a_signal(tmp_path: Path, how: str) -> None:
    b = Builder((1, 2, 14))
    b.annotation = "BIPOLAR"
    x = two(b, b.norm(b.node("Conv", "x", b.signs(6, 2, 3)), 6))
    kind: dict[str, Any] = {"kernel_shape": [12]} if how == "AveragePool" else {}
    if how.startswith("ReduceMean"):
        x = b.node("ReduceMean", x, b.const(np.array([-1])), keepdims=int(how.endswith("kept")))
    else:
        x = b.node(how, x, **kind)
    model = b.model(b.node("Gemm", b.node("Flatten", x), b.signs(3, 6), transB=1))
    result = imported(model, tmp_path)
    assert [type(layer) for layer in result.network.layers] == [Conv2d, GlobalSum, Dense]
    same(result, model)


def test_an_image_that_becomes_a_signal(tmp_path: Path) -> None:
    """Rows and channels of an image are the channels of the signal; the image is given as the signal."""
    b = Builder((1, 2, 3, 10))
    x = b.node("Reshape", "x", b.const(np.array([1, 6, 10])))
    x = b.sign(b.node("Conv", b.sign(b.node("Sub", x, b.const(0.5))), b.latent(4, 6, 3)))
    model = b.model(b.node("Gemm", b.node("Flatten", x), b.signs(3, 32), transB=1))
    result = imported(model, tmp_path)
    assert result.network.input.shape == (1, 10, 6)


def test_a_dilated_signal_is_refused(tmp_path: Path) -> None:
    b = Builder((1, 2, 14))
    b.annotation = "BIPOLAR"
    x = two(b, b.node("Conv", "x", b.signs(6, 2, 3), dilations=[2]))
    model = b.model(b.node("Gemm", b.node("Flatten", x), b.signs(3, 60), transB=1))
    with pytest.raises(ImportFailedError, match=r"Conv 'n0': dilations other than 1"):
        onnx.load(save(model, tmp_path))


def last(b: Builder, op: str, x: str, *others: str, **attributes: Any) -> str:
    return b.node(op, x, *others, domain=LAST, **attributes)


def channels_last(start: str) -> tuple[Any, Any]:
    """A network in qonnx's channels-last domain, and the same in standard operators."""
    rng = np.random.default_rng(3)
    weights = [rng.choice([-1.0, 1.0], shape).astype(np.float32) for shape in ((5, 3, 3, 2), (4, 3, 2, 5))]
    head = rng.choice([-1.0, 1.0], (3, 4 * 2 * 3)).astype(np.float32)
    norm = [rng.normal(size=5).astype(np.float32) for _ in range(3)] + [np.full(5, 2.5, np.float32)]
    built = []
    for domain in (LAST, ""):
        b = Builder((1, 8, 9, 2) if start == "last" else (1, 2, 8, 9))
        b.annotation = "BIPOLAR"
        here = domain == LAST
        x = "x"
        if (start == "last") != here:
            x = b.node("Transpose", x, perm=[0, 2, 3, 1] if here else [0, 3, 1, 2])
        axes = (0, 1, 2, 3) if here else (0, 3, 1, 2)
        x = b.node("Conv", x, b.const(weights[0].transpose(axes)), domain=domain, pads=[1, 0, 0, 1])
        x = two(b, b.node("BatchNormalization", x, *map(b.const, norm), domain=domain))
        x = b.node("MaxPool", x, domain=domain, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        x = two(b, b.node("Conv", x, b.const(weights[1].transpose(axes)), domain=domain))
        if not here:
            x = b.node("Transpose", x, perm=[0, 2, 3, 1])
        x = b.node("Gemm", b.node("Reshape", x, b.const(np.array([1, -1]))), b.const(head), transB=1)
        model = b.model(x, imports=False)
        if here:
            model.opset_import.append(helper.make_opsetid(LAST, 1))
        built.append(model)
    return built[0], built[1]


@pytest.mark.parametrize("start", ["last", "first"])
def test_channels_last(tmp_path: Path, start: str) -> None:
    model, plain = channels_last(start)
    result = imported(model, tmp_path)
    network = result.network
    assert network.input.shape == (8, 9, 2)
    bits = RNG.integers(0, 2, (40, 8, 9, 2), np.uint8)
    x = (2.0 * bits - 1).astype(np.float32)
    x = x if start == "last" else x.transpose(0, 3, 1, 2)
    theirs = evaluated(plain, x)
    assert np.array_equal(golden.run(network, bits), theirs) and theirs.std(axis=0).min() > 0


def test_other_operators_with_channels_last_are_refused(tmp_path: Path) -> None:
    b = Builder((1, 8, 9, 2))
    b.annotation = "BIPOLAR"
    model = b.model(last(b, "AveragePool", "x", kernel_shape=[2, 2]), imports=False)
    with pytest.raises(ImportFailedError, match=f"AveragePool 'n0': operator of domain '{LAST}' is not"):
        onnx.load(save(model, tmp_path))
