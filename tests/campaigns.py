"""Cases of which the suite runs the first few, and the campaigns of .ci/run the others as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

every = False
"""Whether this run has campaigns: set by conftest.py before tests are collected."""


def examples(count: int) -> int:
    """Return how many cases Hypothesis draws: `count` with campaigns, a quarter of them without."""
    return count if every else count // 4


def some(values: Iterable[Any], always: int, *, many: bool = False) -> list[Any]:
    """Return parameters of a test: the first `always` in every run, the rest with the mark ``campaign``.

    `many`: each is a tuple, of a value for each of several names.
    """
    return [
        value if place < always else pytest.param(*(value if many else [value]), marks=pytest.mark.campaign)
        for place, value in enumerate(values)
    ]
