"""A campaign on workers is the one of a single process: the same mutants, with the same verdicts."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from xnorcore.workers import Pool, Serial, open_pool

from .bench import ROOT, Setting, check, try_mutant
from .operators import Mutant
from .run import Record, campaign, draw
from .trial import BROKEN, KILLED, SAME, SURVIVED

FILE = "array/pe.py"
TESTS = ("tests/hw/test_pe.py::test_pe_against_naive_model[8]", "tests/hw/test_pe.py::test_popcount[8]")


@cache
def drawn() -> list[Mutant]:
    """Return the mutants of one seed, drawn once."""
    return draw(3, [])


@pytest.fixture(scope="module", autouse=True)
def tests_are_found():
    """Workers import what is called, and `pytest` alone does not tell them where tests are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        patch.setattr(sys, "path", [str(ROOT), *sys.path])
        yield


def drawn_by_lot(die: str, mutant: Mutant, tests: list[str]) -> tuple[str, str]:
    """Give a verdict without a trial; once, end the worker, if a file is named."""
    if die and not Path(die).exists():
        Path(die).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    lot = sha256(mutant.name.encode()).digest()[0]
    return (KILLED, SURVIVED, SAME, BROKEN)[lot % 4], f"one of {len(tests)}"


class Backwards(Serial):
    """Is done with the last piece first."""

    def run(self, call: Any, pieces: Sequence[Any], ready: Any = None) -> list[Any]:
        last = len(pieces) - 1
        found = super().run(call, pieces[::-1], lambda index, result: ready(last - index, result))
        return found[::-1]


def by_lot(path: Path, count: int, *, again: bool = False, pool: Pool | None = None) -> Record:
    record = Record(path, 3)
    campaign(drawn(), count, record, pool or Serial(), partial(drawn_by_lot, ""), again=again)
    return record


def test_a_campaign_ends_when_so_many_count(tmp_path: Path):
    record = by_lot(tmp_path / "one", 10)
    assert record.tried == 10 < len(record.found)
    # It tried those that come first, and not one more.
    assert set(record.found) == {mutant.name for mutant in drawn()[: len(record.found)]}
    by_lot(tmp_path / "two", 4)
    by_lot(tmp_path / "two", 10, pool=Backwards())
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_survivors_are_tried_again_on_more(tmp_path: Path):
    first = by_lot(tmp_path / "record", 10).found
    second = by_lot(tmp_path / "record", 10, again=True).found
    assert set(first) == set(second)
    changed = {name for name, entry in second.items() if entry != first[name]}
    assert changed == {name for name, entry in first.items() if entry["verdict"] == SURVIVED} != set()


def test_a_record_of_others_is_left_alone(tmp_path: Path):
    (tmp_path / "record").write_text(json.dumps({"seed": 4, "sources": "", "mutants": {}}))
    with pytest.raises(SystemExit, match="is of another seed or of other sources"):
        Record(tmp_path / "record", 3)


@pytest.mark.campaign
def test_workers_of_which_one_dies_find_the_same(tmp_path: Path):
    by_lot(tmp_path / "serial", 10)
    with open_pool(2) as pool:
        trial = partial(drawn_by_lot, str(tmp_path / "died"))
        campaign(drawn(), 10, Record(tmp_path / "workers", 3), pool, trial)
    assert (tmp_path / "died").exists()
    assert (tmp_path / "workers").read_bytes() == (tmp_path / "serial").read_bytes()


@pytest.mark.campaign
def test_trials_on_workers(tmp_path: Path):
    """Benches of this process and of workers, on one file and two quick tests of it."""
    setting = Setting(TESTS, 60, devices=False, folder=str(tmp_path))
    pieces = [(setting, mutant, list(TESTS)) for mutant in draw(1, [FILE])[:4]]
    alone = Serial().run(try_mutant, pieces)
    assert KILLED in {verdict for verdict, _ in alone}
    assert check(setting) == (SURVIVED, "")
    with open_pool(2) as pool:
        assert pool.run(try_mutant, pieces) == alone
