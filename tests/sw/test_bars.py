"""Small drawings of numbers for the terminal."""

from __future__ import annotations

import pytest

from xnorcore.cli import bars
from xnorcore.cli.bars import bar, spark


@pytest.fixture(params=[True, False])
def unicode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(bars, "can_print", lambda text: request.param)
    return request.param


def test_spark(unicode: bool) -> None:
    low, high = ("\u2581", "\u2588") if unicode else ("_", "#")
    assert spark([0, 1], 8) == low + high
    assert spark([3.0] * 5, 8) == low * 5
    assert spark([], 8) == ""
    assert spark([0, 0, 5, 5], 2) == low + high
    assert len(spark(list(range(1000)), 12)) == 12
    assert spark([float("nan"), float("inf"), 1.0], 8) == low * 2 + high


def test_bar(unicode: bool) -> None:
    full = "\u2588" if unicode else "#"
    assert bar(0, 10) == "" and bar(1, 10) == bar(7, 10) == full * 10 and bar(float("nan"), 4) == ""
    assert len(bar(0.55, 10)) == 6
    assert bar(0.5, 10) == full * 5
