"""``verify`` on the simulated device: any layer's bits and sums, planted faults named, random networks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth import Module

from tests.sw.cli_tools import one_object, runner
from xnorcore.compiler import rows as lowering
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import sums_network
from xnorcore.errors import CapacityError, NotLoadedError, UsageError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.link.session import Session
from xnorcore.model.layers import Conv2d, Dense, InputSpec, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify import Device, Fault, Report, observe, verify
from xnorcore.verify import campaign as campaigns
from xnorcore.verify.ask import checks, sim_url
from xnorcore.verify.case import check, draw
from xnorcore.verify.random_networks import dense_network, random_images, signs, thresholds
from xnorcore.verify.shrink import shrink
from xnorcore_hw.array.array import ColumnGroup
from xnorcore_hw.shells.sim import SimTop
from xnorcore_hw.sim.compiled import CompiledEngine
from xnorcore_hw.sim.transport import SimOptions, SimTransport

CONFIG = DeviceConfig(Geometry(2, 8, 8), act_depth=1024, weight_depth=256, fifo_bytes=1024)
URL = sim_url(CONFIG)


@pytest.fixture
def run(capsys):
    return runner(capsys)


def network(seed: int = 0) -> Network:
    """A network with everything that hides a layer: pooling, and strips of one image."""
    rng = np.random.default_rng(seed)
    first, second = signs(rng, 11, 3, 3, 2), signs(rng, 10, 3, 2, 11)
    hidden, last = signs(rng, 20, 40), signs(rng, 5, 20)
    layers = [
        Conv2d(first, thresholds(rng, first, 15, wild=0), name="first"),
        MaxPool2d(),
        Conv2d(second, thresholds(rng, second, wild=0), padding=(1, 1, 0, 1), name="second"),
        Dense(hidden, thresholds(rng, hidden, wild=0), "hidden"),
        Dense(last, name="last"),
    ]
    return Network("sample", InputSpec((7, 7, 2), 4), layers)


def report(
    net: Network, count: int = 5, fault: str = "", at_once: int | None = None, url: str = URL
) -> Report:
    images = random_images(np.random.default_rng(1), net, count).reshape(count, -1)
    planted = Fault.parse(fault) if fault else None
    return verify(net, images, [Device("rtl", url, planted)], source="random", at_once=at_once)


@pytest.mark.parametrize("at_once", [None, 1])
def test_all_engines_agree(at_once: int | None) -> None:
    net = network()
    found = report(net, at_once=at_once)
    assert found.equal and found.differences == []
    assert found.engines == ["fast", "rtl", "rtl, sums", "rtl, again"]
    shown = {(c.engine, c.index) for c in found.checks if c.mismatches == 0}
    assert {index for engine, index in shown if engine == "rtl"} == {1, 2, 3, 4}
    assert {index for engine, index in shown if engine == "rtl, sums"} == {0, 2, 3}
    about = found.as_dict()["devices"]["rtl"]
    assert about["build"] == CONFIG.digest().hex() and about["config"]["act_depth"] == 1024
    assert about["program"] == compile_network(net, CONFIG, at_once).identifier.hex()
    assert about["uploaded"] and about["spread"] == (at_once == 1)


@pytest.mark.parametrize(
    ("fault", "engine", "place"),
    [
        # One wrong weight changes every sum of its channel; few bits notice.
        ("weight:0:9:17", "rtl, sums", "layer 0 'first' (conv2d): image 0, position (y 0, x 0), channel 9: "),
        ("weight:3:17:30", "rtl, sums", "layer 3 'hidden' (dense): image 0, channel 17: "),
        (
            "threshold:2:4:3",
            "rtl, sums",
            "layer 2 'second' (conv2d): image 0, position (y 0, x 0), channel 4: ",
        ),
        ("threshold:3:1:-100", "rtl", "layer 3 'hidden' (dense): image "),
        ("weight:4:2:0", "rtl", "layer 4 'last' (dense): image 0, channel 2: "),
        ("output:3:1", "rtl", "layer 1 'layer1' (maxpool2d): image 0, position (y "),
    ],
)
def test_planted_faults_are_named(fault: str, engine: str, place: str) -> None:
    found = {check.engine: check for check in report(network(), fault=fault).differences}
    assert "fast" not in found
    assert str(found[engine]).startswith(f"{engine}, {place}")
    assert Fault.parse(fault).named_by(found[engine], CONFIG.geometry.columns, network())


@pytest.mark.campaign
def test_a_stuck_output_of_the_gateware_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 1, column 5 of the array always says 1: only images of row 1 are wrong, all in that column."""
    elaborate = ColumnGroup.elaborate

    def stuck(self: ColumnGroup, platform: object) -> Module:
        module = elaborate(self, platform)
        module.d.comb += self.bits[self.count + 5].eq(1)
        return module

    monkeypatch.setattr(ColumnGroup, "elaborate", stuck)
    engine = CompiledEngine(CONFIG, 12_000_000, top=SimTop)
    net = dense_network(np.random.default_rng(0), (30, 24, 16, 10))
    images = random_images(np.random.default_rng(1), net, 4)
    with Accelerator(Session(SimTransport(SimOptions(CONFIG), engine))) as device:
        seen = observe(device, net, images, read_back=False)
        found = [c for c in checks(net, "rtl", seen, images, golden.layers(net, images)) if c.mismatches]
    assert found[0].engine == "rtl" and found[0].index == 0
    assert found[0].first and found[0].first.image % 2 == 1 and found[0].note == "all in array column 5"


def test_passes() -> None:
    """Weights come with each pass; a layer is cut into several of them."""
    net = dense_network(np.random.default_rng(0), (60, 40, 120, 200, 90, 4), 3)
    found = report(net)
    assert found.equal and found.devices["rtl"]["passes"] > 2
    assert {c.index for c in found.checks if c.engine == "rtl, sums"} == {0, 1, 2, 3}
    wrong = report(net, fault="weight:2:130:3").differences
    sums = next(check for check in wrong if check.engine == "rtl, sums")
    assert (sums.index, sums.channels) == (2, (130,))


def test_stopping() -> None:
    net = network()
    images = random_images(np.random.default_rng(2), net, 3)
    expected = golden.layers(net, images)
    with Accelerator.open(URL) as device:
        with pytest.raises(NotLoadedError, match="no network is loaded"):
            device.stop_after(0)
        device.load(net)
        for index in (2, 1, 3):
            device.stop_after(index)
            np.testing.assert_array_equal(device.infer(images), expected[index])
        with pytest.raises(UsageError, match=r"layer 0 leaves nothing .*; layers that do: 1, 2, 3, 4"):
            device.stop_after(0)
        with pytest.raises(UsageError, match="layer 1 has no sums: it has no weights"):
            device.stop_after(1, sums=True)
        with pytest.raises(UsageError, match="layer 9 has no sums"):
            device.stop_after(9, sums=True)
        device.stop_after(3, sums=True)
        sums = device.infer(images)
        np.testing.assert_array_equal(sums, golden.run(sums_network(net, 3), images))
        # A device that was left stopped does not pass for one that holds the network.
        assert device.load(net)
        np.testing.assert_array_equal(device.infer(images), expected[-1])
        other = compile_network(net, DeviceConfig(Geometry(1, 8, 8)))
        with pytest.raises(UsageError, match="the program is for a device of geometry 1x8x8"):
            device.load_program(other)


def test_sums_that_do_not_fit_are_cropped() -> None:
    """The first rows of a map are compared; tiles go back by fewer rows."""
    rng = np.random.default_rng(0)
    weights = signs(rng, 19, 3, 3, 3)
    conv = Conv2d(weights, thresholds(rng, weights), padding=(1, 0, 1, 0), pad_value=-1)
    net = Network("crop", InputSpec((12, 6, 3)), [conv, Dense(signs(rng, 3, 11 * 5 * 19))])
    images = random_images(rng, net, 2)
    with Accelerator.open(URL) as device:
        device.load(net, verify=False)
        device.stop_after(0, sums=True)
        found = device.infer(images)
        assert 5 * 19 < found.shape[1] < 11 * 5 * 19 and found.shape[1] % (5 * 19) == 0
        expected = golden.run(sums_network(net, 0), images)
        np.testing.assert_array_equal(found, expected[:, : found.shape[1]])


def test_sums_that_do_not_fit_at_all() -> None:
    rng = np.random.default_rng(0)
    conv = Conv2d(signs(rng, 30, 3, 3, 1), np.zeros(30))
    net = Network("wide", InputSpec((3, 62, 1)), [conv, Dense(signs(rng, 3, 60 * 30))])
    with Accelerator.open(URL) as device:
        device.load(net, verify=False)
        with pytest.raises(CapacityError, match=r"the sums of layer 0 take \d+ words .* has 1024"):
            device.stop_after(0, sums=True)
    found = report(net)
    assert found.equal
    note = next(check for check in found.checks if check.engine == "rtl, sums")
    assert note.verdict == "-" and "act_depth" in note.note


def test_random_networks(tmp_path: Path) -> None:
    done = campaigns.run(0, 6, [CONFIG], keep=str(tmp_path))
    assert done.failures == [] and done.images > 6 and done.values > 100
    assert not list(tmp_path.iterdir())


@pytest.mark.campaign
def test_random_faults_are_named() -> None:
    done = campaigns.run(0, 8, [CONFIG], faults=True)
    assert done.planted.total() == 8
    assert done.named.total() + len(done.missed) == 8 and len(done.missed) <= 1


@pytest.mark.campaign
def test_a_failing_network_is_shrunk_and_saved(monkeypatch, tmp_path: Path, run: Any) -> None:
    """A compiler that takes every padding for -1: the network that shows it, from a command, again."""
    right = lowering.lower_conv

    def wrong(*args: Any) -> Any:
        lowered = right(*args)
        padding = lowered.descriptor.padding
        if padding is None or padding.value != 1:
            return lowered
        minus = replace(lowered.descriptor, padding=replace(padding, value=-1))
        return replace(lowered, descriptor=minus)

    monkeypatch.setattr(lowering, "lower_conv", wrong)
    index = next(
        i for i in range(200)
        if any(
            isinstance(layer, Conv2d) and layer.pad_value == 1 and any(layer.padding)
            for layer in draw(0, i, CONFIG).network.layers[1:]
        )
        and check(draw(0, i, CONFIG))
    )  # fmt: skip
    said: list[str] = []
    done = campaigns.run(0, 1, [CONFIG], first=index, keep=str(tmp_path), say=said.append)
    (failure,) = done.failures
    assert failure.command in said[0]
    small = xnorfile.load(f"{failure.stem}.xnor")
    assert sum(layer.weight_bits for layer in small.layers) < 30
    words = failure.command.split()[1:]
    code, out, _ = run(*words, "--json")
    assert code == 1 and one_object(out)["differences"]
    monkeypatch.undo()
    assert run(*words)[0] == 0


def test_whatever_goes_wrong_is_a_finding(monkeypatch) -> None:
    case = draw(0, 0, CONFIG)
    monkeypatch.setattr(golden, "layers", lambda *args: 1 / 0)
    assert check(case) == "ZeroDivisionError: division by zero"
    monkeypatch.undo()
    assert shrink(case, lambda one: None) == (case, "")


def test_command(tmp_path: Path, run: Any) -> None:
    path, html = tmp_path / "net.xnor", tmp_path / "report.html"
    xnorfile.save(network(), path)
    device = (
        "--rows",
        2,
        "--columns",
        8,
        "--width",
        8,
        "--set",
        "act_depth=1024",
        "--set",
        "weight_depth=256",
    )
    device = (*device, "--set", "fifo_bytes=1024", "--set", "threshold_depth=2048")
    code, out, _ = run("verify", path, "--random", 3, "--html", html, "--json", *device)
    value = one_object(out)
    assert code == 0 and value["equal"] and value["inputs"]["count"] == 3
    assert value["network_sha256"] == xnorfile.content_hash(network())
    assert "All engines agree" in html.read_text()
    np.save(tmp_path / "in.npy", np.zeros((2, 7, 7, 2), np.uint8))
    code, out, _ = run(
        "verify", path, "--images", tmp_path / "in.npy", "--port", URL, "--plant", "weight:4:2:0"
    )
    assert code == 1
    assert "DIFFERS: board, layer 4 'last' (dense): image 0, channel 2: " in out
    assert "planted fault: weight:4:2:0" in out and "rtl, again" in out
    assert json.dumps(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--plant", "weight:1:1:1"), "--plant weight:1:1:1 is for a network"),
        (("--port", "sim:"), "--port is for a network; name one: xnorcore verify NET"),
        (("--keep", "/no/such"), "--keep /no/such: no such folder"),
        (("digits", "--devices", "3"), "--geometry and --devices are for random networks"),
        (("digits", "--plant", "nonsense"), "fault 'nonsense' is not weight:"),
        (("--geometry", "1x3x3"), "columns is 3, but must be"),
    ],
)
def test_slips_of_the_user(run: Any, options: tuple[str, ...], message: str) -> None:
    code, out, err = run("verify", *options)
    assert code == 2 and not out and message in err


def test_random_command(run: Any, tmp_path: Path) -> None:
    device = (
        "--rows",
        2,
        "--columns",
        8,
        "--width",
        8,
        "--set",
        "act_depth=1024",
        "--set",
        "weight_depth=256",
    )
    device = (*device, "--set", "fifo_bytes=1024", "--set", "threshold_depth=2048")
    code, out, _ = run("verify", "--random", 2, "--keep", tmp_path, *device)
    assert code == 0 and "failures         0" in out
    code, out, _ = run("verify", "--random", 2, "--plant", "random", "--json", *device)
    value = one_object(out)
    assert code == 0 and sum(value["planted"].values()) == sum(value["named"].values()) == 2
