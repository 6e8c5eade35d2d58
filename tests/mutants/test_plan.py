"""The plan names every file of the gateware, or says why not, and tests that are there."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.stores import StoreKind

from .operators import mutants
from .plan import ALL, LEFT_OUT, MORE, PLAN
from .run import PACKAGE, ROOT, draw
from .trial import devices_of, runs_of

GATEWARE = ROOT / "hw" / PACKAGE


def unplanned(files: set[str]) -> set[str]:
    """Return those of the files that are neither in the plan nor left out."""
    return {file for file in files - set(PLAN) if not any(file == x or x in _folders(file) for x in LEFT_OUT)}


def _folders(file: str) -> set[str]:
    return {str(folder) for folder in Path(file).parents}


def test_every_file_is_in_the_plan_or_left_out() -> None:
    files = {str(path.relative_to(GATEWARE)) for path in GATEWARE.rglob("*.py") if path.name != "__init__.py"}
    assert unplanned(files) == set()
    assert unplanned({*files, "memory/other.py"}) == {"memory/other.py"}


def test_devices_that_are_compared_have_every_option_and_have_it_not() -> None:
    """What none of them has would be the same circuit whatever is changed there."""
    configs = [config for config, _ in devices_of()]
    alike = [one.name for one in fields(DeviceConfig) if len({getattr(c, one.name) for c in configs}) < 2]
    assert alike == []
    assert {config.store_kind for config in configs if config.store_words} == set(StoreKind)


def test_every_name_is_that_of_a_file() -> None:
    assert [file for file in PLAN if not (GATEWARE / file).is_file()] == []
    assert [name for name in LEFT_OUT if not (GATEWARE / name).exists()] == []
    assert not set(PLAN) & set(LEFT_OUT)


def collected(tests: list[str]) -> list[str]:
    """Return the names of all tests in the files, however these name some of them."""
    files = sorted({test.partition("::")[0] for test in tests})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "-m", "", "-p", "no:cacheprovider", *files],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]
    return [line for line in done.stdout.splitlines() if "::" in line]


def absent(tests: list[str], there: list[str]) -> list[str]:
    """Return those of the tests that are not there: pytest is silent about one of a file that it takes."""
    return [
        test for test in tests if not any(f"{name}[".startswith((f"{test}[", f"{test}::")) for name in there)
    ]


@pytest.mark.campaign
def test_every_test_of_the_plan_is_there() -> None:
    tests = sorted({test.partition(" ")[0].rstrip("/") for test in [*ALL, *MORE]})
    there = [name for test in collected(tests) for name in (test, test.partition("[")[0])]
    folders = [test for test in tests if (ROOT / test).is_dir()]
    assert absent([test for test in tests if test not in folders], there) == []
    wrong = "tests/hw/test_conv.py::test_random_networks[nothing]"
    assert absent([tests[0], wrong], there) == [wrong]


def test_tests_run_in_their_order() -> None:
    tests = ["a.py", "b.py", "c.py::one", "a.py", "d.py::two", "e.py -k not 32", "f.py"]
    assert runs_of(tests) == [
        ["a.py", "b.py"], ["-m", "", "c.py::one", "d.py::two"], ["-m", "", "e.py", "-k", "not 32"], ["f.py"],
    ]  # fmt: skip


def test_packages_have_no_gateware() -> None:
    packages = [path for path in GATEWARE.rglob("__init__.py") if LEFT_OUT.get(path.parent.name) is None]
    assert [path for path in packages if mutants("", path.read_bytes())] == []


def test_a_campaign_takes_the_files_in_turn() -> None:
    drawn = draw(3, [])
    assert drawn == draw(3, [])
    assert drawn != draw(4, [])
    counts = Counter(mutant.file for mutant in drawn[: 5 * len(PLAN)])
    assert set(counts) == set(PLAN)
    assert max(counts.values()) >= 5
    assert [mutant.file for mutant in draw(3, ["shells/framed.py"])] == ["shells/framed.py"] * len(
        mutants("shells/framed.py", (GATEWARE / "shells/framed.py").read_bytes())
    )
