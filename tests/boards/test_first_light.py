"""The report that a board's owner sends back, with a simulated device at a port in place of the board."""

import getpass
import json
import os
import platform
import pty
import tty
from pathlib import Path

import pytest

from xnorcore import __version__, zoo
from xnorcore.files.xnorfile import content_hash
from xnorcore.isa.protocol import VERSION
from xnorcore_boards.board import find_board

from ..sw.cli_tools import deadline, spawn
from .test_commands import run

NETWORK = "mnist-tfc"


@pytest.fixture(scope="module")
def board():
    """Serve the iCEBreaker's device; yield its URL."""
    process = spawn("serve-sim", "--board", "icebreaker", "--json")
    with deadline(process, 300):
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]


def verify(capsys, folder: Path, port: str, *options: str):
    path = folder / "report.json"
    code, out, err = run(capsys, "verify", NETWORK, "--port", port, "--report", str(path), *options)
    text = path.read_text()
    private = {"/dev", str(folder), str(Path.home()), platform.node(), getpass.getuser() + "/"}
    assert [word for word in private if len(word) > 3 and word in text] == []
    return code, json.loads(text), out, err


@pytest.mark.campaign
def test_a_board_that_is_right(board, tmp_path, capsys):
    code, report, out, _ = verify(capsys, tmp_path, f"{board}?baud=3000000", "--random", "4", "--json")
    assert code == 0 and json.loads(out)["report"] == str(tmp_path / "report.json")
    config = find_board("icebreaker").config
    assert (report["result"], report["error"], report["boards"]) == ("equal", None, ["icebreaker"])
    assert report["port"] == {"scheme": "serial", "baud": "3000000"}
    assert report["versions"] | {"xnorcore": __version__, "protocol": str(VERSION)} == report["versions"]
    assert {"python", "numpy", "pyserial", "system"} <= set(report["versions"])
    assert report["network_sha256"] == content_hash(zoo.load(NETWORK))
    device = report["device"]
    assert device["config_digest"] == config.digest().hex()
    assert device["config"]["weight_depth"] == config.weight_depth
    assert len(device["build"]) == len(device["program"]) == 16 and device["images_per_s"] > 0
    link = device["link"]
    assert link["sent"] >= link["received"] > 100 and link["bytes_sent"] > 3000
    assert {"resent", "damaged", "timeouts", "bytes_received"} <= set(link)
    layers = {(check["engine"], check["index"]): check for check in report["checks"]}
    for index in range(4):
        assert layers["board", index]["mismatches"] == 0 and layers["board", index]["values"] > 0
    assert layers["board, again", 3]["mismatches"] == 0


@pytest.mark.campaign
def test_a_board_that_is_wrong(board, tmp_path, capsys):
    code, report, out, _ = verify(capsys, tmp_path, board, "--random", "4", "--plant", "weight:1:20:17")
    assert code == 1 and report["result"] == "differs" and "DIFFERS" in out
    wrong = [check for check in report["checks"] if check["mismatches"]]
    assert wrong and wrong[0]["index"] == 1 and wrong[0]["first"]["channel"] == 20
    assert report["device"]["planted"] and not report["simulated"][0]["planted"]


def test_a_board_that_does_not_answer(tmp_path, capsys):
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    try:
        port = f"serial:{os.ttyname(theirs)}?baud=9600"
        code, report, out, err = verify(capsys, tmp_path, port, "--timeout", "0.05")
    finally:
        os.close(ours)
        os.close(theirs)
    assert (code, out) == (2, "") and err.startswith("xnorcore: error: ")
    assert report["result"] == "error" and report["error"]["kind"] == "LinkTimeoutError"
    assert report["port"] == {"scheme": "serial", "baud": "9600"}
    assert report["device"] is report["checks"] is None


def test_a_port_that_is_not_there(tmp_path, capsys):
    code, report, _, err = verify(capsys, tmp_path, "serial:/dev/ttyUSB-of-somebody")
    assert code == 2 and report["error"]["kind"] == "PortError" and "PORT" in report["error"]["message"]
    assert "somebody" in err


def test_a_report_is_of_a_board(tmp_path, capsys):
    code, _, err = run(capsys, "verify", NETWORK, "--report", str(tmp_path / "x"))
    assert code == 2 and "--report is of a board; say where it is with --port" in err
    code, _, err = run(capsys, "verify", NETWORK, "--port", "sim:", "--report", str(tmp_path / "a" / "b"))
    assert code == 2 and "create it first" in err
    assert not list(tmp_path.iterdir())
