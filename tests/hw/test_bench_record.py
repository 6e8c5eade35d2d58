"""The documentation's figures are those of the record, and the record is of what the code measures today."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from xnorcore.cli import main
from xnorcore.cli.console import Console
from xnorcore_hw.bench import cnn, command, dense, host, record
from xnorcore_hw.bench.figure import CLAIMS, Claim, Figure
from xnorcore_hw.bench.workload import causes

ROOT = Path(__file__).parents[2]
MEASUREMENTS = (ROOT / "docs/measurements.md").read_text()
README = (ROOT / "README.md").read_text()


def test_the_record_has_every_claim_and_keeps_its_limit():
    recorded = record.load()
    assert list(recorded) == list(CLAIMS)
    for key, claim in CLAIMS.items():
        assert claim.key == key and claim.bench in command.NAMES
        assert claim.figure(recorded[key].value, {}).passed, key


def test_every_claim_is_measured_somewhere():
    text = "".join(Path(module.__file__ or "").read_text() for module in (cnn, dense, host))
    assert {key for key in CLAIMS if f'"{key}"' not in text} == set()


def test_pages_have_the_figures_of_the_record(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "--markdown"]) == 0
    printed = capsys.readouterr().out
    assert printed.strip() in MEASUREMENTS, "docs/measurements.md is not what bench --markdown prints"
    section = README[README.index("## Measured") : README.index("## Python")]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert rows[:2] == printed.splitlines()[:2]
    assert 3 <= len(rows[2:]) <= 5 and set(rows[2:]) <= set(printed.splitlines())


def test_each_figure_is_on_one_page():
    """But for the few of the README: no other page has a row of these tables."""
    pages = [page for page in (ROOT / "docs").glob("*.md") if page.name != "measurements.md"]
    rows = [line for line in MEASUREMENTS.splitlines() if re.search(r"`xnorcore bench \w+` \|$", line)]
    assert len(rows) == len(CLAIMS)
    for page in pages:
        assert not any(row in page.read_text() for row in rows), page


CLAIM = Claim("lfc-one", "lfc", "one", 10, False, "cycles")


def test_store_replaces_what_was_measured_again(tmp_path: Path):
    path = tmp_path / "record.json"
    old = CLAIMS["fast"].figure(4.123456789, {})
    record.store([CLAIM.figure(9, {}), old], path)
    record.store([CLAIM.figure(8.25, {}, causes={"busy": 8.00049, "tail": 0.25})], path)
    found = record.load(path)
    assert list(found) == ["lfc-one", "fast"]
    assert found["lfc-one"] == record.Recorded(8.25, {"busy": 8.0, "tail": 0.25})
    assert found["fast"].value == pytest.approx(4.12346)
    lines = record.markdown(found)
    assert (
        "| 784-1024-1024-1024-10, one image | 8.2 cycles | <= 3,200 cycles | `xnorcore bench lfc` |" in lines
    )
    assert lines[-1] == "| 784-1024-1024-1024-10, one image | 8 | 0.2 | 8.2 |"


@pytest.mark.parametrize(("value", "code"), [(9, 0), (11, 1)])
def test_only_figures_within_their_limits_are_kept(
    value: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    kept: list[Figure] = []

    def figures(console: Console) -> Iterator[Figure]:
        yield CLAIM.figure(value, {})

    monkeypatch.setattr(
        command, "benchmarks", lambda *numbers: dict.fromkeys(command.NAMES, ("nothing", figures))
    )
    monkeypatch.setattr(record, "store", kept.extend)
    assert main(["bench", "lfc", "--record"]) == code
    assert [figure.value for figure in kept] == ([9] if code == 0 else [])
    assert ("nothing is recorded" in capsys.readouterr().err) == (code == 1)


@pytest.mark.parametrize("more", [["lfc"], ["--record"]])
def test_markdown_measures_nothing(more: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "--markdown", *more]) == 2
    assert "leave the names of benchmarks and --record out" in capsys.readouterr().err


def test_causes_are_those_that_a_device_counts() -> None:
    """One without a store has no `wait_weights`."""
    counters = dict.fromkeys(("busy", "drain", "fetch", "hazard", "port", "tail"), 6)
    for more in ({}, {"wait_weights": 4}):
        measured: Any = SimpleNamespace(counters=counters | more, images=2)
        assert causes(measured) == dict.fromkeys(counters, 3.0) | dict.fromkeys(more, 2.0)
