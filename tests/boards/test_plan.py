"""``plan``: what it says is what the simulated board does, and what it misses suffices."""

import json
import re
from dataclasses import replace
from html import escape
from itertools import pairwise

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore import zoo
from xnorcore.boards import board_devices, find_device
from xnorcore.cli.plan import plan, plan_lines
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CompileError, UsageError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry, options
from xnorcore.model.layers import has_weights
from xnorcore.model.narrower import narrower
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.report.narrowing import narrowing
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.measure import measure
from xnorcore.verify.random_networks import dense_network

from .test_commands import run

ICEBREAKER = "icebreaker"
pytestmark = pytest.mark.usefixtures("lean_board")  # mnist-tfc fits, mnist-sfc in passes; no convolution


def measured(name, count, batch=0):
    network = zoo.load(name)
    images = np.random.default_rng(1).integers(0, 2, (count, network.input.size), np.uint8)
    with Accelerator.open(f"sim:board={ICEBREAKER},link=uart") as accelerator:
        accelerator.load(network, verify=False, at_once=batch or None)
        return measure(accelerator, images, batch=batch)[1]


def planned(name, images=1000):
    return plan(zoo.load(name), ICEBREAKER, find_device(ICEBREAKER), images)


@pytest.mark.campaign
def test_images_per_second_are_those_of_the_simulated_board():
    """Bound by the wire; start and end of the run are in what is measured."""
    said = planned("mnist-tfc")
    assert said["runs"] == "resident" and said["images_per_s"] == said["wire_images_per_s"]
    assert measured("mnist-tfc", 60).images_per_s == pytest.approx(said["images_per_s"], rel=0.02)


@pytest.mark.campaign
def test_passes_are_those_of_the_simulated_board():
    """Of a call in which six batches, the last one not full, share the weights."""
    said = planned("mnist-sfc", 16)
    assert said["runs"] == "passes" and said["passes"] == 6 and said["store"] == "wire"
    assert said["call_images"] == 16 and said["images_per_s"] < said["wire_images_per_s"]
    assert measured("mnist-sfc", 16).images_per_s == pytest.approx(said["images_per_s"], rel=0.02)


def test_a_load_of_weights_serves_many_images():
    """Of mnist-lfc: eight times what a load of weights for every batch gave, 3.1 and 2.9."""
    for board, runs, least in (("ulx3s-25f", "stream", 24.8), ("tang-nano-20k", "stream", 24)):
        said = plan(zoo.load("mnist-lfc"), board, find_device(board), 64)
        assert said["runs"] == runs and said["images_per_s"] >= least


@pytest.mark.campaign
def test_latency_is_that_of_the_simulated_board():
    found = measured("mnist-tfc", 1, batch=1)
    assert found.device_cycles is not None
    assert found.device_cycles / found.clock_hz * 1e6 == pytest.approx(
        planned("mnist-tfc")["latency_us"], rel=0.05
    )


CASES = [(name, board) for name in ("digits", "fashion", "mnist-lfc") for board in board_devices()]
FEW = CASES[::4]  # every network, and every board at most once


@pytest.mark.parametrize(
    ("name", "board"), some([*FEW, *(case for case in CASES if case not in FEW)], len(FEW), many=True)
)
def test_what_is_missing_is_all_and_is_needed(name, board):
    network, config = zoo.load(name), find_device(board).config
    lacking = obstacles(network, config)
    enough = {lack.field: lack.needed for lack in lacking}
    try:
        compile_network(network, config)
        assert not lacking
    except CompileError:
        assert lacking
    compile_network(network, replace(config, **enough))
    for lack in lacking:
        assert lack.there == getattr(config, lack.field) < lack.needed and lack.reason
        if lack.field == "convolution":  # without it the line buffer is no question
            continue
        with pytest.raises(CompileError):
            compile_network(network, replace(config, **{**enough, lack.field: lack.needed - 1}))


@pytest.mark.parametrize(("geometry", "rows"), [((1, 8, 16), None), ((4, 8, 16), 1), ((1, 32, 32), 0)])
def test_what_would_run_is_what_the_board_holds(geometry, rows):
    """Rows are given up where the chip has no room for them; where it has none at all, that is said."""
    device = find_device(ICEBREAKER)
    config = replace(device.config, geometry=Geometry(*geometry))
    found = plan(zoo.load("fashion"), ICEBREAKER, device.having(config))["ways"]
    for way in found:
        wanted = DeviceConfig.parse(**{**options(config), **way["changes"]})
        assert way["refusal"] == device.refuses(wanted)
        assert compile_network(zoo.load("fashion"), wanted).passes == way["passes"]
    held = [way for way in found if way["refusal"] is None]
    assert found and bool(held) == (rows != 0)
    assert all(way["changes"].get("rows") == rows for way in held)


def wide():
    """Two layers of which each has more inputs than a buffer of 64 words of 8 bits holds."""
    sizes = (64, 600, 600, 10)
    layers = [Dense(np.ones((b, a), np.int8), np.zeros(b, int)) for a, b in pairwise(sizes)]
    return Network("wide", InputSpec((64,)), layers), DeviceConfig(Geometry(1, 4, 8), weight_depth=64)


def maps():
    """A convolution whose maps are too large."""
    return zoo.load("fashion"), replace(find_device("tang-nano-9k").config, act_depth=900)


@pytest.mark.parametrize(("case", "count"), [(maps, 1), (wide, 2)])
def test_the_layers_to_narrow(case, count):
    """With as many outputs as are said it runs, with more it does not."""
    network, config = case()
    less = narrowing(network, config, obstacles(network, config))
    assert less is not None and len(less["layers"]) == count
    names = [layer.name or f"layer{index}" for index, layer in enumerate(network.layers)]
    cut, more = network, network
    for one in less["layers"]:
        at = names.index(one["layer"])
        layer = network.layers[at]
        assert has_weights(layer) and one["outputs"] == layer.outputs > one["needed"]
        cut = narrower(cut, at, one["needed"])
        more = narrower(more, at, one["needed"] + (1 if count == 1 else layer.outputs // 64))
    assert compile_network(cut, config).passes == less["passes"]
    with pytest.raises(CompileError):
        compile_network(more, config)


def test_narrowing_may_not_help():
    network, config = zoo.load("fashion"), find_device(ICEBREAKER).config
    assert narrowing(network, config, obstacles(network, config)) is None  # no convolution
    for index, outputs in ((0, 0), (0, 9999), (len(network.layers) - 1, 3)):
        with pytest.raises(UsageError, match="cannot have"):
            narrower(network, index, outputs)


def test_info_refuses_what_the_board_does_not_hold(capsys):
    code, out, _ = run(capsys, "info", "mnist-tfc", "--board", ICEBREAKER, "--set", "store_words=1048576")
    assert code == 1 and "the board does not hold such a device: icebreaker: 1048576 words" in out
    code, out, _ = run(capsys, "info", "mnist-tfc", "--board", ICEBREAKER, "--json")
    assert code == 0 and json.loads(out)["fits"] and json.loads(out)["board_refusal"] is None


def test_weights_of_one_tile_may_be_too_many():
    weights = np.ones((4, 8 * 100), np.int8)
    network = Network("wide", InputSpec((800,)), [Dense(weights, None)])
    (lack,) = obstacles(network, DeviceConfig(Geometry(1, 4, 8), weight_depth=64))
    assert (lack.field, lack.there, lack.needed) == ("weight_depth", 64, 100)


def test_a_store_that_is_too_small_for_a_network_is_told():
    """5.8 Mbit, of a flash with eight times as much; the part's SPRAM has no more."""
    network = dense_network(np.random.default_rng(0), (784, 2048, 2048, 10))
    row = plan(network, "icesugar", board_devices()["icesugar"])
    assert row["passes"] > 1 and row["larger_store"] == 1 << 18
    (line,) = [line for line in plan_lines("big.xnor", [row]) if "without passes" in line]
    assert line.endswith("xnorcore build icesugar --set store_words=262144")
    device = board_devices()["icesugar"]
    config = replace(device.config, store_words=row["larger_store"])
    assert compile_network(network, config).passes == 1 and device.refuses(config) is None
    small = plan(zoo.load("mnist-lfc"), "upduino-3.1", board_devices()["upduino-3.1"])
    assert small["passes"] > 1 and small["larger_store"] is None


@pytest.mark.campaign
def test_the_command_tells_of_all_boards(capsys):
    code, out, err = run(capsys, "plan", "fashion", "--json")
    value = json.loads(out)
    rows = {row["board"]: row for row in value["boards"]}
    assert code == 0 and not err and rows.keys() == board_devices(unfit=True).keys()
    assert rows["ulx3s-25f"]["runs"] == "resident" and not rows["ulx3s-25f"]["missing"]
    assert [lack["field"] for lack in rows[ICEBREAKER]["missing"]][:2] == ["convolution", "line_bytes"]
    code, out, _ = run(capsys, "plan", "mnist-lfc", "--board", ICEBREAKER)
    assert "would run, in 49 passes: xnorcore info mnist-lfc --board icebreaker --set acc_width=12" in out
    assert run(capsys, *re.findall(r"xnorcore (info .*)", out)[0].split())[0] == 0


def test_the_command(capsys, tmp_path):
    code, out, _ = run(capsys, "plan", "fashion", "--board", ICEBREAKER)
    assert code == 1 and "not with --set acc_width=14 " in out and "too large for iCE40UP5K" in out
    assert (
        "whether another array runs it: xnorcore build icebreaker --for fashion" in out
        and "would run" not in out
    )
    code, out, err = run(capsys, "plan", "fashion", "--board", "icebraeker")
    assert (code, out) == (2, "") and 'did you mean "icebreaker"' in err
    deep = [Dense(np.ones((8, 8), np.int8), np.zeros(8, int)) for _ in range(40)]
    path = tmp_path / "deep.xnor"
    xnorfile.save(Network("deep", InputSpec((8,)), deep), path)
    code, out, _ = run(capsys, "plan", str(path), "--board", ICEBREAKER)
    assert code == 1 and "program_depth is" in out and "boards that run it" not in out


@pytest.mark.campaign
def test_the_page_says_what_json_says(tmp_path, capsys):
    """Every board is there: its rates and the points of its roofline, or what it lacks."""
    path = tmp_path / "plan.html"
    code, out, err = run(capsys, "plan", "fashion", "--html", str(path), "--json")
    assert code == 0, err
    boards = json.loads(out)["boards"]
    text = path.read_text()
    rows = {tuple(re.findall(r"<t[dh][^>]*>(?:<code>)?(.*?)(?:</code>)?</t[dh]>", row))
            for row in re.findall(r"<tr>(.*?)</tr>", text)}  # fmt: skip
    assert {board["runs"] for board in boards} >= {"resident", "no"} and text.count("<svg") >= 5
    for board in boards:
        rates = ("device_images_per_s", "wire_images_per_s", "images_per_s", "latency_us")
        shown = ("" if board[key] is None else f"{board[key]:,.1f}" for key in rates)
        assert (board["board"], board["runs"], *shown) in rows
        assert (board["roofline"] is None) == bool(board["missing"])
        for lack in board["missing"]:
            figures = (f"{lack['there']:,}", f"{lack['needed']:,}") if lack["field"] else ("", "")
            cells = (lack["field"], *figures, escape(lack["reason"]))
            assert cells in rows
        for point in (board["roofline"] or {"points": ()})["points"]:
            cells = f"{point['macs_per_byte']:,.1f}", f"{point['macs_per_cycle']:,.1f}"
            assert (point["name"], point["fed_by"], *cells) in rows
    ulx = next(board for board in boards if board["board"] == "ulx3s-25f")
    over = ulx["roofline"]["points"][-1]
    assert over["name"] == "over the wire"
    # The wire bounds it: 10 bits for a byte, and no less than the image crosses it.
    device = find_device("ulx3s-25f")
    wire = 1 / (10 * device.clocks_per_bit[device.baud])
    assert over["macs_per_cycle"] == pytest.approx(over["macs_per_byte"] * wire)
    assert 0.95 < over["macs_per_byte"] / (zoo.load("fashion").macs / 784) < 1
    macs = zoo.load("fashion").macs
    assert over["macs_per_cycle"] == pytest.approx(ulx["images_per_s"] * macs / device.clock_hz)


def test_a_page_that_cannot_be_written(tmp_path, capsys):
    code, _, err = run(capsys, "plan", "digits", "--html", str(tmp_path))
    assert code == 2 and str(tmp_path) in err
