"""What a proof cannot be: about states that are never reached, or refuted by one that is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.hdl import Module, Signal

from .scenario import Scenario


def counter(top: int) -> tuple[Scenario, Signal]:
    """Counts from 0 to 4, and from there to 0; from 5, which it never reaches, on to `top`."""
    s, count = Scenario(Module()), Signal(3)
    with s.m.If(count == 4):
        s.m.d.sync += count.eq(0)
    with s.m.Elif(count != top):
        s.m.d.sync += count.eq(count + 1)
    return s, count


def test_a_state_that_is_reached(tmp_path: Path) -> None:
    s, count = counter(7)
    s.claim(count < 5)
    s.reach(count == 4, "four")
    s.prove(tmp_path, steps=4, within=5)


@pytest.mark.parametrize(("value", "within"), [(4, 4), (5, 20)])
def test_a_state_that_is_not_reached_is_named(value: int, within: int, tmp_path: Path) -> None:
    s, count = counter(7)
    s.claim(count < 5)
    s.reach(count == 0, "none")
    s.reach(count == value, "some")
    with pytest.raises(AssertionError, match=rf"not reached within {within} cycles: reach_some$"):
        s.prove(tmp_path, steps=4, within=within)


def test_what_is_assumed_holds_where_a_state_is_reached(tmp_path: Path) -> None:
    s, count = counter(7)
    s.assume(count != 2)
    s.claim(count < 5)
    s.reach(count == 3, "three")
    with pytest.raises(AssertionError, match=r"not reached within 12 cycles: reach_three$"):
        s.prove(tmp_path, steps=4, within=12)


def test_a_proof_has_to_reach_something(tmp_path: Path) -> None:
    s, count = counter(7)
    s.claim(count < 5)
    with pytest.raises(AssertionError, match="nothing is to be reached"):
        s.prove(tmp_path, steps=4, within=5)


def test_a_counterexample_says_which_claim_is_wrong(tmp_path: Path) -> None:
    s, count = counter(7)
    s.claim(count < 4, "four")
    s.claim(count < 8, "eight")
    assert s.refuted(tmp_path, cycles=5) == {"four"}


def test_what_only_induction_cannot_prove_is_no_counterexample(tmp_path: Path) -> None:
    """From 5 or 6 the count gets to 7 and stays there: steps of induction, but none of them from power-up."""
    s, count = counter(7)
    s.claim((count != 7) | ~s.past(count == 6, "six"))
    s.reach(count == 4, "four")
    with pytest.raises(AssertionError, match="not proven by 2 steps of induction"):
        s.prove(tmp_path, steps=2, within=5)
    with pytest.raises(AssertionError, match="no counterexample from reset within 12 cycles"):
        s.refuted(tmp_path, cycles=12)
