"""README.md and the tutorials as a road: their commands and Python blocks, in order, as printed.

Each section of README.md runs in a folder of its own, and so needs nothing from another one; a tutorial is
one way from its first line to its last.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.boards import find_device
from xnorcore.isa.device import Geometry
from xnorcore.reference import golden

from . import needs
from .campaigns import some
from .lean import LEAN, build_options

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
LIMIT_S = 600

# What cannot be run as printed, and what stands for it. A line that no page has any more fails a test.
PLACE = f"build/icebreaker-{find_device('icebreaker').config.geometry}"
TINY = replace(LEAN, geometry=Geometry(1, 4, 16), weight_depth=1024)
SMALL = " ".join(("--clock-hz 12000000 --seeds 1", *build_options(TINY)))
STAND_INS = {
    # This is the suite.
    "pytest -n auto": "",
    # The board's own array takes long to place (.ci/run does an iCESugar's): a small one, in the same folder.
    "xnorcore build icebreaker": f"xnorcore build icebreaker --out {PLACE} {SMALL}",
    # Serves until Ctrl-C.
    "xnorcore web digits": "xnorcore web digits --no-serve",
    # No board: the netlist that the build left, and the simulated device.
    "xnorcore run mnist-tfc IN.npy --port /dev/ttyUSB1 -o OUT.npy": (
        f"xnorcore run mnist-tfc IN.npy --port netlist:{PLACE} -o OUT.npy"
    ),
    "xnorcore classify shapes.xnor pictures/ring/0.png --port /dev/ttyUSB1": (
        "xnorcore classify shapes.xnor pictures/ring/0.png --board icebreaker"
    ),
    "xnorcore verify mnist-tfc --port /dev/ttyUSB1": "xnorcore verify mnist-tfc --port sim:",
    "xnorcore verify mnist-tfc --port /dev/ttyUSB1 --report first-light.json": (
        "xnorcore verify mnist-tfc --port sim: --report first-light.json"
    ),
}
# Run as printed: `xnorcore program`, with a stand-in for the board's programmer that notes what it is given;
# `xnorcore serve-sim`, until the command that it prints has run. `pip install` has been run by whoever runs
# this; that the extra exists is checked.
SERVE, PIP = "xnorcore serve-sim", "pip install "


@dataclass(frozen=True)
class Step:
    """One thing to do: a command, or a block of Python."""

    text: str
    python: bool = False


def sections(text: str) -> dict[str, list[Step]]:
    """Steps of a page under each of its headings; what is above them has its title."""
    found: dict[str, list[Step]] = {}
    for part in re.split(r"^##? ", text, flags=re.MULTILINE)[1:]:
        heading, _, under = part.partition("\n")
        steps: list[Step] = []
        for block in re.finditer(r"^```(\w*)\n(.*?)^```$|^    (\S[^\n]*)$", under, re.MULTILINE | re.DOTALL):
            language, fenced, line = block.groups()
            if language == "python":
                steps.append(Step(fenced, python=True))
            elif line and not fenced:
                printed = line.partition("  #")[0].strip()
                steps += [Step(command) for command in printed.split(" && ")]
        if steps:
            found[heading] = steps
    return found


SECTIONS = sections(README)
TUTORIALS = {
    path.name: [step for steps in sections(path.read_text()).values() for step in steps]
    for path in sorted((ROOT / "docs").glob("tutorial-*.md"))
}
COMMANDS = [step.text for steps in SECTIONS.values() for step in steps if not step.python]


@pytest.fixture
def shell(tmp_path):
    """Environment of a reader: `xnorcore`, `python` and a programmer on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = shlex.quote(sys.executable)
    scripts = {
        "xnorcore": f'exec {python} -m xnorcore "$@"\n',
        "python": f'exec {python} "$@"\n',
        "iceprog": f'test -s "$1" && echo "$@" > {shlex.quote(str(tmp_path))}/programmed\n',
    }
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}")
        (folder / name).chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def do(step: Step, folder: Path, environment: dict[str, str]) -> str:
    """Do one step as a reader would; return what it printed."""
    if step.python:
        argv = [sys.executable, "-c", step.text]
    elif step.text.startswith(PIP):
        return ""
    elif step.text == SERVE:
        return serve(folder, environment)
    else:
        argv = ["sh", "-c", STAND_INS.get(step.text, step.text)]
    done = subprocess.run(
        argv, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{step.text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    assert "Traceback" not in done.stderr and "error" not in done.stderr, step.text
    return done.stdout


def serve(folder: Path, environment: dict[str, str]) -> str:
    """Start the simulated device, run what it says to try, and stop it with Ctrl-C."""
    server = subprocess.Popen(
        SERVE.split(), cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        says = server.stdout.readline(), server.stdout.readline()
        assert says[1].startswith("try: xnorcore run NET IN.npy --port "), says
        do(Step(says[1].removeprefix("try: ").strip().replace("NET", "digits")), folder, environment)
        server.send_signal(signal.SIGINT)
        server.wait(60)
    finally:
        server.kill()
        server.communicate()
    return ""


# What takes longer than a few seconds is done in `.ci/run`; by itself, other tests see it as well.
SLOW_SECTIONS = ("On a board", "In a design of your own")
SLOW_STEPS = (
    "xnorcore demo --net fashion",
    "xnorcore sample fashion -o CLOTHES.npy --count 8",
    "xnorcore sim fashion CLOTHES.npy --rows 4 --batch 1",
    "xnorcore report fashion --board ulx3s-25f -o page.html",
    "xnorcore sim digits IN.npy --vcd w.vcd --layer dense1",
    "xnorcore web digits",
)
QUICK = [(heading, False) for heading in SECTIONS if heading not in SLOW_SECTIONS]
WHOLE = [(heading, True) for heading in (*SLOW_SECTIONS, "Try it")]


@pytest.mark.parametrize(("heading", "whole"), some(QUICK + WHOLE, len(QUICK), many=True))
def test_section(heading, whole, tmp_path, shell):
    folder = tmp_path / "clone"
    folder.mkdir()
    printed = {}
    started = time.monotonic()
    for step in SECTIONS[heading]:
        if step.text in SLOW_STEPS and not whole:
            continue
        printed[step.text] = do(step, folder, shell)
        print(f"{time.monotonic() - started:6.1f} s: {step.text.splitlines()[0]}")
    if heading == "Try it":
        same_as_printed(printed["xnorcore demo"])
        assert not whole or "says Ankle boot, is Ankle boot" in printed["xnorcore demo --net fashion"]
        network = zoo.load("digits")
        expected = golden.run(network, np.load(folder / "IN.npy"))
        assert np.array_equal(np.load(folder / "OUT.npy"), expected)
    if heading == "On a board":
        assert (tmp_path / "programmed").read_text() == f"{PLACE}/icebreaker.bin\n"
        network = zoo.load("mnist-tfc")
        assert np.array_equal(np.load(folder / "OUT.npy"), golden.run(network, np.load(folder / "IN.npy")))


@pytest.mark.campaign
@pytest.mark.parametrize("page", TUTORIALS)
def test_tutorial(page, tmp_path, shell):
    steps = TUTORIALS[page]
    assert len(steps) >= 5 and any(step.python for step in steps)
    if any(step.text.startswith("xnorcore train ") for step in steps):
        needs.torch()
    folder = tmp_path / "somewhere"
    folder.mkdir()
    # What README.md does on a board takes a minute, and is done there.
    printed = {step.text: do(step, folder, shell) for step in steps if step not in SECTIONS["On a board"]}
    if page == "tutorial-photos.md":
        right = re.search(r"\(([\d.]+)%\)", printed["xnorcore eval shapes.xnor --data pictures"])
        assert right and float(right.group(1)) >= 90
        said = printed["xnorcore classify shapes.xnor pictures/ring/0.png pictures/cross/0.png"]
        assert "ring" in said and "cross" in said


def same_as_printed(demo: str) -> None:
    """What README shows of the demo is what it prints, but for the time."""
    shown = re.search(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert shown
    lines = [line for line in shown.group(1).splitlines() if not line.startswith("wall time")]
    assert lines == [line for line in demo.splitlines() if not line.startswith("wall time")]


def test_every_section_with_commands_is_run():
    assert {"Try it", "On a board", "Test it", "Python"} <= set(SECTIONS)
    assert len(COMMANDS) >= 20 and sum(step.python for steps in SECTIONS.values() for step in steps) >= 3
    # Nothing that looks like a command is missed by the way it is printed.
    for line in README.splitlines():
        if re.match(r"\s+(xnorcore|pip|python) ", line):
            assert any(command in line for command in COMMANDS), line


def test_stand_ins_are_of_commands_that_the_pages_have():
    there = {*COMMANDS, *(step.text for steps in TUTORIALS.values() for step in steps)}
    assert (
        set(STAND_INS) <= there
        and {SERVE, *SLOW_STEPS} <= set(COMMANDS)
        and set(SLOW_SECTIONS) <= set(SECTIONS)
    )
    for printed, instead in STAND_INS.items():
        assert instead.split()[:3] == printed.split()[:3] or not instead


def test_pip_installs_what_there_is():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = [re.findall(r'"\.\[(\w+)\]"', text) for text in COMMANDS + re.findall("`(pip.*?)`", README)]
    named = [name for names in wanted for name in names]
    assert len(named) >= 4 and set(named) <= set(extras)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`(xnorcore [^`]+)`", README))))
def test_commands_inside_the_text_are_legal(command):
    """Those of the table of figures take minutes: the parser reads them, and .ci/run has some of them."""
    from xnorcore.cli.commands import build

    assert build().parse_args(shlex.split(command)[1:]).command == command.split()[1]
