"""Pixels become inputs as in the source: accuracy against an execution of the graph that shares nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from tests.sw.importers.onnx_graphs import QONNX, Builder, save
from xnorcore.cli import main
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import ImportFailedError, InputError, UsageError
from xnorcore.files import xnorfile
from xnorcore.importers import onnx
from xnorcore.importers.onnx import image
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model import pixels
from xnorcore.model.layers import Conv2d
from xnorcore.reference import golden

H, W = 5, 6
COUNT = 120


class Quant(OpRun):
    """Unsigned or signed, rounded half to even: the graphs here have no other."""

    op_domain = QONNX

    def _run(self, x: Any, scale: Any, zero: Any, bits: Any, **attributes: Any) -> Any:
        width, signed = int(bits), attributes.get("signed", 1)
        low = -(2 ** (width - 1)) if signed else 0
        q = np.clip(np.round(x / scale + zero), low, low + 2**width - 1)
        return (((q - zero) * scale).astype(np.float32),)


class MultiThreshold(OpRun):
    """Counts of the thresholds of the channel, axis 1, that are not above the value."""

    op_domain = QONNX

    def _run(self, x: Any, thresholds: Any, **attributes: Any) -> Any:
        return ((x[..., np.newaxis] >= thresholds[:, np.newaxis, np.newaxis]).sum(-1).astype(np.float32),)


def front(b: Builder, x: str, kind: str, shape: Any, whole: Any) -> str:
    """What stands in front of the quantiser; `shape` broadcasts the channels' constants, `whole` is all."""
    rng = np.random.default_rng(3)
    mean, deviation = [0.49, 0.3, 0.62], [0.24, 0.11, 0.4]
    channels = int(np.prod(shape))
    m, s = (np.array(values[:channels], np.float32).reshape(shape) for values in (mean, deviation))
    if kind == "sub, div":
        return b.node("Div", b.node("Sub", x, b.const(m)), b.const(s))
    if kind == "mul, add":
        return b.node("Add", b.node("Mul", x, b.const(1 / s)), b.const(-m / s))
    if kind == "falling":
        return b.node("Div", b.node("Sub", b.const(m), x), b.const(s))
    if kind == "norm":
        ones, zeros = np.ones(channels), np.zeros(channels)
        return b.node("BatchNormalization", x, *map(b.const, (ones, zeros, m.ravel(), s.ravel() ** 2)))
    assert kind == "mean image"
    image = rng.random((1, *whole), np.float32) * 0.8 + 0.1
    return b.node("Sub", x, b.const(image))


def graph(kind: str, bits: int, channels: int = 3, last: bool = False) -> Any:
    """An image, what stands in front, a quantiser, and one layer, that gives scores."""
    rng = np.random.default_rng(channels)
    shape = (H, W, channels) if last else (channels, H, W)
    b = Builder((1, *shape))
    x = front(b, "x", kind, (channels,) if last else (1, channels, 1, 1), shape)
    if bits == 1:
        x = b.node("Where", b.node("GreaterOrEqual", x, b.const(0.0)), b.const(1.0), b.const(-1.0))
    else:
        scale = 1 / 64 if kind != "mean image" else 1 / 128  # exact, so that ties are ties in floats too
        x = b.quant("Quant", x, b.const(scale), b.const(0.0), b.const(float(bits)), signed=1, narrow=0)
    w = rng.choice([-1.0, 1.0], (channels * H * W, 10))
    return b.model(b.node("MatMul", b.node("Flatten", x), b.const(w)))


def real(p: NDArray[Any], last: bool = False) -> NDArray[np.float32]:
    x = p.astype(np.float32)
    return x if last else x.transpose(0, 3, 1, 2)


def accuracy(network: Any, p: NDArray[Any], labels: NDArray[Any], folder: Path, capsys: Any) -> Any:
    """What `eval` says, of the network written to a file and read again."""
    xnorfile.save(network, folder / "net.xnor")
    np.savez(folder / "data.npz", test_images=p, test_labels=labels)
    capsys.readouterr()
    code = main(["eval", str(folder / "net.xnor"), "--data", str(folder / "data.npz"), "--json"])
    out, err = capsys.readouterr()
    assert code in (0, 2), err
    return json.loads(out) if code == 0 else err


def source_labels(model: Any, x: NDArray[Any]) -> NDArray[np.uint8]:
    session = ReferenceEvaluator(model, new_ops=[Quant, MultiThreshold])
    outputs: list[Any] = [session.run(None, {"x": row[np.newaxis]}) for row in x]
    scores = np.concatenate([each[0] for each in outputs])
    return scores.argmax(axis=1).astype(np.uint8)


def images(channels: int = 3) -> NDArray[np.uint8]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (COUNT, H, W, channels)).astype(np.uint8)


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("kind", ["sub, div", "mul, add", "falling", "norm", "mean image"])
def test_rules_of_channels_and_places(tmp_path: Path, capsys: Any, kind: str, bits: int) -> None:
    model, p = graph(kind, bits), images()
    network = onnx.load(save(model, tmp_path)).network
    stored = network.metadata[pixels.KEY]
    assert stored["of"] == ("value" if kind == "mean image" else "channel")
    labels = source_labels(model, real(p) / np.float32(255))
    value = accuracy(network, p, labels, tmp_path, capsys)
    assert value["accuracy"] == 1.0 and f"for each {stored['of']}" in value["pixels"]
    # With one table for all channels, a third or more of the answers would be others.
    rule = pixels.rule(network)
    wrong = rule.tables[0][p.reshape(COUNT, -1)]
    assert (wrong != rule.values(p)).mean() > 0.05


@pytest.mark.parametrize("steps", [1, 15, 255])
def test_thresholds_of_each_channel(tmp_path: Path, capsys: Any, steps: int) -> None:
    rng = np.random.default_rng(steps)
    b = Builder((1, 3, H, W))
    x = b.quant("MultiThreshold", "x", b.const(np.sort(rng.random((3, steps)), axis=1)))
    w = rng.choice([-1.0, 1.0], (3 * H * W, 10))
    model, p = b.model(b.node("MatMul", b.node("Flatten", x), b.const(w))), images()
    network = onnx.load(save(model, tmp_path)).network
    assert network.metadata[pixels.KEY]["of"] == "channel"
    labels = source_labels(model, real(p) / np.float32(255))
    assert accuracy(network, p, labels, tmp_path, capsys)["accuracy"] == 1.0


@pytest.mark.parametrize("bits", [1, 8])
def test_channels_last(tmp_path: Path, capsys: Any, bits: int) -> None:
    model, p = graph("sub, div", bits, last=True), images()
    network = onnx.load(save(model, tmp_path)).network
    assert network.input.shape == (H, W, 3)
    assert network.metadata[pixels.KEY]["of"] == "channel"
    labels = source_labels(model, real(p, last=True) / np.float32(255))
    assert accuracy(network, p, labels, tmp_path, capsys)["accuracy"] == 1.0


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
UNITS = {
    "pixels": lambda p: p / np.float32(255),
    "pixels/127.5-1": lambda p: p / np.float32(127.5) - np.float32(1),
    "mean=0.485,0.456,0.406:std=0.229,0.224,0.225": lambda p: (
        (p / np.float32(255) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    ),
    "mean=0.5:std=0.25": lambda p: (p / np.float32(255) - np.float32(0.5)) / np.float32(0.25),
    "mean=0.4,0.5,0.6:std=0.25": lambda p: (
        (p / np.float32(255) - np.array([0.4, 0.5, 0.6], np.float32)) / np.float32(0.25)
    ),
}


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("inputs", UNITS)
def test_declared_units_in_front_of_a_quantiser(tmp_path: Path, capsys: Any, inputs: str, bits: int) -> None:
    b = Builder((1, 3, H, W))
    x = b.node("Sub", "x", b.const(0.1))
    if bits == 1:
        x = b.node("Where", b.node("Greater", x, b.const(0.0)), b.const(1.0), b.const(-1.0))
    else:
        x = b.quant("Quant", x, b.const(1 / 64), b.const(0.0), b.const(8.0), signed=1, narrow=0)
    w = np.random.default_rng(5).choice([-1.0, 1.0], (3 * H * W, 10))
    model, p = b.model(b.node("MatMul", b.node("Flatten", x), b.const(w))), images()
    result = onnx.load(save(model, tmp_path), inputs=inputs)
    labels = source_labels(model, UNITS[inputs](p.astype(np.float32)).transpose(0, 3, 1, 2))
    assert accuracy(result.network, p, labels, tmp_path, capsys)["accuracy"] == 1.0
    assert "--inputs says otherwise" not in result.report.notes[-1]


@pytest.mark.parametrize("inputs", ["pixels", "pixels/127.5-1", "mean=0.5:std=0.25", "uint8"])
def test_declared_units_in_front_of_weights(tmp_path: Path, capsys: Any, inputs: str) -> None:
    b = Builder((1, 3, H, W))
    rng = np.random.default_rng(6)
    w, bias = rng.choice([-1.0, 1.0], (3 * H * W, 10)), rng.normal(size=10)
    x = b.node("Add", b.node("MatMul", b.node("Flatten", "x"), b.const(w)), b.const(bias))
    model, p = b.model(x), images()
    network = onnx.load(save(model, tmp_path), inputs=inputs).network
    units = {**UNITS, "uint8": lambda p: p}
    labels = source_labels(model, units[inputs](p.astype(np.float32)).transpose(0, 3, 1, 2))
    assert accuracy(network, p, labels, tmp_path, capsys)["accuracy"] == 1.0


def units_net(write: Any, kind: int = TensorProto.FLOAT) -> Any:
    b = Builder((1, 1, H, W), kind=kind)
    w = np.random.default_rng(7).choice([-1.0, 1.0], (H * W, 10))
    return b, lambda x: b.model(b.node("MatMul", b.node("Flatten", x), b.const(w)))


def where(b: Builder, op: str, x: str, at: float) -> str:
    return b.node("Where", b.node(op, x, b.const(at)), b.const(1.0), b.const(-1.0))


def quant8(b: Builder, x: str) -> str:
    return b.quant("Quant", x, b.const(1 / 255), b.const(0.0), b.const(8.0), signed=0, narrow=0)


RAW = {
    "divided, sign": lambda b: where(b, "GreaterOrEqual", b.node("Div", "x", b.const(255.0)), 0.5),
    "pixel > 127": lambda b: where(b, "Greater", "x", 127.0),
    "times 1/255, 8 bits": lambda b: quant8(b, b.node("Mul", "x", b.const(np.float32(1 / 255)))),
    "divided, 8 bits": lambda b: quant8(b, b.node("Div", "x", b.const(255.0))),
    "centred": lambda b: where(b, "Greater", b.node("Sub", "x", b.const(127.5)), 0.0),
}


@pytest.mark.parametrize("inputs", [None, "uint8"])
@pytest.mark.parametrize("annotation", ["", "UINT8"])
@pytest.mark.parametrize("kind", RAW)
def test_graphs_that_take_pixels_as_they_are(
    tmp_path: Path, capsys: Any, kind: str, annotation: str, inputs: str | None
) -> None:
    b, end = units_net(None)
    b.annotation = annotation
    model, p = end(RAW[kind](b)), images(1)
    result = onnx.load(save(model, tmp_path), inputs=inputs)
    labels = source_labels(model, real(p))
    assert accuracy(result.network, p, labels, tmp_path, capsys)["accuracy"] == 1.0
    note = result.report.notes[-1]
    assert "as they are" in note and "255" not in note
    assert ("--inputs says otherwise" in note) == (inputs is None and not annotation)


def test_annotated_pixels_in_front_of_weights_are_noted_truly(tmp_path: Path) -> None:
    b, end = units_net(None, TensorProto.UINT8)
    result = onnx.load(save(end(b.node("Cast", "x", to=TensorProto.FLOAT)), tmp_path))
    assert not any("divided" in note for note in result.report.notes)
    assert pixels.rule(result.network).text == "pixels as they are"


def test_a_constant_rule_is_refused(tmp_path: Path, capsys: Any) -> None:
    b, end = units_net(None)
    model, p = end(where(b, "GreaterOrEqual", "x", 0.0)), images(1)
    path = save(model, tmp_path)
    for inputs in ("pixels", "uint8", "mean=-1:std=1"):
        with pytest.raises(UsageError, match=r"every pixel from 0 to 255, .* becomes the same value at"):
            onnx.load(path, inputs=inputs)
    result = onnx.load(path)
    assert "becomes the same value" in result.report.notes[-1]
    with pytest.raises(InputError, match="has no rule for pixels: every pixel from 0 to 255 becomes"):
        pixels.rule(result.network)
    message = accuracy(result.network, p, np.zeros(COUNT, np.uint8), tmp_path, capsys)
    assert "has no rule for pixels" in message and "import again, and say with --inputs" in message
    network = onnx.load(path, inputs="pixels/127.5-1").network
    labels = source_labels(model, UNITS["pixels/127.5-1"](real(p)))
    assert accuracy(network, p, labels, tmp_path, capsys)["accuracy"] == 1.0


def test_integers_with_a_sign_are_no_pixels(tmp_path: Path, capsys: Any) -> None:
    b, end = units_net(None)
    b.annotation = "INT8"
    network = onnx.load(save(end(where(b, "Greater", "x", 3.0)), tmp_path)).network
    with pytest.raises(InputError, match="no rule for pixels: the framework's images hold integers"):
        pixels.rule(network)
    b, end = units_net(None)
    network = onnx.load(save(end("x"), tmp_path), inputs="int8").network
    with pytest.raises(InputError, match="no rule for pixels: the framework's images hold int8 values"):
        pixels.rule(network)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (
            "bipolar",
            "inputs is 'bipolar', but Greater 'n0' quantises the image in the graph; say",
        ),
        ("uint4", "inputs is 'uint4', but Greater 'n0' quantises the image"),
        ("int8", "inputs is 'int8', but Greater 'n0' quantises the image"),
        (
            "mean=1,2:std=1",
            "inputs have 2 means or deviations, but the image has 1 channel; give one",
        ),
        ("mean=1,2:std=1,2,3", "has 2 means and 3 deviations; give as many of both, or one"),
        ("mean=1:std=0", "std is 0 in inputs 'mean=1:std=0', but must be at least 1e-06"),
        ("mean=x:std=1", "mean has the value 'x' in inputs, which is no number"),
        ("mean=nan:std=1", "mean has the value 'nan' in inputs, but must lie within"),
        ("mean=1:std=inf", "std has the value 'inf' in inputs, but must lie within"),
        ("mean=" + "1," * 80 + "1:std=1", "mean has 81 values in inputs, the limit is 64"),
        ("mean=1", "must be one of bipolar, pixels, pixels/127.5-1, uint1"),
        ("std=1:mean=1", "or mean=M,...:std=D,..., as in mean=0.5,0.4,0.3:std=0.2"),
        ("pixel", "inputs is 'pixel', but must be one of"),
    ],
)
def test_inputs_are_never_ignored(tmp_path: Path, inputs: str, text: str) -> None:
    b, end = units_net(None)
    path = save(end(where(b, "Greater", "x", 0.5)), tmp_path)
    with pytest.raises(UsageError) as error:
        onnx.load(path, inputs=inputs)
    assert text in str(error.value), str(error.value)


def test_inputs_that_the_type_cannot_hold(tmp_path: Path) -> None:
    b, end = units_net(None, TensorProto.UINT8)
    path = save(end(where(b, "Greater", b.node("Cast", "x", to=TensorProto.FLOAT), 9.0)), tmp_path)
    with pytest.raises(UsageError, match="input 'x' holds uint8: pixels can only be read as they are"):
        onnx.load(path, inputs="pixels")
    b, end = units_net(None, TensorProto.INT8)
    path = save(end(where(b, "Greater", b.node("Cast", "x", to=TensorProto.FLOAT), 9.0)), tmp_path)
    with pytest.raises(UsageError, match="holds int8, which ends at 127"):
        onnx.load(path, inputs="uint8")


def test_unquantised_images_with_channels_of_their_own_are_refused(tmp_path: Path) -> None:
    b = Builder((1, 3, H, W))
    w = np.random.default_rng(7).choice([-1.0, 1.0], (3 * H * W, 10))
    path = save(b.model(b.node("MatMul", b.node("Flatten", "x"), b.const(w))), tmp_path)
    with pytest.raises(UsageError, match="differ from channel to channel, but the graph multiplies"):
        onnx.load(path, inputs="mean=0.5,0.4,0.3:std=0.2,0.3,0.4")
    onnx.load(path, inputs="mean=0.5,0.5,0.5:std=0.2")


@pytest.mark.parametrize("kind", ["sub, div", "norm", "mean image"])
def test_a_normalised_image_without_a_quantiser_is_refused_by_node(tmp_path: Path, kind: str) -> None:
    b = Builder((1, 3, H, W))
    x = front(b, "x", kind, (1, 3, 1, 1), (3, H, W))
    w = np.random.default_rng(7).choice([-1.0, 1.0], (3 * H * W, 10))
    path = save(b.model(b.node("MatMul", b.node("Flatten", x), b.const(w))), tmp_path)
    node = "BatchNormalization" if kind == "norm" else "Sub"
    with pytest.raises(ImportFailedError, match=f"{node} 'n0': .*"):
        onnx.load(path, inputs="pixels")


@pytest.mark.parametrize("at", ["pads", "Pad"])
def test_zero_padding_of_a_signed_image(tmp_path: Path, at: str) -> None:
    """0 is the level 128 of 256, a value of the image like any other; or none, with a zero point between."""
    rng = np.random.default_rng(7)
    w = rng.choice([-1.0, 1.0], (4, 3, 3, 3))
    p = rng.integers(0, 256, (6, H, W, 3))
    for zero in (0.0, 0.5):
        b = Builder((1, 3, H, W))
        x = b.quant("Quant", "x", b.const(1 / 128), b.const(zero), b.const(8.0), signed=1, narrow=0)
        widths: dict[str, Any] = {"pads": [1] * 4} if at == "pads" else {}
        if at == "Pad":
            x = b.node("Pad", x, b.const(np.array([0, 0, 1, 1] * 2)))
        x = b.node("Flatten", where(b, "Greater", b.node("Conv", x, b.const(w), **widths), 0.0))
        path = save(b.model(b.node("MatMul", x, b.signs(4 * H * W, 3))), tmp_path)
        if zero:
            with pytest.raises(
                ImportFailedError, match=r"Conv 'n\d': pads with 0, which is none of the 256 levels"
            ):
                onnx.load(path)
            continue
        network = onnx.load(path).network
        centred = np.pad(p - 128, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(centred, (3, 3), (1, 2))
        sums = np.einsum("nyxchw,ochw->nyxo", windows, w)
        assert np.array_equal(golden.layers(network, p)[0], (sums > 0).reshape(len(p), -1))
    # Padding with what level 0 stands for is the network's own.
    b = Builder((1, 3, H, W))
    x = b.quant("Quant", "x", b.const(1 / 128), b.const(0.0), b.const(8.0), signed=1, narrow=0)
    x = b.node("Pad", x, b.const(np.array([0, 0, 1, 1] * 2)), b.const(-1.0))
    x = b.node("Flatten", where(b, "Greater", b.node("Conv", x, b.const(w)), 0.0))
    onnx.load(save(b.model(b.node("MatMul", x, b.signs(4 * H * W, 3))), tmp_path))


def test_a_flat_vector_is_not_fed_with_images_of_several_channels(tmp_path: Path, capsys: Any) -> None:
    b = Builder((1, 3 * H * W))
    w = np.random.default_rng(7).choice([-1.0, 1.0], (3 * H * W, 10))
    model, p = b.model(b.node("MatMul", where(b, "Greater", "x", 0.5), b.const(w))), images()
    network = onnx.load(save(model, tmp_path)).network
    message = accuracy(network, p, np.zeros(COUNT, np.uint8), tmp_path, capsys)
    assert "takes a vector, and its source does not say in which order it holds the channels" in message
    flat = p.transpose(0, 3, 1, 2).reshape(COUNT, -1)
    labels = source_labels(model, flat / np.float32(255))
    assert accuracy(network, flat, labels, tmp_path, capsys)["accuracy"] == 1.0


def test_a_wrong_table_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_values = image.Image.values

    def off(self: Any, x: Any) -> Any:
        values = real_values(self, x).copy()
        if x.flat[0] == np.float32(100) / np.float32(255):
            values[:, 7] ^= 1
        return values

    monkeypatch.setattr(image.Image, "values", off)
    with pytest.raises(ImportFailedError, match=r"found a difference .*: pixel 100 at value 7 of the image"):
        onnx.load(save(graph("sub, div", 8), tmp_path))


@pytest.mark.parametrize(
    ("signed", "bits", "scale", "zero", "least", "narrowed"),
    [(1, 8, 1 / 128, 0.0, 128, 7), (0, 8, 1 / 50, 0.0, 0, 6), (0, 6, 1 / 3, 2.0, 2, 2),
     (1, 3, 1.0, 0.0, 4, 2), (0, 4, 1 / 16, 0.0, 0, 4)],
)  # fmt: skip
def test_levels_that_pixels_reach(
    tmp_path: Path, signed: int, bits: int, scale: float, zero: float, least: int, narrowed: int
) -> None:
    """Where somebody says that these are pixels, there are no other values; padding is the lowest then."""
    b = Builder((1, 3, H, W))
    numbers = (b.const(np.float32(number)) for number in (scale, zero, bits))
    x = b.quant("Quant", "x", *numbers, signed=signed, narrow=0)
    x = b.sign(b.norm(b.node("Conv", x, b.latent(4, 3, 3, 3), pads=[1] * 4), 4))
    path = save(b.model(b.node("MatMul", b.node("Flatten", x), b.signs(4 * H * W, 5))), tmp_path)
    whole, network = (onnx.load(path, inputs=inputs).network for inputs in (None, "pixels"))
    assert (whole.input.bits, network.input.bits) == (bits, narrowed)
    first, last = whole.layers[0], network.layers[0]
    assert isinstance(first, Conv2d) and isinstance(last, Conv2d)
    assert (first.pad_value, last.pad_value) == (int(zero) + (signed << bits - 1), 0)
    p = np.random.default_rng(1).integers(0, 256, (40, H, W, 3))
    codes, values = (pixels.rule(one).values(p) for one in (whole, network))
    assert np.array_equal(codes - values, np.full_like(codes, least)) and codes.min() == least
    assert len(np.unique(golden.run(network, values))) > 1
    assert np.array_equal(golden.run(network, values), golden.run(whole, codes))
    compile_network(network, DeviceConfig(Geometry(1, 8, 8)))
