"""What holds for all tests."""

import os
import shutil
import signal
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests import campaigns, draws, needs

# A shell starts background jobs with Ctrl-C ignored, which commands that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What a shell says of its terminal would be obeyed; readline says it behind Python's back.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

VARIABLE = "XNORCORE_CACHE"
OWN = pytest.StashKey[Path]()

TESTS = Path(__file__).parent
UNMEASURED = ("boards", "faults", "formal", "hw", "mutants", "web")
COMMANDS = "COVERAGE_PROCESS_CONFIG"
"""What makes coverage measure the processes that a process starts."""


def pytest_configure(config: pytest.Config) -> None:
    """Give the whole run one cache of compiled simulators: pytest-xdist's workers inherit the variable."""
    campaigns.every = "not campaign" not in config.option.markexpr
    if VARIABLE not in os.environ:
        config.stash[OWN] = folder = Path(tempfile.mkdtemp(prefix="xnorcore-tests-"))
        os.environ[VARIABLE] = str(folder)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the campaigns that were not asked for."""
    if others := set(campaigns.left_out(items)):
        config.hook.pytest_deselected(items=list(others))
        items[:] = [item for item in items if item not in others]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache, if this process made it."""
    if folder := config.stash.get(OWN, None):
        del os.environ[VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Keep this run's options from the runs of pytest that tests start: with `--cov`, each erases all data.

    The workers of pytest-xdist have started by now.
    """
    os.environ.pop("PYTEST_ADDOPTS", None)
    os.environ.pop(campaigns.PART, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure coverage of sw/xnorcore by the tests that are about it, and the commands that those start.

    The others are about the gateware: Amaranth's simulator, and what makes the compiled ones, take two and a
    half times as long under coverage.
    """
    if item.path.relative_to(TESTS).parts[0] not in UNMEASURED or not item.config.pluginmanager.hasplugin(
        "_cov"
    ):
        return (yield)
    from coverage import Coverage

    # Of a worker of pytest-xdist there are two: pytest-cov's, and that of a process that a process starts.
    stopped = []
    while (measuring := Coverage.current()) is not None:
        measuring.stop()
        stopped.append(measuring)
    commands = os.environ.pop(COMMANDS, None)
    try:
        return (yield)
    finally:
        for measuring in reversed(stopped):
            measuring.start()
        if commands is not None:
            os.environ[COMMANDS] = commands


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what asks for PyTorch or a browser: by its fixture, each test would be a line of the summary."""
    asks = getattr(item, "fixturenames", ())
    if "torch" in asks:
        needs.torch()
    if "chromium" in asks:
        needs.browser()


@pytest.fixture(autouse=True)
def _draws(request: pytest.FixtureRequest) -> None:
    draws.begin(request.node.nodeid)


@pytest.fixture
def lean_board(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the iCEBreaker the configuration `lean.LEAN` as its own; return the board."""
    from tests.lean import lean_board

    return lean_board(monkeypatch)
