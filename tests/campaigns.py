"""Cases of which the suite runs the first few, and campaigns the others as well: some of them in .ci/run."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from typing import Any

import pytest

PART = "XNORCORE_PART"
"""Environment variable: which part of the campaigns to run, for instance ``2/4``."""

every = False
"""Whether this run has campaigns: set by conftest.py before tests are collected."""


def examples(count: int) -> int:
    """Return how many cases Hypothesis draws: `count` with campaigns, a quarter of them without."""
    return count if every else count // 4


def in_part(name: str, part: str) -> bool:
    """Return whether a campaign is in a part of all, K/N: each one is in one of N, by its name."""
    number, slash, parts = part.partition("/")
    if not (slash and number.isdecimal() and parts.isdecimal() and 1 <= int(number) <= int(parts)):
        raise pytest.UsageError(f"{PART} is {part!r}, and has to be K/N with K from 1 to N")
    return zlib.crc32(name.encode()) % int(parts) == int(number) - 1


def left_out(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return the campaigns that are in another part than the one that `PART` names."""
    part = os.environ.get(PART)
    if not part:
        return []
    return [item for item in items if item.get_closest_marker("campaign") and not in_part(item.nodeid, part)]


def some(values: Iterable[Any], always: int, *, many: bool = False) -> list[Any]:
    """Return parameters of a test: the first `always` in every run, the rest with the mark ``campaign``.

    `many`: each is a tuple, of a value for each of several names.
    """
    return [
        value if place < always else pytest.param(*(value if many else [value]), marks=pytest.mark.campaign)
        for place, value in enumerate(values)
    ]
