"""Names with a slip in them: every place that refuses a name says the one that was meant."""

import time

import pytest

from xnorcore.cli import main
from xnorcore.errors import UsageError
from xnorcore.link import open_transport
from xnorcore.nearest import did_you_mean


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("digit", "digits"),
        ("DIGITS", "digits"),
        ("fasion", "Fashion"),
        ("xyz", None),
        ("", None),
        ("digits" * 20, None),
    ],
)
def test_the_nearest_name(word, meant):
    assert did_you_mean(word, ["digits", "Fashion"]) == (f'; did you mean "{meant}"?' if meant else "")


def test_nothing_is_near_if_nothing_is_known_and_a_long_word_takes_no_time():
    assert did_you_mean("digits", []) == ""
    started = time.perf_counter()
    did_you_mean("a" * 10**6, ["a" * 10**6])
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    ("argv", "meant"),
    [
        (["dmo"], "demo"),
        (["serv-sim"], "serve-sim"),
        (["demo", "--cuont", "3"], "--count"),
        (["info", "digits", "--colums=8"], "--columns"),
        (["eval", "digits", "--engine", "gold"], "golden"),
        (["demo", "--net", "fasion"], "fashion"),
        (["info", "mnist-tcf"], "mnist-tfc"),
        (["sample", "digit", "-o", "x.npy"], "digits"),
        (["eval", "digits", "--data", "minst"], "mnist"),
        (["train", "digts"], "digits"),
        (["bench", "smal"], "small"),
        (["build", "icebraker"], "icebreaker"),
        (["program", "ulx3s-25"], "ulx3s-25f"),
        (["info", "digits", "--set", "act_deph=9"], "act_depth"),
    ],
)
def test_commands_options_networks_data_boards(capsys, monkeypatch, tmp_path, argv, meant):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert f'; did you mean "{meant}"?' in err and err.count("\n") == 1 and not out


def test_schemes():
    with pytest.raises(UsageError, match='did you mean "serial:"'):
        open_transport("serail:/dev/ttyUSB1")


@pytest.mark.parametrize(
    ("port", "meant"),
    [
        ("sim", "sim:"), ("SIM", "sim:"), ("simm", "sim:"), ("pty", "pty:"), ("serial", "serial:"),
        ("ttyUSB1", "/dev/ttyUSB1"), ("ttyACM0?baud=9600", "/dev/ttyACM0?baud=9600"),
        ("cu.usbserial-1", "/dev/cu.usbserial-1"), ("loop:", "sim:"), ("loop://", "sim:"),
        ("hwgrep:0403", "/dev/ttyUSB1"), ("hwgrep://0403&skip_busy", "/dev/ttyUSB1"),
        ("spy:///dev/ttyUSB2?file=x", "/dev/ttyUSB2"), ("spy://COM3", "COM3"),
        ("alt:///dev/ttyS0", "/dev/ttyS0"),
        ("spy:", None), ("spy", None), ("socket://localhost:1", None), ("rfc2217://x:1", None),
        ("usb:1", None),
    ],
)  # fmt: skip
def test_ports(port, meant):
    with pytest.raises(UsageError, match=r"has no scheme|unknown device scheme") as refusal:
        open_transport(port)
    text = str(refusal.value)
    assert text.endswith(f'; did you mean "{meant}"?') if meant else "did you mean" not in text


def test_what_is_like_nothing_gets_no_suggestion(capsys):
    for argv in (["frobnicate"], ["info", "quux"], ["build", "quux"], ["bench", "quux"]):
        assert main(argv) == 2
        assert "did you mean" not in capsys.readouterr().err
