"""A few of the campaign's faults, and what makes up its verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from .campaign import FILES, ROOT, draw_changed, named, summary
from .placed import Placed, draw_placed
from .truth import STUCK, WRONG, Verdict


def test_verdict() -> None:
    right = Verdict(WRONG, (1, 2, 6), "gateware", 1, 6)
    assert right.named
    assert not Verdict(WRONG, (1, 2, 6), "gateware", 1, 1).named
    assert not Verdict(WRONG, (1, 2, 6), "gateware", 2, 6).named
    assert not Verdict(WRONG, (1, 2, 6), "gateware").named
    assert not Verdict(STUCK, (), "gateware", 0, 0).named
    # Of a fault at a place, what differs has to be in its column.
    assert named(Placed(0, 2, "x", 0, "is inverted"), right.as_dict())
    assert not named(Placed(0, 1, "x", 0, "is inverted"), right.as_dict())
    stuck = Verdict(STUCK, side="gateware", errors=1, seconds=2.5)
    said = summary([right.as_dict(), Verdict(WRONG, (0, 1), "compiler", 0, 0).as_dict(), stuck.as_dict()])
    assert said.startswith(
        "2 faults with wrong scores: side gateware 1, layer and channel named 1; "
        "1 without scores: side gateware 1, at most 2.5 s"
    )


def test_faults_are_drawn_by_seed() -> None:
    places = list(islice(draw_placed(3), 40))
    assert places == list(islice(draw_placed(3), 40)) != list(islice(draw_placed(4), 40))
    assert {fault.port for fault in places} >= {"x", "w", "start", "bit"}
    changed = [fault.mutant for fault in islice(draw_changed(3), 3 * len(FILES))]
    assert {mutant.file for mutant in changed} == set(FILES), "files take turns"
    assert all((ROOT / file).is_file() for file in FILES)


@pytest.mark.campaign
@pytest.mark.parametrize(("kind", "count"), [("places", 3), ("sources", 2)])
def test_faults_are_named(kind: str, count: int, tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    words = ("--count", str(count), "--seed", "2", "--only", kind, "--out", str(out))
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *words], cwd=ROOT.parents[1], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    found = json.loads(out.read_text())[kind]
    wrong = {name: entry for name, entry in found.items() if entry["kind"] == WRONG}
    assert len(wrong) == count
    assert f"{kind}: {count} faults with wrong scores: side gateware {count}" in done.stdout
    assert [entry for entry in wrong.values() if entry["side"] != "gateware" or not entry["named"]] == []
    stuck = [entry for entry in found.values() if entry["kind"] == STUCK]
    assert all(entry["side"] == "gateware" and entry["seconds"] < 120 for entry in stuck)
