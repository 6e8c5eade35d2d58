"""What README.md says of the suite: one command installs what it needs, but PyTorch; nothing is skipped."""

import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import pytest

from tests.campaigns import in_part, some
from xnorcore_hw.sim import cache

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
OTHER_SKIPS = {
    "tests/sw/test_cli.py": 1,  # a system without /dev/full
    "tests/boards/test_netlist.py": 1,  # IceStorm's icebox_vlog, which pip does not have
}
"""Places that may skip because of the machine."""


def run(argv: list[str], **more: str) -> str:
    """Run pytest as somebody would who was told nothing by this run; return what it printed."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")} | more
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False).stdout


def test_options_of_this_run_are_not_those_of_others():
    """Coverage's options in CI: a second run of pytest would erase what the commands of this one measured."""
    assert "PYTEST_ADDOPTS" not in os.environ


def test_the_test_extra_has_every_extra_but_training():
    extras = CONFIG["project"]["optional-dependencies"]
    (own,) = [text for text in extras["test"] if text.startswith("xnorcore[")]
    # `distributed` is there by itself, without the dashboard of `cluster`.
    others = set(extras) - {"test", "train", "cluster"}
    assert set(own.removeprefix("xnorcore[").rstrip("]").split(",")) == others
    assert any(text.startswith("distributed") for text in extras["test"])
    assert any(text.startswith("scikit-learn") for text in extras["test"])


def test_nothing_else_is_skipped():
    skips = re.compile(r"importorskip|skipif|pytest\.skip\(|unittest\.skip")
    found = {
        path.relative_to(ROOT).as_posix(): len(skips.findall(path.read_text()))
        for path in (ROOT / "tests").rglob("*.py")
        if path.name not in ("needs.py", "test_suite.py")
    }
    assert {path: count for path, count in found.items() if count} == OTHER_SKIPS


def test_tests_of_training_are_one_line_with_the_command_that_brings_them(tmp_path):
    """By a fixture, at the start of a module, inside a test: all three ways."""
    (tmp_path / "hide_torch.py").write_text("import sys\nsys.modules['torch'] = None\n")
    hidden = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    chosen = [f"tests/sw/test_{name}.py" for name in ("train_command", "train_export", "convolution")]
    argv = [
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "hide_torch", *chosen,
        "-k", "torch or export or trains",
    ]  # fmt: skip
    printed = run(argv, **hidden)
    lines = [line for line in printed.splitlines() if line.startswith("SKIPPED")]
    assert len(lines) == 1, printed
    count, place = re.match(r"SKIPPED \[(\d+)\] (\S+):\d+: ", lines[0]).groups()  # type: ignore[union-attr]
    assert int(count) >= 5 and place == "tests/needs.py" and 'run pip install ".[train]"' in lines[0]


def test_campaigns_are_left_out_of_the_command_and_not_of_ci():
    assert '-m "not campaign"' in CONFIG["tool"]["pytest"]["ini_options"]["addopts"]
    assert "-m ''" in (ROOT / ".ci/run").read_text()


def test_each_campaign_is_in_one_part():
    names = [f"tests/test_a.py::test_b[{number}]" for number in range(400)]
    parts = [[name for name in names if in_part(name, f"{number}/4")] for number in range(1, 5)]
    assert sorted(name for part in parts for name in part) == sorted(names)
    assert all(len(part) > 60 for part in parts)
    for wrong in ("0/4", "5/4", "4", "a/b", "-1/4"):
        with pytest.raises(pytest.UsageError, match="K/N with K from 1 to N"):
            in_part("test", wrong)


def test_the_first_cases_run_always():
    one, *others = some([(1, 2), (3, 4), (5, 6)], 1, many=True)
    assert one == (1, 2) and [other.values for other in others] == [(3, 4), (5, 6)]
    assert all([mark.name for mark in other.marks] == ["campaign"] for other in others)


@pytest.mark.campaign
def test_a_campaign_adds_cases_and_takes_none_away():
    """The first cases run always; with an empty -m the others do as well."""
    argv = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    argv += ["tests/sw/test_validate_program.py", "-k", "compiled_programs"]
    usual, all_of_them = (run([*argv, *more]) for more in ([], ["-m", ""]))
    listed, every = (
        [line for line in text.splitlines() if "::test_compiled_programs_pass[" in line]
        for text in (usual, all_of_them)
    )
    assert 10 <= len(listed) < len(every) and every[: len(listed)] == listed


def test_a_simulator_that_all_share_is_built_once():
    built = []

    def build(folder: Path) -> Path:
        built.append(folder)
        time.sleep(0.2)
        (folder / "simulator").write_text("text")
        return folder / "simulator"

    name = f"test-{os.getpid()}.txt"
    threads = [threading.Thread(target=cache.cached, args=(name, build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and cache.cached(name, build).is_file()
    cache.cached(name, build).unlink()
