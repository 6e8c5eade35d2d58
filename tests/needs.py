"""What tests need that README.md's command does not install: one place, so one line each in the summary."""

from importlib import import_module
from importlib.util import find_spec
from shutil import which
from typing import Any

import pytest

TORCH = 'PyTorch is not installed: run pip install ".[train]" for the tests of training'
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = f"no browser ({', '.join(BROWSERS)}): install chromium for the tests of the page in it"


def torch() -> Any:
    """Return PyTorch; without it, skip the test or module that asks."""
    if find_spec("torch") is None:
        pytest.skip(TORCH, allow_module_level=True)
    return import_module("torch")


def browser() -> str:
    """Return the path of a browser; without one, skip the test that asks."""
    for name in BROWSERS:
        if path := which(name):
            return path
    return pytest.skip(BROWSER)
