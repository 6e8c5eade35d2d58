"""Shape and order of images: as in the source, whatever moves them to the first product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.sw.importers.onnx_graphs import Builder, save
from tests.sw.importers.test_onnx_pixels import accuracy, source_labels
from xnorcore.errors import ImportFailedError
from xnorcore.importers import onnx
from xnorcore.importers.onnx import image, layout
from xnorcore.importers.onnx.order import to_source

COUNT = 80
EIGHTS = np.arange(8) / np.float32(99)


def sign(b: Builder, x: str, at: float = 0.5) -> str:
    return b.node("Where", b.node("GreaterOrEqual", x, b.const(at)), b.const(1.0), b.const(-1.0))


def reshape(b: Builder, x: str, *shape: int) -> str:
    return b.node("Reshape", x, b.const(np.array(shape)))


def transpose(b: Builder, x: str, *perm: int) -> str:
    return b.node("Transpose", x, perm=list(perm))


def thresholds(b: Builder, order: str) -> str:
    return b.quant("MultiThreshold", "x", b.const([[0.2, 0.5, 0.9]]), data_layout=order)


def pixels_of(shape: tuple[int, ...], seed: int = 2) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (COUNT, *shape)).astype(np.uint8)


def dense_end(b: Builder, x: str, size: int) -> Any:
    w = np.random.default_rng(8).choice([-1.0, 1.0], (size, 10))
    return b.model(b.node("MatMul", x, b.const(w)))


def conv_end(b: Builder, x: str, shape: tuple[int, int, int]) -> Any:
    """A convolution of 3 x 2, so that height and width are told apart, and a dense layer."""
    height, width, channels = shape
    w = np.random.default_rng(9).choice([-1.0, 1.0], (6, channels, 3, 2))
    x = b.node("Flatten", sign(b, b.node("Conv", x, b.const(w)), 0.0))
    return dense_end(b, x, 6 * (height - 2) * (width - 1))


@pytest.mark.parametrize("shape", [(7, 5, 1), (4, 4, 1), (28, 28, 1), (7, 5, 3), (5, 5, 4)])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("inputs", ["quantised", "pixels"])
def test_flattened_without_a_transpose(
    tmp_path: Path, capsys: Any, shape: tuple[int, int, int], last: bool, inputs: str
) -> None:
    height, width, channels = shape
    source = shape if last else (channels, height, width)
    b = Builder((1, *source))
    x = sign(b, "x") if inputs == "quantised" else "x"
    model, p = dense_end(b, b.node("Flatten", x), int(np.prod(shape))), pixels_of(shape)
    network = onnx.load(save(model, tmp_path), inputs="pixels").network
    assert network.input.shape == shape
    real = (p if last else p.transpose(0, 3, 1, 2)) / np.float32(255)
    value = accuracy(network, p, source_labels(model, real), tmp_path, capsys)
    # Sums of images that are no integers are rounded in the source: ties may go the other way there.
    assert value["accuracy"] >= (1.0 if inputs == "quantised" else 0.98)


@pytest.mark.parametrize(
    ("write", "shape", "last"),
    [
        (lambda b: sign(b, b.node("Sub", "x", b.const(EIGHTS))), (8, 8, 8), True),
        (lambda b: sign(b, b.node("Sub", "x", b.const(EIGHTS[:, None, None]))), (8, 8, 8), False),
        (lambda b: transpose(b, sign(b, "x"), 0, 3, 1, 2), (8, 8, 8), True),
        (lambda b: transpose(b, sign(b, "x"), 0, 2, 3, 1), (2, 2, 8), False),
        (lambda b: thresholds(b, "NHWC"), (2, 2, 9), True),
        (lambda b: thresholds(b, "NCHW"), (9, 2, 7), False),
        (lambda b: sign(b, "x"), (9, 9, 9), False),
    ],
)  # fmt: skip
def test_what_nodes_say_about_a_flattened_image(
    tmp_path: Path, write: Any, shape: tuple[int, int, int], last: bool
) -> None:
    height, width, channels = shape
    b = Builder((1, *(shape if last else (channels, height, width))))
    result = onnx.load(save(dense_end(b, b.node("Flatten", write(b)), int(np.prod(shape))), tmp_path))
    assert result.network.input.shape == shape
    order = "last" if last else "first"
    assert any(f"in the framework with the channels {order}" in note for note in result.report.notes)


FRONTS: dict[str, tuple[tuple[int, ...], Any, tuple[int, int, int]]] = {
    "channels first": ((3, 7, 5), lambda b, x: x, (7, 5, 3)),
    "channels last": ((7, 5, 3), lambda b, x: transpose(b, x, 0, 3, 1, 2), (7, 5, 3)),
    "cube, first": ((6, 6, 6), lambda b, x: x, (6, 6, 6)),
    "cube, last": ((6, 6, 6), lambda b, x: transpose(b, x, 0, 3, 1, 2), (6, 6, 6)),
    "there and back": (
        (3, 7, 5), lambda b, x: transpose(b, transpose(b, x, 0, 2, 3, 1), 0, 3, 1, 2), (7, 5, 3)
    ),
    "one channel, reshaped": ((7, 5, 1), lambda b, x: reshape(b, x, -1, 1, 7, 5), (7, 5, 1)),
    "one channel, few rows": ((4, 5, 1), lambda b, x: reshape(b, x, -1, 1, 4, 5), (4, 5, 1)),
    "one channel, transposed": ((7, 5, 1), lambda b, x: transpose(b, x, 0, 3, 1, 2), (7, 5, 1)),
    "one channel, squeezed": (
        (7, 5, 1), lambda b, x: b.node("Unsqueeze", b.node("Squeeze", x, b.const(np.array([3]))),
                                       b.const(np.array([1]))), (7, 5, 1)
    ),
    "two axes": ((7, 5), lambda b, x: reshape(b, x, 1, 1, 7, 5), (7, 5, 1)),
    "flat": ((35,), lambda b, x: reshape(b, x, -1, 1, 7, 5), (7, 5, 1)),
    "flat, channels first": ((105,), lambda b, x: reshape(b, x, -1, 3, 7, 5), (7, 5, 3)),
    "flat, channels last": (
        (105,), lambda b, x: transpose(b, reshape(b, x, -1, 7, 5, 3), 0, 3, 1, 2), (7, 5, 3)
    ),
    "flat with axes": ((1, 1, 35), lambda b, x: reshape(b, x, -1, 1, 7, 5), (7, 5, 1)),
}  # fmt: skip


@pytest.mark.parametrize("quantised", ["before", "behind", "not"])
@pytest.mark.parametrize("key", FRONTS)
def test_images_of_a_convolution(tmp_path: Path, capsys: Any, key: str, quantised: str) -> None:
    source, write, shape = FRONTS[key]
    b = Builder((1, *source))
    x = write(b, sign(b, "x") if quantised == "before" else "x")
    model = conv_end(b, sign(b, x) if quantised == "behind" else x, shape)
    p = pixels_of(shape)
    result = onnx.load(save(model, tmp_path), inputs="uint8" if quantised == "not" else "pixels")
    assert result.network.input.shape == shape
    first = key == "cube, first" or source[0] == 3 or "flat, channels first" in key
    real = (p.transpose(0, 3, 1, 2) if first else p).reshape(COUNT, *source).astype(np.float32)
    labels = source_labels(model, real if quantised == "not" else real / np.float32(255))
    assert accuracy(result.network, p, labels, tmp_path, capsys)["accuracy"] == 1.0


def test_a_reshape_that_mixes_channels_and_places_is_refused(tmp_path: Path) -> None:
    b = Builder((1, 7, 5, 3))
    model = conv_end(b, reshape(b, sign(b, "x"), -1, 3, 7, 5), (7, 5, 3))
    with pytest.raises(ImportFailedError, match=r"Conv 'n3': reads a map whose axes were permuted"):
        onnx.load(save(model, tmp_path))


@pytest.mark.parametrize(
    "key", ["channels first", "channels last", "cube, last", "flat, channels last", "flat"]
)
def test_the_check_has_an_order_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """An order that is wrong wherever the importer uses it is found."""
    source, write, shape = FRONTS[key]
    b = Builder((1, *source))
    model = dense_end(b, b.node("Flatten", write(b, sign(b, "x"))), int(np.prod(shape)))
    path = save(model, tmp_path)
    right = layout.layout_of

    def mirrored(graph: Any) -> Any:
        found = right(graph)
        top = found.index.max()
        return replace(found, index=top - found.index)

    onnx.load(path)
    monkeypatch.setattr(image, "layout_of", mirrored)
    with pytest.raises(ImportFailedError, match="the check found a difference"):
        onnx.load(path)


def test_the_check_sees_channels_in_the_wrong_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder((1, 28, 28, 1))
    path = save(dense_end(b, b.node("Flatten", sign(b, "x")), 784), tmp_path)
    monkeypatch.setattr(layout, "_sizes_say_last", lambda *sizes: False)
    with pytest.raises(ImportFailedError, match=r"should be \(28, 28, 1\), and not \(28, 1, 28\)"):
        onnx.load(path)


def test_the_order_of_the_check() -> None:
    labels = np.arange(24).reshape(1, 24)
    whole = labels.reshape(2, 3, 4)
    assert np.array_equal(to_source(labels, (2, 3, 4), (2, 3, 4), False)[0], whole)
    assert np.array_equal(to_source(labels, (2, 3, 4), (4, 2, 3), True)[0], whole.transpose(2, 0, 1))
    assert np.array_equal(to_source(labels, (2, 3, 4), (24,), True)[0], labels[0])
    assert np.array_equal(to_source(labels, (24,), (2, 12), True)[0], labels[0].reshape(2, 12))
    with pytest.raises(ImportFailedError, match="not of the source's shape"):
        to_source(labels, (2, 3, 4), (3, 2, 4), True)
