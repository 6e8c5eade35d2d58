"""Residual blocks of a trained model: their modules in a row, between marks, and what adds up exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import UsageError
from ._torch import nn, torch
from .fewbits import Residual

__all__ = ["At", "Fork", "Join", "Turn", "added", "begins", "flat", "unquantised"]


class Fork(nn.Module):
    """Where a `Residual` begins."""


class Turn(nn.Module):
    """Where its shortcut begins."""


class Join(nn.Module):
    """Where both are added."""


@dataclass(frozen=True)
class At:
    """What the modules up to some place give.

    Attributes
    ----------
    value : int
        Number of the value in the network.
    shape : tuple of int
    step : Fraction
        What the model has for 1 of the integers.
    coded : bool
        They are what a `Quant` gave, or sums of that.
    """

    value: int
    shape: tuple[int, ...]
    step: Fraction = Fraction(1)
    coded: bool = False


def flat(modules: Sequence[torch.nn.Module], before: str = "") -> Iterator[tuple[str, torch.nn.Module]]:
    """Yield modules with their places, those of residual blocks between marks."""
    for number, module in enumerate(modules):
        label = f"{before}{number}"
        if not isinstance(module, Residual):
            yield label, module
            continue
        yield label, Fork()
        yield from flat(list(module.body), f"{label}.body.")
        if module.shortcut is not None:
            yield label, Turn()
            yield from flat(list(module.shortcut), f"{label}.shortcut.")
        yield label, Join()


def begins(at: At, where: str) -> None:
    """Check that a residual block may read a value.

    Raises
    ------
    UsageError
        If that is the image, or signs.
    """
    if not at.coded:
        raise UsageError(
            f"{where}: reads the image or signs, but only values of several bits are added; put "
            "xnorcore.train.Quant in front of it"
        )


def unquantised(where: str) -> UsageError:
    """Return why a block whose branches are not both of several bits cannot run."""
    return UsageError(f"{where}: a branch does not end in xnorcore.train.Quant, as both must")


def added(one: At, two: At, where: str) -> At:
    """Return the sum of both branches of a block.

    Raises
    ------
    UsageError
        If a branch ends in something else than a `Quant`, or their steps differ.
    """
    if not (one.coded and two.coded):
        raise unquantised(where)
    if one.step != two.step:
        raise UsageError(
            f"{where}: adds values in steps of {float(one.step):.9g} and of {float(two.step):.9g}, whose "
            "integers do not add up; give both branches one and the same Quant"
        )
    return two
