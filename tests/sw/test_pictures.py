"""Pictures in every form a user has them, and the ones that nobody should open."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from importlib import import_module

import numpy as np
import pytest
from PIL import Image

from xnorcore import pictures, zoo
from xnorcore.errors import FileFormatError, InputError, UsageError, XnorcoreError
from xnorcore.files import xnorfile
from xnorcore.model import pixels
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.pictures import PictureRule, decode, paper
from xnorcore.reference import fast

from .cli_tools import network, runner
from .photos import FONTS, photos


def png(array: np.ndarray, form: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def run(capsys):
    return runner(capsys)


@pytest.fixture
def folder(tmp_path):
    """Held-out digits as pictures of the network's size, in folders by class, named as people name them."""
    images, labels = zoo.test_images("mnist-sfc")
    for number, (image, label) in enumerate(zip(images[:30, ..., 0], labels[:30], strict=True)):
        home = tmp_path / "my digits" / str(label)
        home.mkdir(parents=True, exist_ok=True)
        (home / f"Größe {number}.png").write_bytes(png(image * 255))
    return tmp_path / "my digits"


@pytest.mark.campaign
def test_photos_of_digits_on_paper():
    """The seed is not chosen: another one with every run, and the figure holds for all."""
    seed = int.from_bytes(os.urandom(4))
    images, labels = zoo.test_images("mnist-lfc")
    net = zoo.load("mnist-lfc")
    fit = pictures.rule(net)
    seen, wanted = [], []
    for data, label in photos(images, labels, seed):
        seen.append(fit.pixels(decode("photo", data)))
        wanted.append(label)
    values = pixels.rule(net, fit.maximum, "pixels").values(np.stack(seen))
    right = net.classify(fast.run(net, values)) == wanted
    assert len(right) == 200 and len(FONTS) == 3
    assert right.sum() >= 180, f"seed {seed}: {right.sum()} of 200"


def test_light_strokes_on_dark_ground_give_the_same():
    rng = np.random.default_rng(3)
    image = np.full((150, 120), 210.0)
    image[30:110, 50:60] = 40
    image = np.clip(image + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
    dark = paper.normalise(image, (28, 28), 20).astype(int)
    light = paper.normalise(255 - image, (28, 28), 20).astype(int)
    assert (dark > 127).sum() >= 40 and abs((dark > 127).sum() - (light > 127).sum()) <= 8


def test_strokes_lie_in_the_box_and_their_mass_in_the_middle():
    image = np.full((200, 300), 240, np.uint8)
    image[20:120, 200:212] = 30
    image[108:120, 200:270] = 30
    found = paper.normalise(image, (28, 28), 20).astype(float)
    rows, columns = np.flatnonzero((found > 127).any(axis=1)), np.flatnonzero((found > 127).any(axis=0))
    assert 19 <= np.ptp(rows) + 1 <= 20 and np.ptp(columns) + 1 <= 20
    middle = [(found.sum(axis=1 - a) * (np.arange(28) + 0.5)).sum() / found.sum() for a in (0, 1)]
    assert np.abs(np.array(middle) - 14).max() < 1


def test_blank_paper_is_told():
    with pytest.raises(InputError, match="no strokes stand out"):
        paper.normalise(np.full((90, 90), 200, np.uint8), (28, 28), 20)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2, 2), (5, 3), (300, 1)])
def test_tiny_pictures_are_a_result_or_an_error(size):
    image = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    for fit in pictures.FITS:
        wanted = PictureRule((28, 28, 1), fit, box=20)
        try:
            assert wanted.pixels(decode("x", png(image))).shape == (28, 28, 1)
        except InputError as error:
            assert fit == "paper" and "no strokes" in str(error)


def test_parts_are_numbered_as_scipy_does():
    ndimage = import_module("scipy.ndimage")

    rng = np.random.default_rng(7)
    for share in (0.2, 0.4, 0.6, 1.0, 0.0):
        mask = rng.random((40, 31)) < share
        found = paper.label(mask)
        expected, count = ndimage.label(mask, np.ones((3, 3)))
        pairs = {(int(a), int(b)) for a, b in zip(found.ravel(), np.asarray(expected).ravel(), strict=True)}
        assert len(pairs) == count + bool((~mask).any()) and found.max() == count


def test_closing_is_that_of_scipy():
    ndimage = import_module("scipy.ndimage")

    values = np.random.default_rng(1).integers(0, 256, (20, 33)).astype(float)
    padded = np.pad(values, 14, mode="edge")
    expected = ndimage.grey_closing(padded, (7, 7))[14:-14, 14:-14]
    assert (paper._closed(values, 7) == expected).all()


GREY = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(GREY), GREY),
        (png(GREY.astype(np.uint16) * 257), GREY),
        (png(np.dstack([GREY] * 3)), np.dstack([GREY] * 3)),
        (png(np.dstack([GREY, np.full_like(GREY, 255)])), GREY),
        (png(np.dstack([GREY, np.zeros_like(GREY)])), np.full_like(GREY, 255)),
        (png(np.dstack([GREY, GREY, GREY, np.zeros_like(GREY)])), np.full_like(GREY, 255)),
        (png(GREY > 90), (GREY > 90).astype(np.uint8) * 255),
    ],
    ids=["grey", "16 bits", "colour", "alpha", "clear", "clear colour", "1 bit"],
)
def test_forms(data, expected):
    found = decode("x", data)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected.reshape(8, 8, -1))


def test_the_turn_that_a_camera_writes_down():
    image = Image.fromarray(np.dstack([np.pad(np.full((4, 12), 250, np.uint8), ((0, 4), (0, 0)))] * 3))
    turn = Image.Exif()
    turn[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=turn, quality=95)
    found = decode("x", buffer.getvalue())
    assert found.shape == (12, 8, 3) and found[:, 5:].mean() > 200 and found[:, :3].mean() < 50


def header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has nothing behind it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("width", [60_000, 1 << 20, 0x7FFFFFFF])
def test_huge_pictures_are_refused_by_their_header(width, monkeypatch):
    monkeypatch.setattr("xnorcore.pictures.decoding._pixels", None)
    with pytest.raises(FileFormatError, match="the limit is 50000000"):
        decode("x", header(width, 60_000))


def test_damaged_pictures_are_told():
    whole = png(GREY, "JPEG")
    rng = np.random.default_rng(2)
    cases = [b"", b"GIF89a" + bytes(40), whole[:40], header(9, 9), png(GREY)[:-30], bytes(200)]
    for _ in range(150):
        data = bytearray(png(np.dstack([GREY] * 3)) if rng.random() < 0.5 else whole)
        for at in rng.integers(0, len(data), 6):
            data[at] = rng.integers(256)
        cases.append(bytes(data))
    refused = 0
    for data in cases:
        try:
            assert decode("x", data).dtype == np.uint8
        except FileFormatError as error:
            refused += 1
            assert "'x'" in str(error) and "\n" not in str(error)
    assert refused >= 30
    with pytest.raises(FileFormatError, match="not a PNG or JPEG"):
        decode("x", cases[1])


def test_links_do_not_lead_out_of_a_folder(folder, tmp_path):
    (tmp_path / "secret.png").write_bytes(png(GREY))
    count = len(pictures.find(folder))
    (folder / "1" / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "1" / "gone.png").symlink_to(tmp_path / "nothing.png")
    (folder / "1" / "up").symlink_to(folder)
    (folder / "out").symlink_to(tmp_path)
    (folder / ".hidden.png").write_bytes(png(GREY))
    assert len(pictures.find(folder)) == count
    # A link inside is a file like any other.
    (folder / "1" / "in.png").symlink_to(next((folder / "1").glob("G*.png")))
    assert len(pictures.find(folder)) == count + 1


def test_folders_are_evaluated_by_the_rule_for_arrays(run, folder, tmp_path):
    """The same digits, as pictures and as an array of pixels: the same number is right."""
    images, labels = zoo.test_images("mnist-sfc")
    np.savez(tmp_path / "same.npz", images=images[:30, ..., 0] * 255, labels=labels[:30])
    by_folder = json.loads(run("eval", "mnist-sfc", "--data", folder, "--json")[1])
    by_array = json.loads(run("eval", "mnist-sfc", "--data", tmp_path / "same.npz", "--json")[1])
    for key in ("correct", "images", "pixels", "inputs", "largest"):
        assert by_folder[key] == by_array[key]
    assert by_folder["correct"] >= 28


def test_every_command_takes_what_eval_takes(run, folder, tmp_path):
    images, labels = zoo.test_images("mnist-sfc")
    order = [int(found.path.stem.split()[1]) for found in pictures.find(folder)]
    np.save(tmp_path / "pixels.npy", images[order] * 200)
    np.save(tmp_path / "inputs.npy", images[order])
    np.savez(tmp_path / "set.npz", images=images[order, ..., 0] * 255, labels=labels[order])
    expected = fast.run(zoo.load("mnist-sfc"), images[order])
    for source in (folder, tmp_path / "pixels.npy", tmp_path / "inputs.npy", tmp_path / "set.npz"):
        code, _, err = run("golden", "mnist-sfc", source, "--fast", "-o", tmp_path / "out.npy")
        assert code == 0, err
        assert np.array_equal(np.load(tmp_path / "out.npy"), expected), source
        assert ("pixel >= 128" in err) == (source.name != "inputs.npy")
    code, _, err = run(
        "golden", "mnist-sfc", tmp_path / "pixels.npy", "--inputs", "values", "-o", tmp_path / "no.npy"
    )
    assert code == 2 and "holds the value 200" in err.replace("hold the", "holds the")


def test_a_device_sees_what_the_model_sees(run, folder):
    by_model = json.loads(run("classify", "mnist-sfc", folder, "--json")[1])
    by_device = json.loads(run("classify", "mnist-sfc", folder, "--json", "--port", "machine:rows=1")[1])
    assert by_model["pictures"] == by_device["pictures"] and by_model["images"] == 30
    assert (by_model["engine"], by_device["engine"]) == ("fast", "machine:rows=1")


def test_classify_draws_and_names(run, folder):
    code, out, err = run("classify", "mnist-sfc", folder / "0", "--draw", "2")
    assert (code, err) == (0, "")
    assert "Größe" in out and "picture" in out and "seen as: strokes found on paper" in out
    answer = json.loads(run("classify", "mnist-sfc", folder / "0", "--json")[1])["pictures"][0]
    assert answer["class"] == "0" == answer["scores"][0]["class"] and len(answer["scores"]) == 10


def test_a_picture_on_stdin(folder):
    data = next((folder / "7").glob("*.png")).read_bytes()
    command = [sys.executable, "-m", "xnorcore", "classify", "mnist-sfc", "-", "--json"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pictures"][0]["class"] == "7"


def test_a_folder_that_is_watched(run, folder):
    argv = ("classify", "mnist-sfc", "--watch", folder / "0", "--count", "2")
    value = json.loads(run(*argv, "--json")[1])
    assert [each["class"] for each in value["pictures"]] == ["0", "0"]
    (folder / "0" / "A.png").write_bytes(b"damaged")
    code, out, err = run(*argv)
    assert code == 0 and out.count("Größe") == 2 and "A.png" in err


class Camera:
    """What OpenCV gives of a camera: blue, green, red."""

    def __init__(self, number: int) -> None:
        self.left = 3 if number == 0 else 0

    def isOpened(self) -> bool:
        return self.left > 0

    def read(self):
        self.left -= 1
        image = np.zeros((40, 60, 3), np.uint8)
        image[..., 0] = 255
        return self.left >= 0, image

    def release(self) -> None:
        pass


def test_a_camera(run, monkeypatch, tmp_path):
    class Stand:
        VideoCapture = Camera

    monkeypatch.setitem(sys.modules, "cv2", Stand)
    weights = np.tile(np.array([[1, -1, -1], [-1, -1, 1]]), 16)
    named = {"classes": ["red", "blue"]}
    net = Network("colours", InputSpec((4, 4, 3), 8), [Dense(weights)], metadata=named)
    xnorfile.save(net, tmp_path / "net.xnor")
    value = json.loads(run("classify", tmp_path / "net.xnor", "--camera", "0", "--count", "2", "--json")[1])
    assert [each["class"] for each in value["pictures"]] == ["blue", "blue"]
    assert "gives no more pictures" in run("classify", tmp_path / "net.xnor", "--camera", "0")[2]
    assert "no camera 5" in run("classify", tmp_path / "net.xnor", "--camera", "5")[2]
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert "a camera needs OpenCV" in run("classify", tmp_path / "net.xnor", "--camera", "0")[2]


def test_mistakes_are_told(run, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.png").write_bytes(b"no")
    xnorfile.save(network(), tmp_path / "flat.xnor")
    cases = {
        ("mnist-sfc",): "give pictures, or --camera",
        ("mnist-sfc", tmp_path / "empty"): "no pictures in",
        ("mnist-sfc", tmp_path / "none.png"): "neither a file nor a folder",
        ("mnist-sfc", tmp_path / "bad.png"): "is not a PNG or JPEG",
        ("mnist-sfc", folder, "--watch", folder): "give pictures, or",
        ("mnist-sfc", "--watch", tmp_path / "none"): "no folder",
        ("mnist-sfc", "--watch", folder, "--json"): "say with --count",
        (tmp_path / "flat.xnor", folder): "no picture of 1 or 3 channels",
    }
    for argv, text in cases.items():
        code, out, err = run("classify", *argv)
        assert (code, out) == (2, "") and text in err, (argv, err)


def test_without_pillow(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    code, _, err = run("classify", "mnist-sfc", folder)
    assert code == 2 and "pictures need Pillow; run: " in err


@pytest.mark.parametrize(
    "stored",
    [1, {}, {"fit": "no"}, {"fit": "crop", "more": 1}, {"fit": "paper", "box": 99}, {"fit": ["crop"]}],
)
def test_a_damaged_rule_is_told(stored):
    net = zoo.load("mnist-sfc")
    other = Network("x", net.input, net.layers, metadata={"pictures": stored})
    with pytest.raises(FileFormatError, match="metadata 'pictures' must be"):
        pictures.rule(other)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_sizes_and_colours(fit):
    """A red left half, on pictures of other shapes and depths: half of what is seen is red, or nearly."""
    for height, width in ((40, 60), (60, 40), (4, 4), (300, 301)):
        image = np.zeros((height, width, 3), np.uint8)
        image[:, : width // 2, 0] = 255
        found = PictureRule((8, 8, 3), fit).pixels(image)
        assert found.shape == (8, 8, 3) and found[..., 1:].max() == 0
        assert 0.4 <= found[..., 0].mean() / 255 <= 0.6
        inverted = PictureRule((8, 8, 3), fit, invert=True).pixels(image)
        assert (inverted == 255 - found).all()
        assert PictureRule((8, 8, 1), fit, maximum=15).pixels(image).max() <= 15


def test_errors_are_ours():
    for kind in (FileFormatError, InputError, UsageError):
        assert issubclass(kind, XnorcoreError)
