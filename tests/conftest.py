"""What holds for all tests."""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import needs
from xnorcore_hw.sim import cache

# A shell starts background jobs with Ctrl-C ignored, which commands that tests start would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

VARIABLE = "XNORCORE_CACHE"
OWN = pytest.StashKey[Path]()


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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what asks for PyTorch here: skipped by its fixture, each test would be a line of the summary."""
    if "torch" in getattr(item, "fixturenames", ()):
        needs.torch()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def simulators_are_built_once() -> Iterator[None]:
    """Make a worker wait for a simulator that another one is building, in place of building it, too."""
    shared, build_or_find = cache.cache_directory(), cache.cached

    def cached(name: str, build: Callable[[Path], Path], *say: Callable[[str], None]) -> Path:
        if cache.cache_directory() != shared:  # a test's own
            return build_or_find(name, build, *say)
        shared.mkdir(parents=True, exist_ok=True)
        with locked(shared / f"{name}.lock"):
            return build_or_find(name, build, *say)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache, "cached", cached)
        yield
