"""The networks of ``xnorcore verify --random 25 --devices 5``, in parts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.campaigns import some
from xnorcore.cli import main
from xnorcore.verify import campaign
from xnorcore.verify.random_devices import random_configs

COUNT, PART = 25, 5
DEVICES = random_configs(0, COUNT // PART)
"""One for each part: the simulator has to be built for each."""


@pytest.mark.parametrize("first", some(range(0, COUNT, PART), always=0))
def test_random_networks(first: int, tmp_path: Path) -> None:
    done = campaign.run(0, PART, DEVICES, first=first, total=COUNT, keep=str(tmp_path))
    assert [(failure.found, failure.command) for failure in done.failures] == []
    assert done.count == PART and done.values > 200 and not list(tmp_path.iterdir())


class Backwards:
    """A pool that does the last piece first."""

    text = "backwards"

    def keep(self, value: Any) -> Any:
        return value

    def run(self, call: Any, pieces: Any, ready: Any = None) -> list[Any]:
        found = {}
        for index in reversed(range(len(pieces))):
            found[index] = call(*pieces[index])
            ready(index, found[index])
        return [found[index] for index in range(len(pieces))]


def test_the_order_of_the_work_does_not_matter(tmp_path, monkeypatch):
    """Of what is counted, of what fails, and of the files."""
    monkeypatch.setattr(
        campaign, "check", lambda case: f"{len(case.images)} images" if case.at_once else None
    )
    monkeypatch.setattr(campaign, "shrink", lambda case, check: (case, "as it is"))
    monkeypatch.chdir(tmp_path)
    found = []
    for name, pool in (("serial", None), ("backwards", Backwards())):
        (tmp_path / name).mkdir()
        done = campaign.run(3, 12, DEVICES[:2], first=4, total=20, keep=name, pool=pool)
        files = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        text = json.dumps(done.as_dict()).replace(name, "")
        found.append((text, files))
    assert found[0] == found[1]
    assert 0 < len(done.failures) < 12 and len(found[0][1]) == 2 * len(done.failures)
    assert [failure.index for failure in done.failures] == sorted(failure.index for failure in done.failures)


@pytest.mark.campaign
def test_processes_find_the_same(capsys):
    ask = [
        "verify",
        "--random",
        "4",
        "--seed",
        "5",
        "--json",
        "--rows",
        "2",
        "--columns",
        "8",
        "--width",
        "8",
    ]
    ask += ["--set", "act_depth=1024", "--set", "weight_depth=256", "--set", "threshold_depth=2048"]
    found = []
    for more in ([], ["--workers", "2"]):
        assert main([*ask, *more]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0] == found[1] and found[0]["count"] == 4
