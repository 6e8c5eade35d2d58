"""What ``run`` and ``sim`` draw on a terminal, and that without one, or with --plain, nothing is drawn."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.cli import bars, live, main
from xnorcore.cli.console import Console
from xnorcore.cli.live import Live, cause_rows
from xnorcore.isa.layout import COUNTERS
from xnorcore.isa.protocol import Command
from xnorcore.link.pieces import END
from xnorcore.runtime import counters
from xnorcore.runtime.accelerator import Progress
from xnorcore.runtime.counters import LOOK, Watch, watched

CAUSES = {
    "busy": 60.0,
    "drain": 0.0,
    "idle": {"fetch": 30.0, "tail": 10.0},
    "wait_output": 1,
    "wait_input": 2,
}


@pytest.fixture(autouse=True)
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "can_print", lambda text: True)


def test_causes() -> None:
    assert cause_rows(CAUSES, False) == [("  by cause", "busy 60.0, fetch 30.0, tail 10.0")]
    drawn = dict(cause_rows(CAUSES, True))
    assert list(drawn) == ["  busy", "  fetch", "  tail"]
    assert drawn["  busy"].startswith("60.0  60.0% ") and drawn["  busy"].count("\u2588") == 19
    assert cause_rows(CAUSES | {"busy": 0.0, "idle": {}}, True) == []


class Said(Console):
    """Keeps what stands on the terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.blocks: list[list[str]] = []
        self.counted: list[str] = []

    def block(self, lines: Sequence[str]) -> None:
        self.lines.append(lines[0])
        self.blocks.append(list(lines[1:]))

    def progress(self, progress: Progress) -> None:
        self.counted.append(progress.stage)


@pytest.mark.parametrize(("link", "wire"), [("uart", True), ("direct", False)])
def test_rate_and_wire(link: str, wire: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(live, "_EVERY_S", 0)
    transport = SimpleNamespace(seconds=1.0, link=link, divisor=4)
    transport.now = lambda: transport.seconds
    device: Any = SimpleNamespace(
        session=SimpleNamespace(transport=transport),
        program=SimpleNamespace(passes=1, image_bytes=100),
        info=SimpleNamespace(clock_hz=4_000_000),
    )
    said = Said()
    shown = Live(said, argparse.Namespace(plain=False))
    shown(Progress("load", 1, 2))
    shown.accelerator = device
    shown.start()
    transport.seconds = 1.5
    shown(Progress("infer", 250, 500))
    # Counters go round; what they count is added up.
    device.watch.seen(dict.fromkeys(COUNTERS, 0) | {"images": 100, "busy": (1 << 32) - 100, "fetch": 50})
    device.watch.seen(dict.fromkeys(COUNTERS, 0) | {"images": 200, "busy": 100, "fetch": 50})
    # A second call of infer counts on.
    shown(Progress("infer", 500, 500))
    transport.seconds = 2.0
    shown(Progress("infer", 100, 500))
    assert said.counted == ["load"]
    assert " 250 images, 500/s" in said.lines[0] and " 600 images, 600/s" in said.lines[2]
    assert said.blocks[0] == [] and [line.split()[0] for line in said.blocks[2]] == ["busy", "fetch"]
    assert said.blocks[2][0].split()[1] == f"{((1 << 32) + 100) / 200:,.1f}"
    # 500 images of 100 bytes, 10 bits each, of 1 Mbaud.
    assert ("wire" in said.lines[0]) == wire == said.lines[0].endswith(" 50%")


@pytest.mark.parametrize("columns", [40, 60, 120])
def test_nothing_is_cut(columns: int, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Where there is no room for a line there are two, and bars keep their proportions."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(live, "_EVERY_S", 0)
    monkeypatch.setattr("xnorcore.cli.console._width", lambda: columns)
    monkeypatch.setenv("TERM", "xterm")
    transport = SimpleNamespace(seconds=0.0, link="uart", divisor=4)
    transport.now = lambda: transport.seconds
    shown = Live(Console(), argparse.Namespace(plain=False))
    shown.accelerator = device = SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        session=SimpleNamespace(transport=transport),
        program=SimpleNamespace(passes=1, image_bytes=100),
        info=SimpleNamespace(clock_hz=4_000_000),
    )
    shown.start()
    transport.seconds = 123.0
    device.watch.seen(
        dict.fromkeys(COUNTERS, 0) | {"images": 10, "busy": 400_000, "fetch": 200_000, "tail": 400_000}
    )
    shown(Progress("infer", 123_456, 999_999))
    said = capsys.readouterr().err
    assert "123,456 images" in said and "1,004/s" in said and "wire " in said and said.count("100%") == 1
    lines = said.splitlines()
    assert all(len(line) < columns for line in lines), lines
    assert len(lines) == (4 if columns > 60 else 5)
    bars_drawn = [line.count("\u2588") for line in lines[-3:]]
    assert bars_drawn[0] == bars_drawn[2] >= 3 and abs(bars_drawn[1] - bars_drawn[0] / 2) <= 1, lines


def test_plain_and_no_terminal_are_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Said()
    for terminal, plain in ((False, False), (True, True)):
        monkeypatch.setattr(sys.stderr, "isatty", lambda terminal=terminal: terminal)
        shown = Live(said, argparse.Namespace(plain=plain))
        shown(Progress("infer", 1, 2))
    assert said.counted == ["infer", "infer"] and not said.lines


def test_run_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: Any) -> None:
    np.save(tmp_path / "in.npy", zoo.test_images("digits")[0][:8])
    command = [
        "run",
        "digits",
        str(tmp_path / "in.npy"),
        "--port",
        "machine:",
        "-o",
        str(tmp_path / "out.npy"),
    ]
    assert main(command) == 0
    today = capsys.readouterr()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(live, "_EVERY_S", 0)
    assert main(command) == 0
    drawn = capsys.readouterr()
    assert "images, " in drawn.err and "images, " not in today.err
    assert main([*command, "--plain"]) == 0
    assert "/s" not in capsys.readouterr().err


def test_a_block_is_drawn_in_place(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    console = Console()
    console.block(["images", "busy ##", "x" * 500])
    console.block(["more", "busy ###"])
    console.status("one")
    console.end_progress()
    out = capsys.readouterr().err
    up = "\x1b[1A\x1b[2K"
    first, second, third = out.split("\r\x1b[2K")
    assert first.split("\n")[:2] == ["images", "busy ##"] and len(first.split("\n")[2]) < 80
    assert second == up * 2 + "more\nbusy ###" and third.startswith(up + "\rone") and third.endswith("\r")
    monkeypatch.setenv("TERM", "dumb")
    console.block(["images", "busy ##"])
    assert capsys.readouterr().err == "\rimages"


def test_looks_come_between_images_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(counters, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    expected: list[int] = []

    def requests() -> Iterator[tuple[int, bytes]]:
        # Batches of two requests each: the second one is part 1, and the last.
        for _ in range(3):
            for part, count in ((0, 0), (1 | END, 2)):
                expected.append(count)
                yield Command.INFER, bytes([part])

    sent = []
    for command, payload in watched(requests(), expected, Watch(lambda _: None, every_s=0.5)):
        sent.append((command, payload[0]))
        clock[0] += 0.2
    first, last, look = (Command.INFER, 0), (Command.INFER, 1 | END), (Command.COUNTERS, 0)
    assert sent == [first, last, first, last, look, first, last]
    assert expected == [0, 2, 0, 2, LOOK, 0, 2]
