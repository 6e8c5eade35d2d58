"""A threshold per position and channel: batch norm and constants between a flatten and a dense layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.draws import RNG
from tests.sw.importers.onnx_graphs import Builder, save
from tests.sw.importers.test_onnx_heads import scores
from tests.sw.importers.test_onnx_patterns import imported
from tests.sw.importers.test_onnx_pooling import two
from xnorcore.errors import ImportFailedError
from xnorcore.importers import onnx
from xnorcore.model.layers import Conv2d, Dense, has_weights

POOL: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}


def begun(shape: tuple[int, ...] = (1, 2, 6, 6), channels: int = 4) -> tuple[Builder, str]:
    b = Builder(shape)
    b.annotation = "BIPOLAR"
    return b, b.node("Conv", "x", b.signs(channels, shape[1], 3, 3))


def finished(b: Builder, x: str, values: int) -> Any:
    return b.model(b.node("Gemm", x, b.signs(3, values, scale=0.5), b.const(RNG.normal(size=3)), transB=1))


@pytest.mark.parametrize("flatten", ["Flatten", "Reshape", "channels last"])
@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("fall", [False, True])
def test_batch_norm_behind_a_flatten(tmp_path: Path, flatten: str, pooled: bool, fall: bool) -> None:
    b, x = begun((1, 2, 8, 8) if pooled else (1, 2, 6, 6))
    x = b.node("Neg", x) if fall else x
    values = 4 * 16
    if pooled:
        x, values = b.node("MaxPool", x, **POOL), 4 * 9
    if flatten == "channels last":
        x = b.node("Transpose", x, perm=[0, 2, 3, 1])
    if flatten == "Flatten":
        x = b.node("Flatten", x)
    else:
        x = b.node("Reshape", x, b.const(np.array([1, -1])))
    model = finished(b, two(b, b.norm(x, values)), values)
    result = imported(model, tmp_path)
    assert any("thresholds per position, 4 channels as" in text for text in result.report.layers[0].folded)
    ours, theirs, classes = scores(result, model)
    assert np.allclose(ours, theirs, atol=1e-4)
    assert np.array_equal(classes, theirs.argmax(axis=1))


def test_a_dense_layer_with_thresholds_behind_it(tmp_path: Path) -> None:
    b, x = begun()
    x = b.node("Div", b.node("Flatten", x), b.const(RNG.choice([-1.5, 0.5, 2.0], 64)))
    x = b.norm(b.node("Sub", x, b.const(RNG.integers(-9, 10, (1, 64)) / 2)), 64)
    x = two(b, b.norm(b.node("Gemm", two(b, x), b.signs(7, 64), transB=1), 7))
    model = finished(b, x, 7)
    result = imported(model, tmp_path)
    assert [type(layer) for layer in result.network.layers] == [Conv2d, Dense, Dense]
    ours, theirs, _ = scores(result, model)
    assert np.allclose(ours, theirs, atol=1e-4) and theirs.std(axis=0).max() > 0


def test_an_8_bit_image(tmp_path: Path) -> None:
    b = Builder((1, 2, 6, 6))
    x = b.quant("Quant", "x", b.const(1 / 16), b.const(0.0), b.const(8.0), signed=1)
    x = b.node("Flatten", b.node("Conv", x, b.signs(4, 2, 3, 3)))
    result = imported(finished(b, two(b, b.norm(x, 64)), 64), tmp_path)
    assert result.network.layers[0].outputs > 64 and result.report.check.boundary > 2  # type: ignore[union-attr]


def lowest(b: Builder, *shape: int) -> str:
    """Weights of 8 bits, -128 among them."""
    return b.const(RNG.choice([-128, 127, 3], shape))


def test_weights_without_a_negative(tmp_path: Path) -> None:
    """Of -128: what falls is emitted as its complement; the layer that reads a complement has none."""
    for pooled in (False, True):
        b, x = begun((1, 2, 8, 8))
        x = b.node("Conv", two(b, x), lowest(b, 4, 4, 3, 3))
        x, values = (b.node("MaxPool", x, **POOL), 16) if pooled else (x, 16 * 4)
        x = two(b, b.norm(b.node("Neg", b.node("Flatten", x)), values))
        model = finished(b, x, values)
        result = imported(model, tmp_path)
        layer = result.network.layers[1]
        assert has_weights(layer)
        assert (layer.weights == -128).any()
        ours, theirs, _ = scores(result, model)
        assert np.allclose(ours, theirs, atol=1e-4)
    b, x = begun()
    x = two(b, b.norm(b.node("Neg", b.node("Flatten", x)), 64))
    message = r"Gemm '.*': has weights of -128, .*, for values of a map that it reads complemented"
    with pytest.raises(ImportFailedError, match=message):
        imported(b.model(b.node("Gemm", x, lowest(b, 3, 64), transB=1)), tmp_path)
    b, x = begun()
    x = two(b, b.node("Neg", b.node("MaxPool", x, **POOL)))
    message = r"Conv '.*': has a weight of -128, .*, for channel 0, which it reads complemented \(pool"
    with pytest.raises(ImportFailedError, match=message):
        imported(b.model(b.node("Flatten", b.node("Conv", x, lowest(b, 3, 4, 2, 2)))), tmp_path)


def test_equal_thresholds_stay_one(tmp_path: Path) -> None:
    """Parameters per channel, or one for all, behind a flatten; signs that differ only negate weights."""
    for values in (np.full(64, 1.5), np.repeat(RNG.integers(-3, 4, 4) + 0.5, 16)):
        b, x = begun()
        model = finished(b, two(b, b.node("Sub", b.node("Flatten", x), b.const(values))), 64)
        result = imported(model, tmp_path)
        assert result.network.layers[0].outputs == 4  # type: ignore[union-attr]
        ours, theirs, _ = scores(result, model)
        assert np.allclose(ours, theirs, atol=1e-4)


def test_scores_of_a_flattened_convolution(tmp_path: Path) -> None:
    b, x = begun()
    model = b.model(b.norm(b.node("Flatten", x), 64))
    result = imported(model, tmp_path)
    ours, theirs, _ = scores(result, model)
    places = np.arange(64).reshape(4, 16).T.ravel()  # network order is (y, x, channel)
    assert np.allclose(ours, theirs[:, places], atol=1e-4)


def refused(x: str, b: Builder, folder: Path, text: str) -> None:
    with pytest.raises(ImportFailedError) as error:
        onnx.load(save(b.model(x), folder))
    assert text in str(error.value)


def test_what_cannot_read_it(tmp_path: Path) -> None:
    b, x = begun()
    x = two(b, b.norm(b.node("Flatten", x), 64))
    text = (
        "BatchNormalization 'n2': has a value for each place of a map, but a layer stores one threshold for "
        "each channel; only a dense layer can follow such a map and its sign"
    )
    refused(x, b, tmp_path, text)
    x = b.node("Conv", b.node("Reshape", x, b.const(np.array([1, 4, 4, 4]))), b.signs(3, 4, 2, 2))
    refused(b.node("Flatten", x), b, tmp_path, text)


MAPS: dict[str, Callable[[Builder, str], str]] = {
    "add": lambda b, x: two(b, b.node("Add", x, b.const(RNG.normal(size=(1, 4, 4, 4)) * 3))),
    "height and width": lambda b, x: two(b, b.node("Sub", x, b.const(RNG.normal(size=(4, 4)) * 3))),
    "scaled, then by channel": lambda b, x: two(
        b, b.norm(b.node("Mul", x, b.const(RNG.normal(size=(4, 4, 4)) * 3)), 4)
    ),
    "bent by channel": lambda b, x: two(
        b, b.norm(b.node("PRelu", MAPS["sum"](b, x), b.const(RNG.random((4, 1, 1)))), 4)
    ),
    "sum": lambda b, x: b.node("Add", x, b.const(RNG.normal(size=(1, 4, 4, 4)) * 3)),
    "compared": lambda b, x: b.node(
        "Where", b.node("Greater", x, b.const(RNG.normal(size=(1, 4, 4, 4)) * 3)), b.const(1.0), b.const(-1.0)
    ),
}


@pytest.mark.parametrize("key", [key for key in MAPS if key != "sum"])
def test_a_constant_for_each_place_of_a_map(tmp_path: Path, key: str) -> None:
    """In front of the flatten and not behind it."""
    b, x = begun()
    model = finished(b, b.node("Flatten", MAPS[key](b, x)), 64)
    result = imported(model, tmp_path)
    ours, theirs, _ = scores(result, model)
    assert np.allclose(ours, theirs, atol=1e-4)


def test_a_constant_for_each_place_of_scores(tmp_path: Path) -> None:
    b, x = begun()
    model = b.model(b.node("Flatten", MAPS["sum"](b, x)))
    ours, theirs, _ = scores(imported(model, tmp_path), model)
    places = np.arange(64).reshape(4, 16).T.ravel()  # network order is (y, x, channel)
    assert np.allclose(ours, theirs[:, places], atol=1e-4)


@pytest.mark.parametrize("behind", ["sum", "sign", "conv", "average"])
def test_a_constant_for_each_place_that_no_dense_layer_reads(tmp_path: Path, behind: str) -> None:
    """The reason is the device's, and names the node with the constant."""
    b, x = begun()
    if behind == "average":
        x = b.node("Conv", two(b, x), b.signs(4, 4, 1, 1))
        x = b.node("Flatten", b.node("GlobalAveragePool", MAPS["sum"](b, x)))
        refused(x, b, tmp_path, "has a value for each place of a map that GlobalAveragePool")
        return
    x = MAPS["sum"](b, x)
    x = x if behind == "sum" else two(b, x)
    if behind == "conv":
        x = two(b, b.node("Conv", x, b.signs(4, 4, 3, 3)))
    else:
        x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = two(b, x) if behind == "sum" else x
    with pytest.raises(
        ImportFailedError, match=r"Add '.*value for each place.*one threshold for each channel"
    ):
        onnx.load(save(finished(b, b.node("Flatten", x), 16), tmp_path))


def test_where_with_a_value_for_each_channel(tmp_path: Path) -> None:
    b, x = begun()
    low = b.node("Less", x, b.const(0.0))
    x = b.node("Where", low, b.const(RNG.normal(size=(1, 4, 1, 1))), b.const(-np.ones((1, 4, 1, 1))))
    with pytest.raises(ImportFailedError, match=r"Where '.*differ from channel to channel; one-bit act"):
        onnx.load(save(finished(b, b.node("Flatten", x), 64), tmp_path))


def test_a_map_that_takes_too_many_copies(tmp_path: Path) -> None:
    b, x = begun((1, 8, 18, 18), channels=10)
    x = two(b, b.norm(b.node("Flatten", x), 2560))
    model = finished(b, x, 2560)
    with pytest.raises(ImportFailedError) as error:
        onnx.load(save(model, tmp_path))
    text = str(error.value)
    assert "'n2': has a threshold for each of 256 positions: 10 channels become" in text and "65536" in text


def test_every_bit_is_the_right_copy() -> None:
    """The copies, by hand: two positions, one channel, thresholds 1 and 3, the second complemented."""
    from xnorcore.importers.onnx.placed import Copies

    layer = Conv2d(np.ones((4, 1, 1, 3), np.int8), [1, 1, 3, 3])
    found = Copies(layer, np.array([0, 6]), np.array([False, True]), True, 2)
    dense = found.read(Dense([[1, 1], [-1, 1]], [0, 1]))
    assert dense.weights.tolist() == [[1, 1, 1, -1, 1, -1, -1, -1], [-1, -1, 1, -1, 1, -1, -1, -1]]
    assert dense.thresholds is not None and dense.thresholds.tolist() == [0, 2]
    assert found.values(np.array([[1, 1, 0, 0, 0, 0, 0, 0]])).tolist() == [[True, True]]
