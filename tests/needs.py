"""What tests need that README.md's command does not install: one place, and so one line of the summary."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

TORCH = 'PyTorch is not installed: run pip install ".[train]" for the tests of training'


def torch() -> Any:
    """Return PyTorch; without it, skip the test or module that asks."""
    if find_spec("torch") is None:
        pytest.skip(TORCH, allow_module_level=True)
    return import_module("torch")
