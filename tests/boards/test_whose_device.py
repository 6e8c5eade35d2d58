"""Figures name the device that they are of: ``info``, ``boards``, and what the simulated device measures."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lean import LEAN
from xnorcore import zoo
from xnorcore.boards import board_devices
from xnorcore.cli.console import Console
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, UsageError
from xnorcore.link.transport import open_transport
from xnorcore.runtime.interpreted import open_machine
from xnorcore_boards.board import all_boards, find_board
from xnorcore_boards.measure.recorded import read_records
from xnorcore_hw.bench.boards_table import load
from xnorcore_hw.bench.workload import simulate
from xnorcore_hw.sim.transport import SimOptions

from .test_commands import run

ARRAY = tuple(f"--{size}={getattr(LEAN.geometry, size)}" for size in ("rows", "columns", "width"))


def info(capsys, *arguments):
    code, out, err = run(capsys, "info", *arguments, "--json")
    assert not err
    return code, json.loads(out)


def test_an_array_is_not_a_board(capsys, lean_board):
    """The simulated device of the iCEBreaker's array holds what the iCEBreaker refuses: both are said."""
    code, value = info(capsys, "digits", *ARRAY)
    assert code == 0 and value["fits"] and value["passes"] == 1
    assert value["device"] == {"board": None, "simulated": True, "chosen": []}
    with pytest.raises(CompileError) as refused:
        compile_network(zoo.load("digits"), LEAN)
    board = value["boards"]["icebreaker"]
    assert not board["fits"] and board["passes"] is None and board["refusal"] == str(refused.value)
    assert board["geometry"] == value["geometry"] == {"rows": 3, "columns": 8, "width": 32}
    lines = run(capsys, "info", "digits", *ARRAY)[1].splitlines()
    place = lines.index("fits the simulated device 3 x 8 x 32 (its default memories)")
    assert lines[place + 1] == f"board icebreaker, of this array: does not fit: {refused.value}"
    assert "fits" not in lines


def passes(network):
    """Return the passes on every board that runs a network, in the order of names."""
    found = {}
    for name, device in sorted(board_devices().items()):
        try:
            found[name] = compile_network(network, device.config).passes
        except CompileError:
            continue
    return found


def test_passes_of_the_board_are_said(capsys, lean_board):
    assert info(capsys, "mnist-sfc", *ARRAY)[1]["passes"] == 1
    text = run(capsys, "info", "mnist-sfc", *ARRAY)[1]
    assert "board icebreaker, of this array: runs in 6 passes\n" in text
    others = [name for name, count in passes(zoo.load("mnist-sfc")).items() if count > 1]
    others.remove("icebreaker")
    assert (f"\nruns in passes on: {', '.join(others)}\n" in text) == bool(others)
    lines = run(capsys, "info", "fashion", "--rows", "7")[1].splitlines()
    assert "no board has an array of 7x32x32" in lines
    whole = [name for name, count in passes(zoo.load("fashion")).items() if count == 1]
    assert f"fits: {', '.join(whole)}" in lines


def test_memories_that_were_given_are_named(capsys):
    code, value = info(capsys, "digits", *ARRAY, "--set", "act_depth=512", "--set", "acc_width=11")
    assert code == 1 and value["device"]["chosen"] == ["acc_width", "act_depth"]
    text = run(capsys, "info", "digits", "--set", "act_depth=1024")[1]
    assert "fits the simulated device 1 x 32 x 32 (act_depth as given, else its default memories)" in text


def test_the_device_of_a_board(capsys, lean_board):
    code, value = info(capsys, "digits", "--board", "icebreaker")
    assert code == 1 and value["refusal"] == value["boards"]["icebreaker"]["refusal"]
    assert value["device"] == {"board": "icebreaker", "simulated": False, "chosen": []}
    assert value["memory"]["weight_depth"]["available"] == LEAN.weight_depth
    text = run(capsys, "info", "digits", "--board", "icebreaker")[1]
    assert "does not fit the device of board icebreaker, 3 x 8 x 32: layer 'dense0' needs an acc" in text
    assert info(capsys, "mnist-tfc", "--board", "icebreaker")[0] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--board", "icebreaker", "--rows", "9"), "rows is 9, but must be 1 to 8"),
        (("--board", "icebreaker", "--set", "act_depth=9"), "act_depth is 9, but must be 64 to 65536"),
        (("--board", "icestick"), "board icestick has no device: 1x4x8 takes about 2,1"),
        (("--board", "icebraeker"), 'did you mean "icebreaker"?'),
    ],
)
def test_board_is_refused(capsys, arguments, message):
    code, out, err = run(capsys, "info", "digits", *arguments)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1


def test_a_part_of_a_boards_device_is_given(capsys, lean_board):
    more = ("--board", "icebreaker", "--rows", "2", "--set", "weight_depth=512")
    value = info(capsys, "mnist-tfc", *more)[1]
    assert value["device"] == {"board": "icebreaker", "simulated": False, "chosen": ["rows", "weight_depth"]}
    assert value["geometry"] == {"rows": 2, "columns": 8, "width": 32}
    found = {name: entry["available"] for name, entry in value["memory"].items()}
    assert found["weight_depth"] == 512 and found["act_depth"] == LEAN.act_depth
    text = run(capsys, "info", "mnist-tfc", *more)[1]
    assert "fits the device of board icebreaker, 2 x 8 x 32 (rows, weight_depth as given)" in text


@pytest.mark.parametrize("name", sorted(board_devices()))
def test_sim_is_the_device_of_a_board(name):
    """A simulation of a board is what its bitstream says of itself, with the UART that is in it."""
    board = find_board(name)
    for rate, baud in (("", board.baud), (f",baud={board.best_baud}", board.best_baud)):
        options = SimOptions.parse(f"board={name},link=uart{rate}")
        assert (options.config, options.clock_hz) == (board.config, board.true_hz)
        assert options.divisor == board.divisor(baud)
    other = SimOptions.parse(f"board={name},act_depth=2048")
    assert other.config == replace(board.config, act_depth=2048)
    assert other.divisor == board.divisor(board.baud)
    slower = SimOptions.parse(f"board={name},clock_hz=12000000")
    assert (slower.config, slower.divisor) == (board.config, 4)
    device = open_machine(f"board={name}")
    assert device.config == replace(board.config, counters=0)


@pytest.mark.parametrize("scheme", ["sim", "machine", "netlist"])
def test_an_unknown_board_in_a_url_is_refused(scheme):
    with pytest.raises(UsageError, match='did you mean "icebreaker"'):
        open_transport(f"{scheme}:board=icebraeker")


def test_the_netlist_of_a_board_is_that_of_its_own_array(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    place = f"build/icebreaker-{find_board('icebreaker').config.geometry}"
    with pytest.raises(UsageError, match=f"^{place} is not the folder of a finished build"):
        open_transport("netlist:board=icebreaker")


@pytest.mark.campaign
def test_commands_simulate_a_board(capsys, tmp_path, lean_board):
    """One row of a board without counters, at its own clock, through its own UART: every score right."""
    images, more = tmp_path / "in.npy", ("--board", "icebreaker", "--rows", "1", "--link", "uart")
    assert run(capsys, "sample", "mnist-tfc", "-o", str(images), "--count", "2")[0] == 0
    value = json.loads(run(capsys, "sim", "mnist-tfc", str(images), *more, "--json")[1])
    assert (value["board"], value["changed"], value["mismatches"]) == ("icebreaker", ["rows"], 0)
    assert (value["clock_hz"], value["clocks_per_bit"], value["counters"]) == (36_000_000, 12, False)
    assert value["geometry"] == {"rows": 1, "columns": 8, "width": 32}
    text = run(capsys, "sim", "mnist-tfc", str(images), *more)[1]
    assert re.search(r"^board +icebreaker; rows as given$", text, re.MULTILINE)
    url, out = "sim:board=icebreaker,rows=1,link=uart", str(tmp_path / "out.npy")
    again = run(capsys, "run", "mnist-tfc", str(images), "--port", url, "-o", out, "--check", "--json")
    same = json.loads(again[1])
    assert same["device_cycles"] == value["device_cycles"] and same["mismatches"] == 0


def test_a_board_too_small_for_its_array_holds_nothing():
    assert set(all_boards()) - set(board_devices()) == {"icestick"}


@pytest.mark.campaign
def test_efficiency_is_said_of_every_board(capsys):
    rows = json.loads(run(capsys, "boards", "--json")[1])["boards"]
    said = {row["board"]: row["networks"] for row in rows}
    for name in zoo.names():
        value = info(capsys, name)[1]
        for board, answer in value["boards"].items():
            used = answer["efficiency"]
            assert said[board][name]["efficiency"] == (None if used is None else round(used, 3))
            assert (used is not None) == (answer["passes"] == 1)
    fashion = [networks["fashion"]["efficiency"] for networks in said.values()]
    recorded = [row.efficiency for row in load() if row.network == "fashion" and row.passes == 1]
    # Counted: a store's waits are fewer than the most of which efficiency is said.
    assert sorted(filter(None, fashion)) == pytest.approx(sorted(filter(None, recorded)), abs=0.0015)
    for page in ("README.md", "docs/measurements.md"):
        text = (Path(__file__).parents[2] / page).read_text()
        assert "0.704" in text and "board ulx3s-25f" in text


def test_what_is_expected_is_what_the_gateware_does(capsys):
    """The images' way in, which the compiler's cycles leave out, takes a share of small networks."""
    value = info(capsys, "mnist-tfc", "--columns", "8", "--width", "8")[1]
    measured = simulate(Console(), "sim:columns=8,width=8", zoo.load("mnist-tfc"), 8)
    assert measured.efficiency is not None
    assert 0.9 < measured.efficiency / value["expected_efficiency"] < 1.001


def test_documents_say_what_has_run_on_every_board():
    """The table names every board; what it says is routed was measured, and what it says is not was not."""
    text = (Path(__file__).parents[2] / "docs/boards.md").read_text()
    section = text[text.index("## What has run") : text.index("## First light")]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[0] == ["board", "simulation", "netlist", "bitstream", "routed", "on hardware"]
    said = {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[1:]}
    assert list(said) == list(all_boards())
    checked = text[text.index("| board | array | source |") : text.index("On a machine with other work")]
    for name, board in all_boards().items():
        assert (said[name]["routed"] == "yes") == (name in read_records()), name
        assert said[name]["on hardware"] == "no"
        for source in ("netlist", "bitstream"):
            own = any(
                line.startswith(f"| {name} |") and f", its own | {source} |" in line
                for line in checked.splitlines()
            )
            assert (said[name][source] == "yes") == own, f"{name}: {source}"
        assert board.name not in board_devices() or said[name]["simulation"] != "no"
