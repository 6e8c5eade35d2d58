"""What images are to a network: pixels for its rule, or its inputs; never a silent guess."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xnorcore import zoo
from xnorcore.errors import FileFormatError, InputError
from xnorcore.files import xnorfile
from xnorcore.model import pixels
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import golden

from .cli_tools import Run, one_object, runner


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return runner(capsys)


def network(bits: int, **metadata: Any) -> Network:
    weights = np.random.default_rng(bits).choice([-1, 1], (4, 12))
    return Network("net", InputSpec((3, 4, 1), bits), [Dense(weights)], metadata=metadata)


HALF = (np.arange(256) >> 4).tolist()
SIGNED = (np.arange(256) ^ 128).tolist()
RULES: dict[str, tuple[int, dict[str, Any]]] = {
    "1 bit": (1, {}), "4 bit": (4, {}), "8 bit": (8, {}),
    "1 bit, threshold": (1, {"pixels": pixels.threshold(128)}),
    "1 bit, threshold of 0 to 16": (1, {"pixels": pixels.threshold(8, 16)}),
    "1 bit, table": (1, {"pixels": {"table": [0] * 100 + [1] * 56 + [0] * 100}}),
    "4 bit, table": (4, {"pixels": {"table": HALF}}),
    "8 bit, table": (8, {"pixels": {"table": SIGNED}}),
    "4 bit, none": (4, pixels_none := {"pixels": pixels.none("they are sounds")}),
    "8 bit, none": (8, pixels_none),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "maximum", "expected"),
    [
        ("1 bit", 1, "bits as they are"), ("1 bit", 15, "pixel >= 8"), ("1 bit", 255, "pixel >= 128"),
        ("1 bit, threshold", 1, "bits as they are"), ("1 bit, threshold", 200, "pixel >= 128"),
        ("1 bit, threshold", 127, "images reach 127, but the pixels of network 'net' are 0 to 255, and its "
                                  "inputs 0 to 1; scale the images, or say what they are"),
        ("1 bit, threshold", 15, "images reach 15,"), ("1 bit, threshold", 2, "images reach 2,"),
        ("1 bit, threshold of 0 to 16", 16, "pixel >= 8"),
        ("1 bit, threshold of 0 to 16", 1, "bits as they are"),
        ("1 bit, threshold of 0 to 16", 255, "images reach 255, but the pixels of network 'net' are 0 to 16"),
        ("1 bit, table", 1, "bits as they are"), ("1 bit, table", 130, "a table of 256 values"),
        ("4 bit", 15, "pixels as they are"), ("4 bit", 8, "pixels as they are"),
        ("4 bit", 7, "images reach 7, but the pixels of network 'net' are 0 to 15; scale"),
        ("4 bit", 1, "images reach 1,"),
        ("4 bit", 16, "pixels reach 16, but network 'net' takes 4-bit values, 0 to 15"),
        ("4 bit, table", 15, "values as they are"), ("4 bit, table", 255, "a table of 256 values"),
        ("4 bit, table", 31, "images reach 31,"), ("4 bit, table", 7, "images reach 7,"),
        ("8 bit", 128, "pixels as they are"), ("8 bit", 31, "images reach 31,"),
        ("8 bit", 1, "images reach 1,"),
        ("8 bit, table", 255, "a table of 256 values"), ("8 bit, table", 127, "images reach 127,"),
        ("4 bit, none", 15, "values as they are"), ("4 bit, none", 255, "no rule for pixels: they are sou"),
        ("4 bit, none", 7, "no rule for pixels"), ("8 bit, none", 255, "or to eval with --inputs values"),
    ],
)  # fmt: skip
def test_what_images_are(name: str, maximum: int, expected: str) -> None:
    bits, metadata = RULES[name]
    net = network(bits, **metadata)
    if re.match("(bits|values|pixels) as|pixel >|a table", expected):
        rule = pixels.rule(net, maximum)
        assert rule.text == expected
        assert rule.reads == ("values" if re.match("(bits|values) as", expected) else "pixels")
        if expected.endswith(" as they are"):
            assert np.array_equal(rule.tables, [np.arange(256)])
    else:
        with pytest.raises(InputError, match=re.escape(expected)):
            pixels.rule(net, maximum)


def test_the_caller_may_say_what_they_are() -> None:
    dark, table = network(8), network(8, pixels={"table": SIGNED})
    assert pixels.rule(dark, 40, "pixels").text == "pixels as they are"
    assert pixels.rule(dark, 40, "values").reads == "values"
    assert np.array_equal(pixels.rule(table, 40, "pixels").tables[0], SIGNED)
    assert np.array_equal(pixels.rule(table, 255, "values").tables[0], np.arange(256))
    with pytest.raises(
        InputError, match="values reach 2, but network 'net' takes 1-bit values, 0 to 1; scale"
    ):
        pixels.rule(network(1, pixels=pixels.threshold(128)), 2, "values")
    with pytest.raises(InputError, match="has no rule for pixels: they are sounds"):
        pixels.rule(network(4, **pixels_none), 15, "pixels")


@pytest.mark.parametrize("maximum", [1, 100, 127])
def test_pixels_that_become_one_value(maximum: int) -> None:
    net = network(1, pixels=pixels.threshold(128))
    with pytest.raises(
        InputError, match=rf"pixels reach {maximum}, and all of them become one value \(pixel >="
    ):
        pixels.rule(net, maximum, "pixels")
    with pytest.raises(InputError, match="pixels reach 150, and all"):
        pixels.rule(network(1, pixels=pixels.threshold(200)), 150)


@pytest.mark.parametrize("entry", [{"threshold": 8, "maximum": 7}, {"threshold": 8, "maximum": 256},
                                   {"threshold": 8, "maximum": True}, {"threshold": 8, "maximum": "16"},
                                   {"maximum": 16}])  # fmt: skip
def test_damaged_maximum(entry: dict[str, Any]) -> None:
    with pytest.raises(FileFormatError, match="metadata 'pixels' must be"):
        pixels.rule(network(1, pixels=entry))


def store(folder: Path, images: NDArray[Any], labels: NDArray[Any]) -> Path:
    folder.mkdir(exist_ok=True)
    np.save(folder / "images.npy", images)
    np.save(folder / "labels.npy", labels)
    return folder


@pytest.mark.parametrize("kind", [np.uint8, bool])
def test_eval_of_what_sample_wrote(run: Run, tmp_path: Path, kind: type) -> None:
    (tmp_path / "so").mkdir()
    code, out, err = run("sample", "mnist-tfc", "-o", "so/images.npy", "--labels", "so/labels.npy")
    assert (code, err) == (0, "") and "--inputs" not in out
    images, labels = np.load("so/images.npy"), np.load("so/labels.npy")
    np.save("so/images.npy", images.astype(kind))
    net = zoo.load("mnist-tfc")
    right = int((net.classify(golden.run(net, images)) == labels).sum())
    assert right > 90
    value = one_object(run("eval", "mnist-tfc", "--data", "so", "--json")[1])
    assert (value["correct"], value["pixels"]) == (right, "bits as they are")
    assert (value["inputs"], value["largest"]) == ("values", 1)
    assert "inputs     bits as they are" in run("eval", "mnist-tfc", "--data", "so")[1]
    assert (
        one_object(run("sample", "mnist-tfc", "-o", "again.npy", "--data", "so", "--json")[1])["images"]
        == 100
    )
    assert np.array_equal(np.load("again.npy"), images)


def test_eval_of_images_that_are_scaled(run: Run, tmp_path: Path) -> None:
    images, labels = zoo.test_images("fashion")
    images, labels = images[:20], labels[:20]
    right = one_object(run("eval", "fashion", "--data", store(tmp_path / "so", images, labels), "--json")[1])
    for scaled, maximum in ((images // 8, images.max() // 8), (images > 100, 1)):
        store(tmp_path / "so", scaled, labels)
        code, out, err = run("eval", "fashion", "--data", "so")
        assert (code, out) == (
            2,
            "",
        ) and f"images reach {maximum}, but the pixels of network 'fashion'" in err
        code, out, _ = run("eval", "fashion", "--data", "so", "--inputs", "pixels", "--json")
        value = one_object(out)
        assert code == 0 and value["correct"] < right["correct"] and value["largest"] == maximum


def test_sample_says_what_eval_cannot_know(run: Run, tmp_path: Path) -> None:
    net = network(8, pixels={"table": SIGNED})
    xnorfile.save(net, "net.xnor")
    images = np.random.default_rng(1).integers(0, 256, (30, 3, 4), np.uint8)
    classes = net.classify(golden.run(net, (images ^ 128).reshape(30, 12)))
    store(tmp_path / "mine", images, classes)
    (tmp_path / "so").mkdir()
    arguments = ("sample", "net.xnor", "--data", "mine", "-o", "so/images.npy")
    assert "eval --inputs values" in run(*arguments, "--labels", "so/labels.npy")[1]
    assert "--inputs" not in run(*arguments)[1]
    for argv in (("mine",), ("so", "--inputs", "values")):
        assert one_object(run("eval", "net.xnor", "--json", "--data", *argv)[1])["correct"] == 30
