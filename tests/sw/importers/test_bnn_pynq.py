"""BNN-PYNQ folders: synthetic ones, in the published layout, against a reading of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.campaigns import some
from tests.draws import RNG
from xnorcore import importers
from xnorcore.errors import ImportFailedError
from xnorcore.importers.bnn_pynq import build, check, execute, files, topology
from xnorcore.model import pixels
from xnorcore.reference import fast, golden

from . import bnn_folders
from .bnn_folders import CLASSES, CNV, LFC, NARROW, Precision, Stored, write

IMAGES = np.random.default_rng(5).integers(0, 2, (60, 784)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_lfc(tmp_path: Path, seed: int) -> None:
    folder = write(tmp_path / "lfc", LFC, seed)
    imported = importers.load(folder)
    network = imported.network
    layers = bnn_folders.parse(folder, LFC)
    assert layers is not None
    expected = bnn_folders.lfc(layers, IMAGES)
    assert 0.02 < expected.mean() < 0.98
    np.testing.assert_array_equal(golden.run(network, IMAGES), expected)
    np.testing.assert_array_equal(fast.run(network, IMAGES), expected)
    # Class: the highest output that is 1 among the classes, 0 if none.
    classes = [max((c for c in range(CLASSES) if bits[c]), default=0) for bits in expected]
    assert network.classify(expected).tolist() == classes and len(set(classes)) > 1
    assert (network.name, network.input.shape, network.input.bits) == ("lfc", (28, 28, 1), 1)
    assert network.metadata["classes"] == [f"class {n}" for n in range(CLASSES)]
    report = imported.report
    assert report.format == "bnn-pynq" and report.check.mismatches == 0 and report.check.boundary > 50
    assert [layer.shape for layer in report.layers] == [(48, 784), (40, 48), (36, 40), (CLASSES, 36)]
    assert report.layers[0].source_nodes == ("0-{0..3}-weights.bin", "0-{0..3}-thres.bin")
    assert report.layers[0].accumulator_bound == 784 and report.layers[0].accumulator_bits == 11
    assert report.layers[3].memory_bits == CLASSES * 36 + 32 * CLASSES
    assert all(layer.sign_zero.startswith("-1") for layer in report.layers)


@pytest.mark.parametrize("seed", range(2))
def test_cnv(tmp_path: Path, seed: int) -> None:
    folder = write(tmp_path / "cnv", CNV, seed)
    network = importers.load(folder, name="mine").network
    layers = bnn_folders.parse(folder, CNV)
    assert layers is not None
    quantised = RNG.integers(-128, 128, (5, 32, 32, 3))
    expected = bnn_folders.cnv(layers, quantised)
    assert len(np.unique(expected, axis=0)) > 1
    for model in (fast, golden):
        scores = model.run(network, (quantised + 128).astype(np.uint8))
        np.testing.assert_array_equal((scores + 24) // 2, expected)
    assert (network.name, network.class_count, network.input.bits) == ("mine", CLASSES, 8)


def test_pixels_are_quantised_as_the_definition_says(tmp_path: Path) -> None:
    x = np.arange(256)
    lfc = importers.load(write(tmp_path / "lfc", LFC)).network
    np.testing.assert_array_equal(pixels.rule(lfc).tables[0], x / 255 * 2 - 1 >= 0)
    cnv = importers.load(write(tmp_path / "cnv", CNV)).network
    q = np.clip(np.round((x / 255 * 2 - 1) * 128), -128, 127)
    np.testing.assert_array_equal(pixels.rule(cnv).tables[0], q + 128)


def test_inputs_of_784_need_no_padding(tmp_path: Path) -> None:
    stored = (Stored(48, 784, 4, 56), *LFC[1:])
    folder = write(tmp_path / "x", stored)
    network = importers.load(folder).network
    weights = bnn_folders.parse(folder, stored)
    assert weights is not None
    bits = IMAGES
    for layer, thresholds in weights:
        bits = (((2 * bits.astype(int) - 1) @ layer.T + layer.shape[1]) // 2 > thresholds).astype(np.uint8)
    np.testing.assert_array_equal(fast.run(network, IMAGES), bits[:, :CLASSES])


def test_the_number_of_classes_is_found_without_their_names(tmp_path: Path) -> None:
    for stored in (LFC, CNV):
        network = importers.load(write(tmp_path / str(len(stored)), stored, classes=False)).network
        assert network.class_count == CLASSES and "classes" not in network.metadata


def loaded(folder: Path) -> tuple[files.Folder, topology.Topology, list[build.Built]]:
    read = files.read(folder)
    found = topology.find(read)
    return read, found, build.layers(read, found)


@pytest.mark.parametrize("stored", [LFC, CNV])
@pytest.mark.parametrize("by", some([-1, 1], 1))
def test_the_check_sees_one_threshold_off_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[Stored, ...], by: int
) -> None:
    """Such as >= where the definition says >."""
    folder = write(tmp_path / "x", stored)
    real = build.neuron_thresholds
    hidden = len(stored) - (2 if stored is CNV else 1)
    for wrong in range(hidden):
        calls = iter(range(99))

        def changed(
            layer: files.RawLayer, shape: topology.Shape, wrong: int = wrong, calls=calls
        ) -> np.ndarray:
            values = real(layer, shape).copy()
            if next(calls) == wrong:
                # The first layer of CNV compares doubled sums.
                values[2] += 2 * by if stored is CNV and wrong == 0 else by
            return values

        monkeypatch.setattr(build, "neuron_thresholds", changed)
        with pytest.raises(ImportFailedError, match=rf"{'conv|dense'}.*channel 2\); this is a bug|image"):
            importers.load(folder)


def test_the_check_sees_one_wrong_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "x", LFC)
    real = build.matrix

    def changed(layer: files.RawLayer, shape: topology.Shape) -> np.ndarray:
        weights = real(layer, shape)
        if shape.inputs == 48:
            weights[3, 5] *= -1
        return weights

    monkeypatch.setattr(build, "matrix", changed)
    with pytest.raises(ImportFailedError, match="give another result than the folder's definition"):
        importers.load(folder)


@pytest.mark.parametrize("stored", [LFC, CNV])
def test_boundary_inputs_are_at_the_threshold(tmp_path: Path, stored: tuple[Stored, ...]) -> None:
    _, _, built = loaded(write(tmp_path / "x", stored))
    for index, each in enumerate(built):
        if each.raw.thresholds is None:
            continue
        values = check.boundary(each, np.random.default_rng(0))
        if stored is CNV and index == 0:
            counted = execute.products(each.raw, each.shape, values.astype(np.int64) - 128)
        else:
            counted = execute.counts(each.raw, each.shape, execute.pad(values, each.shape))
        thresholds = topology.neuron_thresholds(each.raw, each.shape)[:, 0]
        reached = counted[:, : each.layer.outputs] - thresholds[: each.layer.outputs]
        # Every channel has its own two inputs: one that just fails, one that just passes.
        low, high = (0, 2) if stored is CNV and index == 0 else (0, 1)
        half = len(values) // 2
        assert half == each.layer.outputs
        assert all(low - 1 <= reached[c, c] <= low for c in range(half))
        assert all(high - 1 <= reached[half + c, c] <= high for c in range(half))


def test_constant_neurons(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", LFC)
    np.array([-32768, 32767, -1, 0, 47], "<i8").tofile(folder / "1-0-thres.bin")
    np.array([-2, 48, 49, 1, 46], "<i8").tofile(folder / "1-1-thres.bin")
    layers = bnn_folders.parse(folder, LFC)
    assert layers is not None
    network = importers.load(folder).network
    np.testing.assert_array_equal(fast.run(network, IMAGES), bnn_folders.lfc(layers, IMAGES))


said: list[str] = []


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ImportFailedError, match=message) as caught:
        importers.load(folder)
    assert "\n" not in str(caught.value)
    said.append(str(caught.value))


def test_damaged_folders_say_what_is_wrong(tmp_path: Path) -> None:
    def fresh(stored: tuple[Stored, ...] = LFC) -> Path:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        return write(folder, stored)

    folder = fresh()
    (folder / "1-3-weights.bin").unlink()
    refused(folder, r"1-3-weights.bin is missing")
    folder = fresh()
    (folder / "1-7-weights.bin").unlink()
    refused(folder, "layer 1 has 7 files of weights and 8 of thresholds")
    folder = fresh()
    for file in folder.glob("2-*"):
        file.unlink()
    refused(folder, r"2-0-weights.bin is missing")
    folder = fresh()
    for file in folder.glob("3-*"):
        file.unlink()
    refused(folder, r"3 layers are neither LFC \(4\) nor CNV \(9\)")
    folder = fresh()
    for file in folder.glob("1-*-thres.bin"):
        file.unlink()
    refused(folder, "layer 1 has no thresholds, but only the last of CNV's 9 layers may")
    folder = fresh()
    os.truncate(folder / "0-1-weights.bin", 33)
    refused(folder, "0-1-weights.bin' has 33 bytes, but must have a positive multiple of 8")
    folder = fresh()
    os.truncate(folder / "0-1-weights.bin", 0)
    refused(folder, "has 0 bytes")
    folder = fresh()
    os.truncate(folder / "0-1-weights.bin", 1 << 40)
    refused(folder, "has 1099511627776 bytes")
    folder = fresh()
    os.truncate(folder / "0-1-weights.bin", 32)
    refused(folder, "0-1-weights.bin has 32 bytes, but 0-0-weights.bin has 1248")
    folder = fresh()
    for file in folder.glob("0-*-weights.bin"):
        os.truncate(file, 416)
    refused(folder, "52 words per file for 12 thresholds")
    folder = fresh()
    np.full(12, 1 << 20, "<i8").tofile(folder / "0-1-thres.bin")
    refused(folder, "layer 0: a threshold is 1048576, but must be -32768 to 32767")
    folder = fresh()
    (folder / "classes.txt").write_text("only\none\n")
    refused(folder, "names 2 classes, but the last layer has 5 neurons that are not padding")
    folder = fresh()
    (folder / "classes.txt").write_bytes(b"\xff\xff")
    refused(folder, r"classes.txt' cannot be read as text")
    folder = fresh()
    (folder / "classes.txt").write_text("\n" * 10)
    refused(folder, "must hold 1 to 4096 names")
    folder = fresh()
    (folder / "classes.txt").write_text("a\nb\x07\nc\nd\ne\n")
    refused(folder, r"name 2, 'b.x07', has characters that cannot be printed")
    folder = fresh()
    (folder / "classes.txt").write_text("a\nb\nc\nd\n" + "e" * 100_001)
    refused(folder, "holds 5 names in 100009 characters, but must hold")
    assert "copy" not in "".join(said)
    folder = fresh(CNV)
    for element in range(4):
        np.full(96, 8, "<u8").tofile(folder / f"8-{element}-weights.bin")
    refused(folder, "layer 8: |last layer has")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    for name in ("0-0-weights.bin", "1-0-thres.bin", "classes.txt"):
        folder = write(tmp_path / name, LFC)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder, "is not a regular file|is no text file")
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        refused(folder, "is not a regular file|is no text file")
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(folder, "is not a regular file|is no text file")
        (folder / name).rmdir()
        (folder / name).symlink_to(folder / name)
        if name != "classes.txt":
            refused(folder, "cannot be read: Too many levels")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("x" * 300 + "\nb\nc\nd\ne\n", ["x" * 300, "b", "c", "d", "e"]),
        ("\ufeffStra\u00dfe\r\n\u5341\r\nc\r\nd\r\ne", ["Stra\u00dfe", "\u5341", "c", "d", "e"]),
        ("a\na\n\n  b \t c\u00a0d\nd\ne\n\n\n", ["a", "a", "b c d", "d", "e"]),
    ],
    ids=["long", "unicode", "blank and double"],
)
def test_names_of_classes(tmp_path: Path, text: str, names: list[str]) -> None:
    folder = write(tmp_path / "x", LFC)
    (folder / "classes.txt").write_bytes(text.encode())
    assert importers.load(folder).network.metadata["classes"] == names


def test_thresholds_of_the_last_layer_of_cnv_are_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", CNV)
    expected = importers.load(folder).network
    for element in range(4):
        np.full(4, element, "<i8").tofile(folder / f"8-{element}-thres.bin")
    (folder / "8-9-thres.bin").write_bytes(b"odd")
    os.mkfifo(folder / "8-4-thres.bin")
    found = importers.load(folder)
    assert any("8-P-thres.bin are not read" in note for note in found.report.notes)
    images = RNG.integers(0, 256, (3, 32 * 32 * 3)).astype(np.uint8)
    assert found.network.output_kind == "scores"
    np.testing.assert_array_equal(fast.run(found.network, images), fast.run(expected, images))


def put_threshold(folder: Path, neuron: int, value: int, pe: int, layer: int) -> None:
    file = folder / f"{layer}-{neuron % pe}-thres.bin"
    values = np.fromfile(file, "<i8")
    values[neuron // pe] = value
    values.tofile(file)


def test_a_threshold_of_padding_may_be_anything(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", LFC)
    layers = bnn_folders.parse(folder, LFC)
    assert layers is not None
    for neuron, value in enumerate((65535, 1 << 40, 36, 32768), CLASSES):
        put_threshold(folder, neuron, value, 4, 3)
    network = importers.load(folder).network
    np.testing.assert_array_equal(fast.run(network, IMAGES), bnn_folders.lfc(layers, IMAGES))
    # The neuron of a class is another matter, and so is one of a hidden layer.
    put_threshold(folder, CLASSES - 1, 65535, 4, 3)
    refused(folder, "layer 3: a threshold is 65535, but must be -32768 to 32767")
    folder = write(tmp_path / "y", LFC)
    put_threshold(folder, 3, 65535, 8, 1)
    refused(folder, "layer 1: a threshold is 65535")


def test_padding_behind_the_named_classes_may_have_any_weights(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", LFC)
    for element in range(4):
        file = folder / f"3-{element}-weights.bin"
        words = np.fromfile(file, "<u8")
        words[-9:] = 0  # the last neuron of each element: all -1
        words.tofile(file)
    assert importers.load(folder).network.class_count == CLASSES
    (folder / "classes.txt").unlink()
    assert importers.load(folder).network.class_count == 16
    (folder / "classes.txt").write_text("only\none\n")
    refused(folder, "classes.txt names 2 classes, but the last layer has 16 neurons")


WIDE = [(LFC, (1, 2)), (CNV, (2, 2)), (CNV, (1, 2)), (NARROW, (2, 2))]


@pytest.mark.parametrize(("stored", "precision"), some(WIDE, 2, many=True))
def test_two_bit_activations(tmp_path: Path, stored: tuple[Stored, ...], precision: Precision) -> None:
    folder = write(tmp_path / "x", stored, precision=precision)
    imported = importers.load(folder)
    network, name = imported.network, "W{}A{}".format(*precision)
    assert f"{name}, " in imported.report.notes[0] and imported.report.check.mismatches == 0
    assert imported.report.check.boundary > 100
    images = IMAGES if stored is not CNV else RNG.integers(-128, 128, (4, 32, 32, 3))
    expected = bnn_folders.wide(folder, stored, precision, images)
    values = images if stored is not CNV else (images + 128).astype(np.uint8)
    for model in (fast, golden):
        found = model.run(network, values)
        if stored is CNV:
            assert network.offset is not None
            found = found + network.offset
        np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected, axis=0)) > 1 and network.class_count == CLASSES
    if stored is CNV:  # the lowest index of the highest
        assert network.classify(model.run(network, values)).tolist() == expected.argmax(axis=1).tolist()
    first, hidden = imported.report.layers[0], imported.report.layers[1]
    assert first.bits == (precision[0], 8 if stored is CNV else 1, 2) and hidden.bits == (precision[0], 2, 2)


def test_weights_of_minus_two(tmp_path: Path) -> None:
    """Two bits hold them, though none of the published networks has one."""
    folder = write(tmp_path / "x", NARROW, precision=(2, 2))
    words = np.fromfile(folder / "1-0-weights.bin", "<u8")
    words[:] = 0b10_10_00_01_11_10_01_01_11_00_10_11
    words.tofile(folder / "1-0-weights.bin")
    network = importers.load(folder).network
    expected = bnn_folders.wide(folder, NARROW, (2, 2), IMAGES)
    np.testing.assert_array_equal(fast.run(network, IMAGES), expected)


@pytest.mark.parametrize(("stored", "precision"), some(WIDE[:2], 1, many=True))
def test_the_check_sees_one_of_two_thresholds_off_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[Stored, ...], precision: Precision
) -> None:
    folder = write(tmp_path / "x", stored, precision=precision)
    real, count = build.neuron_thresholds, 0

    def changed(layer: files.RawLayer, shape: topology.Shape) -> np.ndarray:
        nonlocal count
        count += 1
        values = real(layer, shape).copy()
        if count == 2:
            values[3, 1] += 1
        return values

    monkeypatch.setattr(build, "neuron_thresholds", changed)
    with pytest.raises(ImportFailedError, match=r"1, channel 3\); this is a bug|image"):
        importers.load(folder)


def test_sizes_that_fit_no_precision_are_said_of_the_closest(tmp_path: Path) -> None:
    folder = write(tmp_path / "x", LFC, precision=(1, 2))
    for file in folder.glob("2-*-thres.bin"):
        values = np.fromfile(file, "<i8")
        values[::2].tofile(file)
    refused(folder, r"layer 2 \(of W1A2\): 10 words of 8 bits per neuron, but the layer before gives 40")
    folder = write(tmp_path / "y", LFC, precision=(1, 2))
    np.full(24, 1 << 16, "<i8").tofile(folder / "0-1-thres.bin")
    refused(folder, "layer 0: a threshold is 65536, but must be -32768 to 32767")


def test_other_sources(tmp_path: Path) -> None:
    refused(tmp_path / "none", "no file or folder .*none' to import; give a .onnx file, or a BNN-PYNQ folder")
    refused(tmp_path, "holds no network that can be imported")
    folder = write(tmp_path / "x", LFC)
    refused(folder / "0-0-weights.bin", r"is one part of a BNN-PYNQ network; give its folder")
    (tmp_path / "net.pb").write_bytes(b"x")
    refused(tmp_path / "net.pb", "is of no format that can be imported")


def test_a_published_size_is_imported_in_seconds_without_torch(tmp_path: Path) -> None:
    sizes = [(1024, 832, 32, 64), (1024, 1024, 64, 32), (1024, 1024, 32, 64), (64, 1024, 16, 8)]
    folder = write(tmp_path / "x", tuple(Stored(*size) for size in sizes))
    script = (
        "import sys; from xnorcore import importers; importers.load(sys.argv[1]);"
        "sys.exit(repr({'torch', 'onnx', 'amaranth'} & set(sys.modules) or ''))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True)
    after = os.times()
    assert done.stderr.strip() in ("", "''")
    # Of the processor, not of the clock: other tests run at the same time.
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 5
