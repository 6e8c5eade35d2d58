"""Random cases of which the suite runs the first few, and the campaigns of .ci/run the others as well."""

from collections.abc import Iterable
from typing import Any

import pytest


def some(values: Iterable[Any], always: int, *, many: bool = False) -> list[Any]:
    """Return parameters of a test: the first `always` in every run, the rest with the mark ``campaign``.

    `many`: each is a tuple, of a value for each of several names.
    """
    return [
        value if place < always else pytest.param(*(value if many else [value]), marks=pytest.mark.campaign)
        for place, value in enumerate(values)
    ]
