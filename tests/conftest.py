"""What holds for all tests."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from tests import needs

# A shell starts background jobs with Ctrl-C ignored, which commands that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What a shell says of its terminal would be obeyed; readline says it behind Python's back.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

VARIABLE = "XNORCORE_CACHE"
OWN = pytest.StashKey[Path]()

TESTS = Path(__file__).parent
UNMEASURED = ("boards", "faults", "formal", "hw", "mutants", "web")


def pytest_configure(config: pytest.Config) -> None:
    """Give the whole run one cache of compiled simulators: pytest-xdist's workers inherit the variable."""
    if VARIABLE not in os.environ:
        config.stash[OWN] = folder = Path(tempfile.mkdtemp(prefix="xnorcore-tests-"))
        os.environ[VARIABLE] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the cache, if this process made it."""
    if folder := config.stash.get(OWN, None):
        del os.environ[VARIABLE]
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Measure coverage of sw/xnorcore by the tests that are about it.

    The others are about the gateware: Amaranth's simulator takes two and a half times as long under coverage.
    """
    if config.pluginmanager.hasplugin("_cov"):
        for item in items:
            if item.path.relative_to(TESTS).parts[0] in UNMEASURED:
                item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what asks for PyTorch or a browser: by its fixture, each test would be a line of the summary."""
    asks = getattr(item, "fixturenames", ())
    if "torch" in asks:
        needs.torch()
    if "chromium" in asks:
        needs.browser()
