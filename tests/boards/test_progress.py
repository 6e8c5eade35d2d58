"""What a build says while it runs: phases, times, how far the programs are; and how it is interrupted."""

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from xnorcore.cli import phases
from xnorcore.cli.console import Console
from xnorcore.cli.phases import Phases, elapsed
from xnorcore_boards.build.progress import placing, reader, synthesizing

from .test_commands import SMALL
from .test_flow import script


@pytest.mark.parametrize(
    "end, told",
    [
        ("", ""),
        ("Info: constrained 'x' to bel 'X1'", ""),
        ("Info: Packing carries..\nInfo:      218 LCs used as CARRY only", "packing"),
        ("Info: Placed 9 cells.\nInfo: Creating initial analytic placement for 3 cells", "placement"),
        ("Info:     at initial placer iter 3, wirelen = 449", "placement, round 3"),
        ("Info:     at iteration #7, type ALL: wirelen solved = 5, spread = 2", "placement, round 7"),
        ("Info:     at iteration #7, type ALL\nInfo: HeAP Placer Time: 21.04s", "placement, round 7"),
        ("Info:   at iteration #15: temp = 0.0\nInfo: Routing..\nInfo: Setting up routing queue.", "routing"),
        ("Info:      10000 |     2056       7825 |  394   606 |     10988|       1.16      11.97|",
         "routing, 10,988 arcs left"),
        ("Info:     iter=12 wires=31234 overused=1716 overuse=1800 tmgfail=3 archfail=NA",
         "routing, round 12: 1,716 wires used twice"),
    ],
)  # fmt: skip
def test_where_nextpnr_is(end, told):
    assert placing(end) == told


def test_where_yosys_is(tmp_path):
    log = tmp_path / "yosys.log"
    assert reader(log, synthesizing)() == ""
    log.write_text("-- Executing script file --\n1. Executing RTLIL frontend.\n")
    assert reader(log, synthesizing)() == "RTLIL frontend"
    log.write_text("x\n" * 5000 + "4.11.22. Executing OPT_EXPR pass (perform const folding).\nOptimizing\n")
    assert reader(log, synthesizing)() == "OPT_EXPR"


def test_times():
    assert [elapsed(s) for s in (0.9, 59, 61, 3599, 3723)] == ["0:00", "0:59", "1:01", "59:59", "1:02:03"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_for_each_phase_and_then_one_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(phases, "_LOG_S", 0.05)
    with Phases(Console()).phase("routing", lambda: "2 left"):
        time.sleep(0.2)
    first, *later = capsys.readouterr().err.splitlines()
    assert first == "routing" and later and set(later) == {"routing, 0:00: 2 left"}
    with Phases().phase("routing"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_terminal_has_one_line_that_changes(monkeypatch):
    monkeypatch.setattr(phases, "_TTY_S", 0.02)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = iter(["12 left", "9" * 200])
    with Phases(Console()).phase("routing", lambda: next(shown, "1 left")):
        time.sleep(0.3)
    pieces = terminal.getvalue().split("\r")
    assert pieces[1].rstrip() == "routing" and pieces[2] == "routing, 0:00: 12 left"
    assert len(pieces[3]) == 79 and pieces[4].rstrip() == "routing, 0:00: 1 left"
    assert pieces[-1] == "routing, 0:00\n" and not pieces[-2].strip()
    assert all("\n" not in piece for piece in pieces[:-1])


def test_a_phase_that_fails_leaves_no_line(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(KeyError), Phases(Console()).phase("routing"):
        raise KeyError
    assert terminal.getvalue().endswith("\r" + " " * len("routing") + "\r")


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Put a Yosys on the PATH that says where it is and goes on for ever, and the other programs."""
    folder = tmp_path / "tools"
    folder.mkdir()
    here = "import os, sys, time; sys.argv[1] == '--version' and (print('Yosys 0.60'), sys.exit())"
    log = "open('yosys.log', 'w').write('9. Executing ABC pass.')"
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # who starts it has to end it
    script(
        folder, "yosys", f"{here}\n{deaf}\n{log}\nopen('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    script(folder, "nextpnr-ice40", "print('nextpnr-0.11')")
    script(folder, "icepack", "")
    monkeypatch.setenv("PATH", os.fspath(folder))
    for name in ("YOSYS", "NEXTPNR_ICE40", "ICEPACK"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def read_until(terminal: int, text: str) -> str:
    """Return what a terminal shows up to `text`."""
    seen, until = "", time.monotonic() + 120
    while text not in seen:
        assert select.select([terminal], [], [], until - time.monotonic())[0], seen
        seen += os.read(terminal, 4096).decode()
    return seen


def test_ctrl_c_ends_a_build_and_its_programs(tools):
    command = [sys.executable, "-m", "xnorcore", "build", "icebreaker", *SMALL, "--json", "--out", "build"]
    terminal, there = pty.openpty()
    try:
        build = subprocess.Popen(
            command, cwd=tools, stdout=subprocess.PIPE, stderr=there, stdin=there, start_new_session=True
        )
        seen = read_until(terminal, "synthesizing, 0:01: ABC")
        assert "\r" in seen and "icebreaker: elaborating 1x8x8, 0:" in seen
        os.killpg(build.pid, signal.SIGINT)
        rest = read_until(terminal, "interrupted")
        out, _ = build.communicate(timeout=60)
    finally:
        os.close(there)
        os.close(terminal)
    assert (build.returncode, out) == (130, b"")
    said = [part.strip() for part in rest.split("\r") if part.strip()]
    assert said[-1] == "xnorcore: interrupted" and "Traceback" not in seen + rest
    with pytest.raises(ProcessLookupError):
        os.kill(int((tools / "build" / "pid").read_text()), 0)
    assert not (tools / "build" / "build.json").exists()


def test_json_is_alone_on_stdout(tools):
    """Synthesis ends at once, the router fails: stdout stays empty, a log has one line for each phase."""
    yosys = tools / "tools" / "yosys"
    yosys.write_text(yosys.read_text().replace("time.sleep(600)", "open('top.json', 'w').write('{}')"))
    nextpnr = "import sys; print('nextpnr-0.11'); '--version' in sys.argv or sys.exit('ERROR: no room')"
    script(tools / "tools", "nextpnr-ice40", nextpnr)
    command = [sys.executable, "-m", "xnorcore", "build", "icebreaker", *SMALL, "--json", "--out", "build"]
    done = subprocess.run([*command, "--seeds", "1"], cwd=tools, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "icebreaker: elaborating 1x8x8",
        "icebreaker: synthesizing",
        "icebreaker: placing and routing",
    ]
    assert lines[-1].startswith("xnorcore: error: nextpnr-ice40 failed (exit status 1): ERROR: no room")
    assert (tools / "build" / "synth.ys").exists()
