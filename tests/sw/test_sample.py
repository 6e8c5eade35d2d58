"""`sample`: the images that a command makes are those that every other command takes."""

import json

import numpy as np
import pytest

from xnorcore import datasets, zoo
from xnorcore.cli import main
from xnorcore.datasets import own
from xnorcore.files import xnorfile
from xnorcore.reference import golden

from .cli_tools import network, one_object, runner


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XNORCORE_DATA", raising=False)
    # The machine may have data sets where everybody looks.
    monkeypatch.setattr(datasets.published, "USUAL", ())
    return runner(capsys)


@pytest.mark.parametrize("name", zoo.names())
def test_packaged_images(run, tmp_path, name):
    code, out, err = run("sample", name, "-o", "in.npy", "--labels", "labels.npy", "--count", "7")
    images, labels = zoo.test_images(name)
    assert (code, err) == (0, "") and out.startswith(
        f"7 packaged images of '{name}', which training never saw"
    )
    found = np.load(tmp_path / "in.npy")
    assert found.dtype == np.uint8 and np.array_equal(found, images[:7])
    assert np.array_equal(np.load(tmp_path / "labels.npy"), labels[:7])


def test_the_labels_are_those_of_the_images(run, tmp_path):
    assert run("sample", "digits", "-o", "in.npy", "--labels", "labels.npy")[0] == 0
    assert run("golden", "digits", "in.npy", "-o", "out.npy", "--classes")[0] == 0
    assert len(np.load("out.npy")) == 100
    assert (np.load("out.npy") == np.load("labels.npy")).mean() > 0.9


def test_json(run):
    value = one_object(run("sample", "fashion", "-o", "in.npy", "--json")[1])
    assert value == {
        "command": "sample", "network": "fashion", "images": 100, "shape": [28, 28, 1], "bits": 8,
        "source": "packaged", "data": None, "seed": None, "output": "in.npy", "labels": None,
    }  # fmt: skip


def test_more_than_is_packaged_is_not_made_up(run, tmp_path):
    code, out, err = run("sample", "mnist-tfc", "-o", "in.npy", "--count", "501")
    assert (code, out) == (
        2,
        "",
    ) and "'mnist-tfc' comes with 500 images; more need its data set: MNIST" in err
    assert not (tmp_path / "in.npy").exists()


def folder_of_pixels(path, count=6):
    """A data set of one's own: 8 x 8 pixels up to 255, labels 0 to 9."""
    path.mkdir()
    rng = np.random.default_rng(3)
    np.save(path / "images.npy", rng.integers(0, 256, (count, 28, 28), dtype=np.uint8))
    np.save(path / "labels.npy", np.arange(count))
    return path


def test_a_data_set_passes_the_rule_for_pixels(run, tmp_path):
    folder_of_pixels(tmp_path / "mine")
    code, out, _ = run("sample", "mnist-tfc", "-o", "in.npy", "--data", "mine", "--labels", "l.npy")
    assert code == 0 and out.startswith(
        "6 held-out images of mine, pixel >= 128: 28 x 28 x 1 values of 1 bit"
    )
    pixels = own.load_test(tmp_path / "mine").images
    assert np.array_equal(np.load("in.npy"), pixels >= 128)
    assert np.load("l.npy").tolist() == list(range(6))
    # What eval measures on the same data is what golden makes of the file.
    assert run("eval", "mnist-tfc", "--data", "mine", "--json")[0] == 0
    net = zoo.load("mnist-tfc")
    right = int((net.classify(golden.run(net, np.load("in.npy"))) == np.arange(6)).sum())
    assert one_object(run("eval", "mnist-tfc", "--data", "mine", "--json")[1])["correct"] == right


def test_what_a_network_was_trained_with_is_looked_for(run, tmp_path, monkeypatch):
    folder = folder_of_pixels(tmp_path / "mine")
    asked = []

    def load_test(name, place):
        asked.append(name)
        return own.load_test(folder)

    monkeypatch.setattr(datasets, "load_test", load_test)
    xnorfile.save(zoo.load("mnist-tfc"), "mine.xnor")
    value = one_object(run("sample", "mine.xnor", "-o", "in.npy", "--json", "--count", "3")[1])
    assert asked == ["mnist"]
    assert (value["source"], value["data"], value["images"]) == ("data", "mnist", 3)


def test_random_images_say_so(run, tmp_path):
    xnorfile.save(network(bits=3), tmp_path / "net.xnor")
    code, out, err = run("sample", "net.xnor", "-o", "in.npy", "--count", "50")
    assert code == 0 and out == "50 random images, seed 0: 20 values of 3 bit in in.npy\n"
    assert err == (
        "xnorcore: no images are packaged with 'net.xnor', so these are random (its file names no data set; "
        "--data does)\n"
    )
    first = np.load("in.npy")
    assert first.shape == (50, 20) and set(np.unique(first)) == set(range(8))
    run("sample", "net.xnor", "-o", "in.npy", "--count", "50")
    assert np.array_equal(np.load("in.npy"), first)
    value = one_object(run("sample", "net.xnor", "-o", "in.npy", "--seed", "1", "--json")[1])
    assert not np.array_equal(np.load("in.npy")[:50], first) and (value["source"], value["seed"]) == (
        "random",
        1,
    )
    assert run("sim", "net.xnor", "in.npy", "--columns", "8", "--width", "8")[0] == 0


def test_a_data_set_that_is_missing_here(run, tmp_path):
    xnorfile.save(zoo.load("mnist-tfc"), tmp_path / "net.xnor")
    code, out, err = run("sample", "net.xnor", "-o", "in.npy", "--count", "2")
    assert code == 0 and "so these are random (MNIST is not in" in err and out.startswith("2 random images")
    # Asked for by name, it is no longer a matter of taste.
    code, out, err = run("sample", "net.xnor", "-o", "other.npy", "--data", "mnist")
    assert (code, out) == (2, "") and "MNIST is not in" in err and not (tmp_path / "other.npy").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["net.xnor", "-o", "in.npy", "--labels", "l.npy"], "no labels for random images"),
        (["digits", "-o", "in.npy", "--labels", "in.npy"], "cannot write images and labels to the one file"),
        (["digits", "-o", "nowhere/in.npy"], "no directory nowhere"),
        (["net.xnor", "-o", "net.xnor"], "it is the input file"),
        (["digits", "-o", "in.npy", "--count", "0"], "not a whole number, 1 or more"),
        (["net.xnor", "-o", "in.npy", "--folder", "."], "names no data set to look for"),
        (
            ["digits", "-o", "in.npy", "--data", "mine"],
            "images are 28 x 28 x 1, but network 'digits' takes 8 x 8",
        ),
        (
            ["mnist-tfc", "-o", "in.npy", "--data", "mine", "--count", "7"],
            "but there are 6 held-out images of mine",
        ),
    ],
)
def test_refused(run, tmp_path, argv, message):
    folder_of_pixels(tmp_path / "mine")
    xnorfile.save(network(), tmp_path / "net.xnor")
    code, out, err = run("sample", *argv)
    assert (code, out) == (2, "") and message in err
    assert not (tmp_path / "in.npy").exists() and not (tmp_path / "l.npy").exists()


def test_sampled_images_and_labels_are_a_data_set(run, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert main(["sample", "digits", "-o", "mine/images.npy", "--labels", "mine/labels.npy"]) == 0
    capsys.readouterr()
    assert main(["eval", "digits", "--data", "mine", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["correct"] > 90
