"""BNN-PYNQ folders: synthetic ones, in the published layout, against a reading of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xnorcore import importers
from xnorcore.errors import ImportFailedError
from xnorcore.importers.bnn_pynq import build, check, execute, files, topology
from xnorcore.model import pixels
from xnorcore.reference import fast, golden

from . import bnn_folders
from .bnn_folders import CLASSES, CNV, LFC, Stored, write

RNG = np.random.default_rng(5)
IMAGES = RNG.integers(0, 2, (60, 784)).astype(np.uint8)


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
    assert report.layers[0].accumulator_bound == 784
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
    np.testing.assert_array_equal(pixels.rule(lfc)[0], x / 255 * 2 - 1 >= 0)
    cnv = importers.load(write(tmp_path / "cnv", CNV)).network
    q = np.clip(np.round((x / 255 * 2 - 1) * 128), -128, 127)
    np.testing.assert_array_equal(pixels.rule(cnv)[0], q + 128)


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
@pytest.mark.parametrize("by", [-1, 1])
def test_the_check_sees_one_threshold_off_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stored: tuple[Stored, ...], by: int
) -> None:
    """Such as >= where the definition says >."""
    folder = write(tmp_path / "x", stored)
    real = build.neuron_thresholds
    hidden = len(stored) - (2 if stored is CNV else 1)
    for wrong in range(hidden):
        calls = iter(range(99))

        def changed(layer: files.RawLayer, wrong: int = wrong, calls=calls) -> np.ndarray:
            values = real(layer).copy()
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
        thresholds = topology.neuron_thresholds(each.raw)
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


def refused(folder: Path, message: str) -> None:
    with pytest.raises(ImportFailedError, match=message) as caught:
        importers.load(folder)
    assert "\n" not in str(caught.value)


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
    refused(folder, r"3 layers, all with thresholds, are neither LFC \(4, all with\) nor CNV")
    folder = fresh()
    for file in folder.glob("1-*-thres.bin"):
        file.unlink()
    refused(folder, "layer 1 has no thresholds, but only the last may have none")
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
        os.truncate(file, 624)
    refused(folder, "78 words per file for 12 thresholds")
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
    folder = fresh(CNV)
    for element in range(4):
        np.full(96, 8, "<u8").tofile(folder / f"8-{element}-weights.bin")
    refused(folder, "layer 8: |last layer has")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    for name in ("0-0-weights.bin", "1-0-thres.bin", "classes.txt"):
        folder = write(tmp_path / name, LFC)
        (folder / name).unlink()
        os.mkfifo(folder / name)
        refused(folder, "is not a regular file|is no small text file")
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        refused(folder, "is not a regular file|is no small text file")
        (folder / name).unlink()
        (folder / name).mkdir()
        refused(folder, "is not a regular file|is no small text file")
        (folder / name).rmdir()
        (folder / name).symlink_to(folder / name)
        if name != "classes.txt":
            refused(folder, "cannot be read: Too many levels")


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
