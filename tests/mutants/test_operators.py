"""The changes that mutants are, and bringing one into a module that is imported already."""

from __future__ import annotations

import ast
import sys
from types import ModuleType

import pytest

from .operators import mutants
from .patch import patch

SOURCE = b'''
"""Text with 1 + 1."""
LIMIT = 4


class Part:
    def __init__(self):
        self.size = 8

    def elaborate(self, m):
        m.d.sync += [a.eq(b + 1), c.eq(~d)]
        m.d.comb += e.eq(Mux(f == g, h & i, j))
        with m.If(k < l):
            m.d.sync += n.eq(0)
        if not self.size:
            raise ValueError(f"{self.size + 1}")
'''


def test_every_operator_finds_its_places() -> None:
    found = {(mutant.operator, mutant.before, mutant.after) for mutant in mutants("part.py", SOURCE)}
    assert found == {
        ("constant + 1", "4", "5"),
        ("constant - 1", "4", "3"),
        ("drop assignment", "a.eq(b + 1)", "*()"),
        ("swap +", " + ", " - "),
        ("constant + 1", "1", "2"),
        ("constant - 1", "1", "0"),
        ("drop assignment", "c.eq(~d)", "*()"),
        ("drop ~", "~d", "d"),
        ("drop assignment", "m.d.comb += e.eq(Mux(f == g, h & i, j))", "pass"),
        ("swap ==", " == ", " != "),
        ("swap &", " & ", " | "),
        ("swap Mux", "h & i, j", "j, h & i"),
        ("negate condition", "k < l", "(k < l) == 0"),
        ("swap <", " < ", " <= "),
        ("drop assignment", "m.d.sync += n.eq(0)", "pass"),
        ("constant + 1", "0", "1"),
    }


def test_every_mutant_is_python() -> None:
    for mutant in mutants("part.py", SOURCE):
        changed = mutant.apply(SOURCE)
        assert changed != SOURCE
        ast.parse(changed)


MODULE = b"""
LIMIT = 4


class Part:
    FACTOR = 2

    @property
    def size(self):
        return LIMIT + 1

    def twice(self):
        return self.FACTOR * self.size - 0
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("mutated_part")
    module.__file__ = "mutated_part.py"
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(MODULE, module.__dict__)
    return module


@pytest.mark.parametrize(
    ("before", "after", "twice"),
    [(b"+ 1", b"- 1", 6), (b"- 0", b"- 1", 9), (b"= 4", b"= 5", 12), (b"= 2", b"= 3", 15)],
)
def test_a_mutant_changes_what_is_there(module: ModuleType, before: bytes, after: bytes, twice: int) -> None:
    part = module.Part()
    assert part.twice() == 10
    assert patch("mutated_part", MODULE, MODULE.replace(before, after))
    assert part.twice() == twice


def test_what_cannot_be_brought_in_is_said(module: ModuleType) -> None:
    assert not patch("mutated_part", MODULE, MODULE + b"\n")
