"""``bench boards``: what it measures on a board's device, what it keeps, and the table of docs/boards.md."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from xnorcore import zoo
from xnorcore.boards import board_devices
from xnorcore.cli import main
from xnorcore.cli.plan import plan
from xnorcore_hw.bench import boards, boards_table
from xnorcore_hw.bench.boards import BoardRow, expected

DOCS = (Path(__file__).parents[2] / "docs/boards.md").read_text()
BOARD, NETWORK = "icebreaker", "mnist-tfc"
RECORDED = boards_table.load()


def row(board: str, network: str) -> BoardRow:
    return expected(board, board_devices(unfit=True)[board], network, zoo.load(network))


def test_rates_are_those_of_the_cycles_in_their_rows():
    """Also where the computation is only a bound, as with weights from a store outside of the FPGA."""
    bounds = 0
    for found in RECORDED:
        if found.runs in ("resident", "stream"):
            assert found.cycles and found.images_per_batch and found.wire_images_per_s
            bounds += found.cycles != found.model_cycles
            array = found.clock_hz / found.cycles * found.images_per_batch
            assert found.device_images_per_s == pytest.approx(array, abs=1e-3)
            least = min(array, found.wire_images_per_s)
            assert found.images_per_s is not None
            assert found.images_per_s == pytest.approx(least, abs=1e-3) or (
                found.rounds and 0.95 * least < found.images_per_s < least
            )
    assert bounds


@pytest.mark.campaign
@pytest.mark.usefixtures("lean_board")
def test_a_board_is_measured(capsys: pytest.CaptureFixture[str]):
    """In one pass, in passes, not at all; on the device itself, and on a board that holds none."""
    arguments = [
        "bench",
        "boards",
        "--boards",
        f"{BOARD},icestick",
        "--networks",
        "mnist-tfc,mnist-sfc,digits",
    ]
    assert main([*arguments, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    rows = {(found["board"], found["network"]): found for found in value["boards"]}
    assert value["passed"] and len(rows) == 6
    device = board_devices()[BOARD]
    for name in ("mnist-tfc", "mnist-sfc"):
        found, said = rows[BOARD, name], plan(zoo.load(name), BOARD, device)
        assert found["cycles"] == found["model_cycles"] == said["cycles_per_batch"]
        assert found["images"] >= found["images_per_batch"] and found["mismatches"] == 0
        for rate in ("device_images_per_s", "wire_images_per_s", "images_per_s"):
            assert found[rate] == pytest.approx(said[rate], abs=1e-3)
        assert found["runs"] == said["runs"] and found["call_images"] == said["call_images"]
        assert found["wire_share"] == pytest.approx(
            found["images_per_s"] / found["wire_images_per_s"], abs=1e-4
        )
    tfc = rows[BOARD, "mnist-tfc"]
    assert tfc["device_images_per_s"] == pytest.approx(device.clock_hz / tfc["cycles_per_image"], abs=1e-3)
    peak = device.config.geometry.peak
    macs = zoo.load("mnist-tfc").macs
    assert tfc["efficiency"] == pytest.approx(macs / tfc["cycles_per_image"] / peak, abs=1e-4)
    lacking = rows[BOARD, "digits"]
    assert lacking["runs"] == "no" and lacking["missing"] == ["acc_width is 11, needed 12"]
    (said,) = rows["icestick", "digits"]["missing"]
    assert said.startswith("1x4x8 takes about 2,1") and said.endswith(
        " of the 1,280 logic cells of iCE40HX1K"
    )


def test_cycles_and_scores_that_differ_are_seen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    right = replace(row(BOARD, NETWORK), images=9)
    right = replace(right, cycles=right.model_cycles)
    assert right.passed
    monkeypatch.setattr(boards_table, "RECORD", tmp_path / "boards.json")
    for wrong in (replace(right, mismatches=2), replace(right, cycles=(right.cycles or 0) + 1)):
        assert not wrong.passed
        monkeypatch.setattr(boards_table, "measure_board", lambda *_, found=wrong: [found])
        assert main(["bench", "boards", "--boards", BOARD, "--networks", NETWORK, "--record"]) == 1
        out, err = capsys.readouterr()
        assert "wrong scores of 9 images" in out and "nothing is recorded" in err
    assert not (tmp_path / "boards.json").exists()


@pytest.mark.campaign
def test_the_record_is_of_the_present_boards():
    """Every board and packaged network is there, as it is computed today: measured again, or it fails."""
    recorded = {(found.board, found.network): found for found in RECORDED}
    devices = board_devices(unfit=True)
    assert set(recorded) == {(board, name) for board in devices for name in zoo.names()}
    for (board, name), found in recorded.items():
        now = row(board, name)
        # A board may have been built again since: its clock is met as it was.
        assert now.clock_met == found.clock_met
        # Frames are longer by a byte or two where more of the program's identifier is zero.
        names = ("wire_images_per_s", "images_per_s", "wire_share")
        rates = {name: getattr(found, name) for name in names if getattr(found, name) is not None}
        counted = found.cycles != found.model_cycles
        near = pytest.approx(rates, rel=0.1 if counted else 1e-3)
        assert {name: getattr(now, name) for name in rates} == near
        if counted:
            # By the cycles that were counted: the test above.
            rates |= {"device_images_per_s": found.device_images_per_s, "efficiency": found.efficiency}
        counts = {"cycles": found.cycles, "waited": found.waited, "images": found.images}
        now = replace(now, **counts, fmax_mhz=found.fmax_mhz, **rates)
        assert now == found, f"{board}, {name}"
        assert found.passed and (found.runs == "no") == (found.images == 0)


def test_the_table_is_the_record(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "boards", "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() in DOCS, "docs/boards.md is not what bench boards --markdown prints"
    assert printed.count("\n") == len(RECORDED) + 2


def test_store_replaces_what_was_measured_again(tmp_path: Path):
    path = tmp_path / "boards.json"
    first, other = row(BOARD, NETWORK), row(BOARD, "digits")
    boards_table.store([first, other], path)
    boards_table.store([replace(first, images=3)], path)
    assert boards_table.load(path) == [other, replace(first, images=3)]
    assert boards.BoardRow(**vars(first)) == first


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["boards", "--boards", "icebraeker"], 'did you mean "icebreaker"'),
        (["boards", "--boards", ","], "--boards names none"),
        (["boards", "--networks", "digit"], 'did you mean "digits"'),
        (["boards", "lfc"], "measured by itself"),
        (["lfc", "--boards", BOARD], "go with bench boards"),
        (["boards", "--markdown", "--record"], "leave the other options out"),
        (["board"], 'did you mean "boards"'),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]):
    assert main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert not out and said in err
