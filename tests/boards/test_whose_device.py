"""Figures name the device that they are of: ``info``, ``boards``, and what the simulated device measures."""

import json
from pathlib import Path

import pytest

from xnorcore import zoo
from xnorcore.cli.console import Console
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore_boards.board import all_boards, configurations, find_board
from xnorcore_boards.measure.records import read_records
from xnorcore_hw.bench.workload import simulate

from .test_commands import run

ARRAY = ("--rows", "3", "--columns", "8", "--width", "32")  # the iCEBreaker's


def info(capsys, *arguments):
    code, out, err = run(capsys, "info", *arguments, "--json")
    assert not err
    return code, json.loads(out)


def test_an_array_is_not_a_board(capsys):
    """The simulated device of the iCEBreaker's array holds what the iCEBreaker refuses: both are said."""
    code, value = info(capsys, "digits", *ARRAY)
    assert code == 0 and value["fits"] and value["passes"] == 1
    assert value["device"] == {"board": None, "simulated": True, "chosen": []}
    with pytest.raises(CompileError) as refused:
        compile_network(zoo.load("digits"), find_board("icebreaker").config)
    board = value["boards"]["icebreaker"]
    assert not board["fits"] and board["passes"] is None and board["refusal"] == str(refused.value)
    assert board["geometry"] == value["geometry"] == {"rows": 3, "columns": 8, "width": 32}
    lines = run(capsys, "info", "digits", *ARRAY)[1].splitlines()
    place = lines.index("fits the simulated device 3 x 8 x 32 (its default memories)")
    assert lines[place + 1] == f"board icebreaker, of this array: does not fit: {refused.value}"
    assert "fits" not in lines


def test_passes_of_the_board_are_said(capsys):
    assert info(capsys, "mnist-sfc", *ARRAY)[1]["passes"] == 1
    text = run(capsys, "info", "mnist-sfc", *ARRAY)[1]
    assert "board icebreaker, of this array: runs in 6 passes\n" in text
    assert "\nruns in passes on: ice40-hx8k-b-evn, tang-nano-20k, tang-nano-9k\n" in text
    lines = run(capsys, "info", "fashion")[1].splitlines()
    assert "no board has an array of 1x32x32" in lines
    assert "fits: ecpix5-45f, ecpix5-85f, ulx3s-25f, ulx3s-85f" in lines


def test_memories_that_were_given_are_named(capsys):
    code, value = info(capsys, "digits", *ARRAY, "--set", "act_depth=512", "--set", "acc_width=11")
    assert code == 1 and value["device"]["chosen"] == ["acc_width", "act_depth"]
    text = run(capsys, "info", "digits", "--set", "act_depth=1024")[1]
    assert "fits the simulated device 1 x 32 x 32 (act_depth as given, else its default memories)" in text


def test_the_device_of_a_board(capsys):
    code, value = info(capsys, "digits", "--board", "icebreaker")
    config = find_board("icebreaker").config
    assert code == 1 and value["refusal"] == value["boards"]["icebreaker"]["refusal"]
    assert value["device"] == {"board": "icebreaker", "simulated": False, "chosen": []}
    assert value["memory"]["weight_depth"]["available"] == config.weight_depth
    text = run(capsys, "info", "digits", "--board", "icebreaker")[1]
    assert "does not fit the device of board icebreaker, 3 x 8 x 32: layer 'dense0' needs an acc" in text
    assert info(capsys, "mnist-tfc", "--board", "icebreaker")[0] == 0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--board", "icebreaker", "--rows", "3"), "--board has an array and memories of its own"),
        (("--board", "icebreaker", "--set", "act_depth=9"), "--board has an array and memories of its own"),
        (("--board", "icestick"), "no board 'icestick' has a device; known: ecpix5-45f"),
        (("--board", "icebraeker"), 'did you mean "icebreaker"?'),
    ],
)
def test_board_is_refused(capsys, arguments, message):
    code, out, err = run(capsys, "info", "digits", *arguments)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1


def test_a_board_too_small_for_its_array_holds_nothing():
    assert set(all_boards()) - set(configurations()) == {"icestick"}


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
    assert {used for used in fashion if used} == {0.270, 0.271}
    for page in ("README.md", "docs/boards.md"):
        text = (Path(__file__).parents[2] / page).read_text()
        assert "0.271" in text and "--board ulx3s-25f" in text


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
        assert board.name not in configurations() or said[name]["simulation"] != "no"
