"""Every pattern that exporters write becomes a network that the import's own check finds equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.draws import RNG
from tests.sw.importers.onnx_graphs import (
    Builder,
    conv_net,
    dense_net,
    plain,
    reference,
    save,
    script_net,
)
from xnorcore.cli import main
from xnorcore.errors import ImportFailedError, UsageError
from xnorcore.files import xnorfile
from xnorcore.importers import Imported, load, onnx
from xnorcore.model import pixels
from xnorcore.model.layers import Conv2d, Dense, GlobalSum, MaxPool2d
from xnorcore.reference import fast, golden


def imported(model: Any, folder: Path, **options: Any) -> Imported:
    result = onnx.load(save(model, folder), **options)
    assert result.report.check.mismatches == 0
    assert result.report.check.inputs > result.report.check.boundary
    return result


def first(result: Imported) -> Dense | Conv2d:
    layer = result.network.layers[0]
    assert isinstance(layer, (Dense, Conv2d))
    return layer


def bipolar(result: Imported, model: Any) -> None:
    """Compare with onnx's evaluator on random signs; for graphs of standard operators."""
    network = result.network
    bits = RNG.integers(0, 2, (40, network.input.size), np.uint8)
    x = (2.0 * bits - 1).astype(np.float32)
    (y,) = reference(model, x)
    assert np.allclose(network.affine(fast.run(network, bits)), y.reshape(len(y), -1), atol=1e-5)


@pytest.mark.parametrize("listed", [False, True])
def test_dense_net_of_the_dynamo_exporter(tmp_path: Path, listed: bool) -> None:
    result = imported(dense_net(listed), tmp_path)
    assert result.report.format == "qonnx"
    assert [layer.kind for layer in result.report.layers] == ["dense", "dense"]
    assert result.report.layers[0].folded == ("batch norm",)
    assert result.report.layers[0].sign_zero == "+1"
    assert result.report.layers[0].source_nodes == ("n5", "n6", "n7")
    assert result.network.metadata[pixels.KEY] == {"threshold": 128}
    assert result.network.input.shape == (6, 6, 1) and result.network.input.bits == 1


def test_dense_net_of_an_old_file(tmp_path: Path) -> None:
    result = imported(script_net(), tmp_path)
    assert result.network.shapes == ((6, 6, 1), (16,), (10,))
    assert np.allclose(np.asarray(result.network.scale), 1 / np.sqrt(300))


def test_conv_net_with_signed_8_bit_image(tmp_path: Path) -> None:
    result = imported(conv_net(), tmp_path)
    assert result.network.input.bits == 8 and result.network.input.shape == (8, 8, 3)
    (table,) = pixels.rule(result.network).tables
    p = np.arange(256)
    expected = np.clip(np.rint((p / np.float32(255) * 2 - 1) * 128), -128, 127) + 128
    assert np.array_equal(table, expected)
    assert [type(layer) for layer in result.network.layers] == [Conv2d, Conv2d, MaxPool2d, Dense]
    assert np.all(np.asarray(result.network.scale) == -0.25)


def test_pooling_before_a_batch_norm_with_negative_gamma(tmp_path: Path) -> None:
    result = imported(conv_net(pool_first=True), tmp_path)
    layer = result.report.layers[1]
    assert layer.pool_order == "before batch norm" and 0 < layer.negative_gamma < 8


@pytest.mark.parametrize("pool_first", [False, True])
def test_zero_padding_of_bits(tmp_path: Path, pool_first: bool) -> None:
    result = imported(conv_net(pool_first, pads=1), tmp_path)
    assert result.report.layers[1].padding == "zero"


def test_scores_are_those_of_the_executor(tmp_path: Path) -> None:
    """Once more, by hand: the scores of a plain graph, from onnx's evaluator alone."""
    b = Builder((1, 9))
    b.annotation = "BIPOLAR"
    x = b.norm(b.node("Gemm", "x", b.signs(7, 9), transB=1), 7)
    x = b.node("Where", b.node("GreaterOrEqual", x, b.const(0.0)), b.const(1.0), b.const(-1.0))
    x = b.node(
        "Gemm",
        x,
        b.signs(5, 7, scale=[[0.5], [1.0], [1.5], [2.0], [3.0]]),
        b.const([1.0, 2, 3, 4, 5]),
        transB=1,
    )
    model = b.model(x)
    result = imported(model, tmp_path)
    bipolar(result, model)
    assert np.array_equal(np.asarray(result.network.scale), [0.5, 1, 1.5, 2, 3])
    assert np.array_equal(np.asarray(result.network.offset), [1, 2, 3, 4, 5])
    assert result.report.layers[1].folded == ("bias", "weight scale")


def where(op: str, a: float, b: float) -> Any:
    return lambda g, z: g.node("Where", g.node(op, z, g.const(0.0)), g.const(a), g.const(b))


def patched(g: Builder, z: str) -> str:
    s = g.node("Sign", z)
    return g.node("Where", g.node("Equal", s, g.const(0.0)), g.const(1.0), s)


def cast(g: Builder, z: str) -> str:
    bit = g.node("Cast", g.node("Greater", z, g.const(0.0)), to=TensorProto.FLOAT)
    return g.node("Sub", g.node("Mul", bit, g.const(2.0)), g.const(1.0))


SIGNS = {
    ">=": (where("GreaterOrEqual", 1, -1), 0),
    ">": (where("Greater", 1, -1), 1),
    "<": (where("Less", -1, 1), 0),
    "<=": (where("LessOrEqual", -1, 1), 1),
    "reversed": (
        lambda g, z: g.node("Where", g.node("Less", g.const(0.0), z), g.const(1.0), g.const(-1.0)),
        1,
    ),
    "sign patched at 0": (patched, 0),
    "cast": (cast, 1),
    "sign, plus a little, sign": (
        lambda g, z: g.node("Sign", g.node("Add", g.node("Sign", z), g.const(0.1))),
        0,
    ),
    "not": (
        lambda g, z: g.node(
            "Where", g.node("Not", g.node("Less", z, g.const(0.0))), g.const(1.0), g.const(-1.0)
        ),
        0,
    ),
    "clip": (
        lambda g, z: where("GreaterOrEqual", 1, -1)(g, g.node("Clip", z, g.const(-1.0), g.const(1.0))),
        0,
    ),
    "tanh": (lambda g, z: where("Greater", 1, -1)(g, g.node("Tanh", z)), 1),
    "scaled": (where("GreaterOrEqual", 0.75, -0.75), 0),
    "dropout": (lambda g, z: g.node("Identity", g.node("Dropout", where("Greater", 1, -1)(g, z))), 1),
}


@pytest.mark.parametrize("key", SIGNS)
def test_signs_of_plain_graphs(tmp_path: Path, key: str) -> None:
    """28 taps, so that a sum of 0 is reached: the rule for 0 is in the threshold, 0 or 1."""
    write, threshold = SIGNS[key]
    model = plain(write, taps=28)
    result = imported(model, tmp_path)
    assert set(np.asarray(first(result).thresholds).tolist()) == {threshold}
    assert result.report.layers[0].sign_zero == ("-1" if threshold else "+1")
    bipolar(result, model)


@pytest.mark.parametrize("op", ["Less", "GreaterOrEqual"])
def test_inverted_sign(tmp_path: Path, op: str) -> None:
    model = plain(where(op, 1.0, -1.0) if op == "Less" else where(op, -1.0, 1.0), taps=28)
    bipolar(imported(model, tmp_path), model)


def test_torch_sign_with_an_odd_number_of_taps_cannot_reach_zero(tmp_path: Path) -> None:
    model = plain(lambda g, z: g.node("Sign", z), taps=27)
    result = imported(model, tmp_path)
    assert result.report.layers[0].sign_zero == "0, not reachable"
    bipolar(result, model)


def test_torch_sign_with_an_even_number_of_taps_is_refused(tmp_path: Path) -> None:
    path = save(plain(lambda g, z: g.node("Sign", z), taps=28), tmp_path)
    with pytest.raises(
        ImportFailedError, match=r"Gemm 'n0': channel 0: a sum of 0 gives exactly 0 .*sign\(0\)"
    ):
        onnx.load(path)


def test_torch_sign_behind_a_batch_norm_is_proved_channel_by_channel(tmp_path: Path) -> None:
    b = Builder((1, 28))
    b.annotation = "BIPOLAR"
    x = b.node("Sign", b.norm(b.node("Gemm", "x", b.signs(8, 28), transB=1), 8))
    model = b.model(b.node("Gemm", x, b.signs(3, 8), transB=1))
    bipolar(imported(model, tmp_path), model)


@pytest.mark.parametrize("levels", [(2.0, -1.0), (1.0, 0.0), (0.5, 0.25), (-1.0, 2.0)])
def test_multithreshold_between_layers(tmp_path: Path, levels: tuple[float, float]) -> None:
    scale, bias = levels
    b = Builder((1, 20), domain="finn.custom_op.general")
    b.annotation = "BIPOLAR"
    x = b.node("MatMul", "x", b.signs(20, 9))
    x = b.quant(
        "MultiThreshold",
        x,
        b.const(RNG.integers(-6, 6, (9, 1)).astype(np.float32)),
        out_scale=scale,
        out_bias=bias,
    )
    result = imported(b.model(b.node("MatMul", x, b.signs(9, 4))), tmp_path)
    assert result.network.scale is None or np.all(result.network.scale == abs(scale) / 2)


def test_multithreshold_of_a_map_and_of_the_image(tmp_path: Path) -> None:
    b = Builder((1, 2, 5, 5))
    x = b.quant("MultiThreshold", "x", b.const([np.linspace(0.05, 0.95, 15)]), out_scale=1.0, out_bias=-7.0)
    x = b.node("Conv", x, b.signs(4, 2, 3, 3))
    x = b.quant("MultiThreshold", x, b.const(RNG.normal(size=(4, 1)) * 20), out_scale=2.0, out_bias=-1.0)
    x = b.node("Gemm", b.node("Flatten", x), b.signs(3, 36), transB=1)
    result = imported(b.model(x), tmp_path)
    assert result.network.input.bits == 4
    (table,) = pixels.rule(result.network).tables
    assert table[0] == 0 and table[255] == 15 and (np.diff(table.astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("signed", "narrow", "bits", "mode", "zero"),
    [(1, 1, 8, "FLOOR", 0.0), (0, 0, 8, "CEIL", 0.0), (0, 1, 4, "HALF_UP", 3.0), (1, 0, 2, "DOWN", 0.5),
     (1, 1, 3, "UP", 0.0), (0, 0, 1, "HALF_DOWN", 0.0), (1, 0, 1, "ROUND", -1.0),
     (1, 0, 4, "ROUND_TO_ZERO", -3.5), (1, 0, 6, "DPU", -31.5)],
)  # fmt: skip
def test_quantised_images(
    tmp_path: Path, signed: int, narrow: int, bits: int, mode: str, zero: float
) -> None:
    b = Builder(("batch", 1, 6, 6))
    scale = 1.0 / (1 << bits)
    x = b.quant(
        "Quant", "x", b.const(scale), b.const(zero), b.const(float(bits)), signed=signed, narrow=narrow,
        rounding_mode=mode,
    )  # fmt: skip
    x = b.sign(b.norm(b.node("Conv", x, b.signs(5, 1, 3, 3), b.const(RNG.normal(size=5))), 5))
    x = b.node("MatMul", b.node("Flatten", x), b.signs(80, 3))
    result = imported(b.model(x), tmp_path)
    assert result.network.input.bits == bits
    assert "bias" in result.report.layers[0].folded
    low = 0 if not signed else -(1 << bits - 1) + narrow
    high = low + (1 << bits) - 1 - narrow
    y = np.clip(np.arange(256, dtype=np.float32) / np.float32(255) / np.float32(scale) + zero, low, high)
    rounded = {
        "FLOOR": np.floor(y), "CEIL": np.ceil(y), "HALF_UP": np.floor(np.abs(y) + 0.5), "DOWN": np.trunc(y),
        "UP": np.sign(y) * np.ceil(np.abs(y)), "HALF_DOWN": np.ceil(np.abs(y) - 0.5), "ROUND": y >= 0,
        "ROUND_TO_ZERO": np.trunc(y), "DPU": np.sign(y) * np.ceil(np.abs(y) - 0.5),
    }[mode]  # fmt: skip
    (table,) = pixels.rule(result.network).tables
    assert np.array_equal(table, rounded - low if bits > 1 else rounded)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER", [1, 0, 2, 1], [0, 2, 0, 1]])
def test_padding_on_each_side(tmp_path: Path, mode: Any) -> None:
    b = Builder((1, 2, 6, 7))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    same = isinstance(mode, str)
    pads: dict[str, Any] = {"auto_pad": mode} if same else {"pads": mode}
    x = b.sign(b.norm(b.node("Conv", x, b.latent(4, 2, 3, 3), strides=[2, 3], **pads), 4))
    size = b.node("Reshape", x, b.const(np.array([1, -1])))
    values = (
        4 * 3 * 3
        if same
        else 4 * (((6 + mode[0] + mode[2] - 3) // 2 + 1) * ((7 + mode[1] + mode[3] - 3) // 3 + 1))
    )
    result = imported(b.model(b.node("Gemm", size, b.latent(3, values), transB=1)), tmp_path)
    expected = {"SAME_UPPER": (0, 1, 1, 1), "SAME_LOWER": (1, 0, 1, 1)}
    padding = expected[mode] if same else (mode[0], mode[2], mode[1], mode[3])
    assert first(result).padding == padding  # type: ignore[union-attr]


def test_one_bit_quant_between_layers(tmp_path: Path) -> None:
    """x / 2 + 1.25 >= 0 is x >= -2.5."""
    b = Builder((1, 9))
    z = b.node("Gemm", b.sign(b.node("Sub", "x", b.const(0.5))), b.latent(5, 9), transB=1)
    x = b.quant("Quant", z, b.const(2.0), b.const(1.25), b.const(1.0), signed=1, narrow=0)
    result = imported(b.model(b.node("Gemm", x, b.latent(3, 5), transB=1)), tmp_path)
    assert set(np.asarray(first(result).thresholds).tolist()) == {-2}
    assert np.all(np.asarray(result.network.scale) == 2)


@pytest.mark.parametrize("order", ["norm, pool", "pool, scale", "norm, pool, scale"])
def test_pooling_between_maps_and_sign(tmp_path: Path, order: str) -> None:
    b = Builder((1, 2, 6, 6))
    x = b.node("Conv", b.sign(b.node("Sub", "x", b.const(0.5))), b.latent(8, 2, 3, 3))
    for step in order.split(", "):
        if step == "norm":
            x = b.norm(x, 8)
        elif step == "pool":
            x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        else:
            scale = np.array([1, -1, 0.5, -2, 1, -1, 3, -0.25]).reshape(1, 8, 1, 1)
            x = b.node("Add", b.node("Mul", x, b.const(scale)), b.const(0.75))
    x = b.node("Flatten", where("Greater", -1, 1)(b, x) if "scale" in order else b.sign(x))
    result = imported(b.model(b.node("Gemm", x, b.latent(3, 32), transB=1)), tmp_path)
    assert result.report.layers[0].pool_order == "before sign"


def test_sign_of_values_that_are_negated(tmp_path: Path) -> None:
    b = Builder((1, 9))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    z = b.norm(b.node("Gemm", x, b.latent(6, 9), transB=1), 6)
    x = b.sign(b.node("Neg", b.node("Reshape", b.sign(z), b.const(np.array([1, 6])))), 0.5)
    imported(b.model(b.node("Gemm", x, b.latent(3, 6), transB=1)), tmp_path)


@pytest.mark.parametrize(("value", "kind"), [(-1.0, "-1"), (1.0, "+1"), (0.0, "zero")])
def test_pad_node_in_front_of_a_convolution(tmp_path: Path, value: float, kind: str) -> None:
    b = Builder((1, 1, 5, 6))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    x = b.node("Pad", x, b.const(np.array([0, 0, 1, 2, 0, 0, 0, 1])), b.const(value))
    x = b.sign(b.norm(b.node("Conv", x, b.latent(4, 1, 3, 3)), 4))
    result = imported(b.model(b.node("Gemm", b.node("Flatten", x), b.latent(3, 112), transB=1)), tmp_path)
    assert result.report.layers[0].padding == kind
    assert first(result).padding == (1, 0, 2, 1)  # type: ignore[union-attr]


def test_zero_padding_of_0_and_1_is_padding_with_minus_1(tmp_path: Path) -> None:
    b = Builder((1, 1, 5, 5))
    x = b.quant("MultiThreshold", "x", b.const([[0.5]]))
    x = b.sign(b.norm(b.node("Conv", x, b.latent(4, 1, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]), 4))
    result = imported(b.model(b.node("Gemm", b.node("Flatten", x), b.latent(3, 36), transB=1)), tmp_path)
    assert first(result).pad_value == -1  # type: ignore[union-attr]


def test_weight_scale_per_channel_and_negative_activation_scale(tmp_path: Path) -> None:
    b = Builder((1, 1, 6, 6))
    x = b.sign(b.node("Sub", "x", b.const(0.5)), -0.5)
    scale = b.const((RNG.random((4, 1, 1, 1)) + 0.1).astype(np.float32))
    w = b.quant("BipolarQuant", b.const(RNG.normal(size=(4, 1, 3, 3))), scale)
    x = b.sign(b.norm(b.node("Conv", x, w), 4, 1.0), 0.25)
    x = b.node("Mul", b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), b.const(3.0))
    result = imported(b.model(b.node("Gemm", b.node("Flatten", x), b.latent(3, 16), transB=1)), tmp_path)
    assert "weight scale" in result.report.layers[0].folded
    assert np.all(result.network.scale == 0.75)


@pytest.mark.parametrize("reduce", [False, True])
def test_global_average_in_front_of_the_last_layer(tmp_path: Path, reduce: bool) -> None:
    b = Builder((1, 2, 6, 6))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    x = b.sign(b.norm(b.node("Conv", x, b.latent(6, 2, 3, 3)), 6))
    if reduce:
        x = b.node("ReduceMean", x, b.const(np.array([2, 3])), keepdims=0)
    else:
        x = b.node("Flatten", b.node("GlobalAveragePool", x))
    result = imported(b.model(b.node("Gemm", x, b.latent(4, 6), transB=1)), tmp_path)
    assert isinstance(result.network.layers[1], GlobalSum)
    assert np.all(result.network.scale == 1 / 16)


@pytest.mark.parametrize("end", ["ArgMax", "TopK", "Softmax", "Softmax, ArgMax"])
def test_ends(tmp_path: Path, end: str) -> None:
    b = Builder((1, 15))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    x = b.norm(b.node("Gemm", x, b.latent(6, 15), transB=1), 6)
    outputs = []
    for op in end.split(", "):
        if op == "TopK":
            x = b.node("TopK", x, b.const(np.array([1])), outputs=2)
            outputs = [x, f"{x}_1"]
        else:
            x = b.node(op, x, axis=1)
            outputs = [x]
    result = imported(b.model(*outputs), tmp_path)
    assert any("left out" in note for note in result.report.notes)
    assert result.network.class_count == 6


def test_one_bit_outputs(tmp_path: Path) -> None:
    b = Builder((1, 15))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    result = imported(b.model(b.sign(b.norm(b.node("Gemm", x, b.latent(6, 15), transB=1), 6))), tmp_path)
    assert result.network.output_kind == "bits"


def test_last_convolution(tmp_path: Path) -> None:
    b = Builder((1, 1, 5, 5))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    x = b.sign(b.norm(b.node("Conv", x, b.latent(4, 1, 3, 3)), 4))
    x = b.norm(b.node("Conv", x, b.latent(3, 4, 2, 2)), 3)
    result = imported(b.model(b.node("Flatten", x)), tmp_path)
    assert result.network.shapes[-1] == (2, 2, 3)


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT8])
def test_integer_images(tmp_path: Path, kind: int) -> None:
    b = Builder((1, 2, 4, 4), kind=kind)
    x = b.node("Cast", "x", to=TensorProto.FLOAT)
    x = b.node("Div", b.node("Sub", x, b.const(3.0)), b.const(7.0))
    x = b.sign(b.norm(b.node("Conv", x, b.latent(5, 2, 2, 2)), 5, 50.0))
    result = imported(b.model(b.node("Gemm", b.node("Flatten", x), b.latent(3, 45), transB=1)), tmp_path)
    assert result.network.input.bits == 8
    assert result.report.layers[0].folded[0] == "input scale and offset"


@pytest.mark.parametrize("declared", ["pixels", "uint8", "uint3", "int4", "bipolar", "uint1"])
def test_declared_images(tmp_path: Path, declared: str) -> None:
    b = Builder((1, 10))
    x = b.norm(b.node("Gemm", "x", b.signs(6, 10), transB=1), 6)
    x = b.node("Where", b.node("Greater", x, b.const(0.0)), b.const(1.0), b.const(-1.0))
    model = b.model(b.node("Gemm", x, b.signs(3, 6), transB=1))
    with pytest.raises(ImportFailedError, match=r"input 'x' holds float32.*--inputs .*bipolar, pixels"):
        onnx.load(save(model, tmp_path))
    imported(model, tmp_path, inputs=declared)


def test_channels_last_image_and_flattened_order(tmp_path: Path) -> None:
    b = Builder((1, 5, 4, 3))
    x = b.sign(b.node("Sub", b.node("Transpose", "x", perm=[0, 3, 1, 2]), b.const(0.5)))
    x = b.sign(b.norm(b.node("Conv", x, b.latent(4, 3, 2, 2)), 4))
    x = b.node("Reshape", b.node("Transpose", x, perm=[0, 2, 3, 1]), b.const(np.array([0, -1])))
    result = imported(b.model(b.node("Gemm", x, b.latent(3, 48), transB=1)), tmp_path)
    assert result.network.input.shape == (5, 4, 3)


@pytest.mark.parametrize("batch", [4, "n"])
def test_batches(tmp_path: Path, batch: Any) -> None:
    b = Builder((batch, 1, 4, 4))
    x = b.sign(b.node("Sub", "x", b.const(0.5)))
    x = b.node("Reshape", x, b.const(np.array([4 if batch == 4 else 0, 16])))
    imported(b.model(b.node("Gemm", x, b.latent(3, 16), transB=1)), tmp_path)


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    model = dense_net()
    expected = imported(model, tmp_path).network
    data = b""
    for tensor in model.graph.initializer:
        raw = numpy_helper.to_array(tensor).tobytes()
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "w/net.data"), ("offset", len(data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        tensor.ClearField("raw_data")
        data += raw
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "net.data").write_bytes(data)
    assert imported(model, tmp_path).network == expected


def test_nodes_in_any_order_and_dead_nodes(tmp_path: Path) -> None:
    model = dense_net()
    expected = imported(model, tmp_path).network
    nodes = list(model.graph.node)[::-1]
    model.graph.ClearField("node")
    model.graph.node.extend([*nodes, helper.make_node("Relu", ["x"], ["unused"], name="dead")])
    assert imported(model, tmp_path).network == expected


def test_golden_agrees_and_names(tmp_path: Path) -> None:
    network = imported(conv_net(True, 1), tmp_path, name="mine").network
    images = RNG.integers(0, 256, (6, *network.input.shape))
    assert np.array_equal(golden.run(network, images), fast.run(network, images))
    assert network.name == "mine"
    assert onnx.load(save(dense_net(), tmp_path, "other.onnx")).network.name == "other"


def test_command_and_meaning_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    b = Builder((1, 10))
    x = b.sign(b.norm(b.node("Gemm", "x", b.signs(6, 10), transB=1), 6))
    path = save(b.model(b.node("Gemm", x, b.signs(3, 6), transB=1)), tmp_path)
    output = tmp_path / "net.xnor"
    assert main(["import", str(path), "-o", str(output)]) == 2
    assert "say what it holds with --inputs" in capsys.readouterr().err and not output.exists()
    assert main(["import", str(path), "-o", str(output), "--inputs", "uint4", "--report"]) == 0
    assert "Gemm" not in capsys.readouterr().err and xnorfile.load(output).input.bits == 4
    with pytest.raises(UsageError, match=r"is no \.onnx file, whose images it describes"):
        load(tmp_path, inputs="uint4")
