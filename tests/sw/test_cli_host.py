"""Commands with networks that have real layers: one rule for images and scores everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.sw.cli_tools import Run, runner
from tests.sw.test_hosted import dense
from xnorcore.files import xnorfile
from xnorcore.host.head import Head
from xnorcore.host.layers import RealConv2d, RealDense
from xnorcore.model.network import InputSpec, Network
from xnorcore.reference import golden

DEVICE = ("--port", "machine:rows=2,columns=8,width=8,act_depth=64")


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Network, np.ndarray]:
    """A network in ``n.xnor`` and images in ``in.npy``, in the current folder."""
    monkeypatch.chdir(tmp_path)
    net = dense()
    images = np.random.default_rng(2).integers(0, 256, (9, 5), np.uint8)
    xnorfile.save(net, "n.xnor")
    np.save("in.npy", images)
    return net, images


def scores(net: Network, images: Any) -> Any:
    return net.scores(golden.run(net, net.encode(images)))


@pytest.mark.parametrize(
    "command",
    [["golden"], ["golden", "--fast"], ["run", *DEVICE, "--check"]],
    ids=["golden", "fast", "run"],
)
def test_images_become_scores(case: tuple[Network, np.ndarray], command: list[str], cli: Run) -> None:
    net, images = case
    name, *options = command
    code, out, err = cli(name, "n.xnor", "in.npy", *options, "-o", "out.npy", "--json")
    assert code == 0, err
    assert "images through real layers on the host" in err
    np.testing.assert_array_equal(np.load("out.npy"), scores(net, images))
    assert json.loads(out).get("mismatches", 0) == 0
    code, _, err = cli(name, "n.xnor", "in.npy", *options, "-o", "out.npy", "--classes")
    assert code == 0, err
    np.testing.assert_array_equal(np.load("out.npy"), scores(net, images).argmax(axis=1))


def test_floats_and_values_can_be_given(case: tuple[Network, np.ndarray], cli: Run) -> None:
    net, images = case
    assert net.head is not None
    assert net.head.pixels is not None
    np.save("in.npy", net.head.pixels[0][images])
    assert cli("golden", "n.xnor", "in.npy", "-o", "a.npy")[0] == 0
    np.save("in.npy", net.encode(images))
    assert cli("golden", "n.xnor", "in.npy", "-o", "b.npy", "--inputs", "values")[0] == 0
    for name in ("a.npy", "b.npy"):
        np.testing.assert_array_equal(np.load(name), scores(net, images))
    np.save("in.npy", np.full((1, 5), np.nan))
    code, _, err = cli("golden", "n.xnor", "in.npy", "-o", "a.npy")
    assert (code, "in.npy: images hold numbers that are not finite" in err) == (2, True)


def test_info_says_what_runs_where(case: tuple[Network, np.ndarray], cli: Run) -> None:
    code, out, _ = cli("info", "n.xnor")
    assert code in (0, 1)
    assert "on the host, head: 5 to 8 values by dense; 40 MACs per image" in out
    assert "on the host, tail: 4 to 3 values by dense, affine; 12 MACs per image" in out
    host = json.loads(cli("info", "n.xnor", "--json")[1])["host"]
    assert host["tail"] == {"reads": [4], "gives": [3], "layers": ["dense", "affine"], "macs": 12}
    assert json.loads(cli("info", "digits", "--json")[1])["host"] is None


def test_eval_and_sample_take_the_images_of_the_head(
    case: tuple[Network, np.ndarray], cli: Run, tmp_path: Path
) -> None:
    net, images = case
    labels = scores(net, images).argmax(axis=1)
    labels[0] = (labels[0] + 1) % 3
    np.savez("data.npz", test_images=images, test_labels=labels)
    value = json.loads(cli("eval", "n.xnor", "--data", "data.npz", "--json", "--inputs", "pixels")[1])
    assert (value["correct"], value["images"]) == (8, 9)
    assert value["pixels"] == "pixels through real layers on the host"
    command = ("sample", "n.xnor", "--data", "data.npz", "--inputs", "pixels", "--json")
    assert cli(*command, "-o", "s.npy", "--labels", "l.npy")[0] == 0
    np.testing.assert_array_equal(np.load("s.npy"), images)
    assert cli("golden", "n.xnor", "s.npy", "-o", "o.npy")[0] == 0
    np.testing.assert_array_equal(np.load("o.npy"), scores(net, images))
    value = json.loads(cli("sample", "n.xnor", "-o", "r.npy", "--count", "4", "--json")[1])
    assert (value["source"], value["bits"], value["shape"]) == ("random", 8, [5])


def test_verify_is_of_the_integer_network(case: tuple[Network, np.ndarray]) -> None:
    from xnorcore.link.session import Session
    from xnorcore.runtime.accelerator import Accelerator
    from xnorcore.runtime.interpreted import open_machine
    from xnorcore.verify.ask import checks, observe

    net, images = case
    values = net.encode(images)
    with Accelerator(Session(open_machine("rows=2,columns=8,width=8,act_depth=64"), seed=0)) as device:
        found = checks(net, "machine", observe(device, net, values), values, golden.layers(net, values))
    assert len(found) >= 3
    assert not [one for one in found if one.mismatches]


def test_pictures_go_through_the_head(tmp_path: Path, cli: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(4)
    layers = [RealConv2d(rng.normal(size=(8, 5, 5, 3)))]
    head = Head((5, 5, 3), layers, [[0]], np.linspace(-1, 1, 256)[np.newaxis])
    net = Network("n", InputSpec((1, 1, 8)), dense().layers, head=head, tail=dense().tail)
    xnorfile.save(net, "n.xnor")
    pixels = rng.integers(0, 256, (5, 5, 3), np.uint8)
    Image.fromarray(pixels).save("p.png")
    code, out, err = cli("classify", "n.xnor", "p.png", "--json", "--draw", "0")
    assert code == 0, err
    (found,) = json.loads(out)["pictures"]
    wanted = scores(net, pixels[np.newaxis])[0]
    assert found["number"] == wanted.argmax()
    assert found["scores"][0]["score"] == pytest.approx(wanted.max(), abs=1e-4)


def test_a_head_without_pixels_takes_floats_only(tmp_path: Path, cli: Run) -> None:
    net = dense(head=Head((5,), [RealDense(np.ones((8, 5)))], [[0]]))
    path = str(tmp_path / "n.xnor")
    xnorfile.save(net, path)
    np.savez(tmp_path / "d.npz", test_images=np.full((3, 5), 200, np.uint8), test_labels=[0, 1, 2])
    code, _, err = cli("eval", path, "--data", str(tmp_path / "d.npz"))
    assert (code, "has no rule for pixels; give it numbers, as floats in IN.npy" in err) == (2, True)
    code, _, err = cli("sample", path, "-o", str(tmp_path / "o.npy"))
    assert (code, "make images yourself" in err) == (2, True)


def test_pixels_of_another_range_are_refused(case: tuple[Network, np.ndarray], cli: Run) -> None:
    np.savez("data.npz", test_images=np.full((3, 5), 16, np.uint8), test_labels=[0, 1, 2])
    code, _, err = cli("eval", "n.xnor", "--data", "data.npz")
    assert (code, "images reach 16, but the pixels of network 'hosted' are 0 to 255" in err) == (2, True)
