"""Residual blocks of a trained model: their modules in a row, between marks, and what adds up exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..errors import UsageError
from ..model.network import Add
from ._torch import nn, torch
from .fewbits import Quant, Residual

__all__ = ["At", "Fork", "Join", "Turn", "added", "begins", "coded", "flat", "unquantised"]

_MOST_TIMES = 32
"""Most steps of one branch in one of the other."""


class Fork(nn.Module):
    """Where a `Residual` begins."""


class Turn(nn.Module):
    """Where its shortcut begins."""


class Join(nn.Module):
    """Where both are added; with the block's `Quant` of values, if it has one."""

    def __init__(self, values: Quant | None = None) -> None:
        super().__init__()
        self.values = values


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
    low, most : int
        What the integer 0 is, in steps, and the largest integer of those that are added.
    coded : bool
        They are what a `Quant` gave, or sums of that.
    """

    value: int
    shape: tuple[int, ...]
    step: Fraction = Fraction(1)
    low: int = 0
    most: int = 0
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
        yield label, Join(module.values)


def coded(at: At, quant: Quant) -> At:
    """Return what a quantiser gives."""
    return replace(at, step=quant.exact(), low=quant.low, most=quant.top - quant.low, coded=True)


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
    return UsageError(
        f"{where}: a branch does not end in xnorcore.train.Quant, as both must; a model with real shortcuts "
        "can be exported in fixed point, not exactly: fixed_point=8, images="
    )


def added(one: At, two: At, where: str, values: Quant | None) -> tuple[At, tuple[int, int], Add]:
    """Return the sum of both branches of a block, how many times each counts in it, and the layer.

    Raises
    ------
    UsageError
        If a branch ends in something else than a `Quant`, or their steps are not equal or 2, 4, ... 32 to 1.
    """
    if not (one.coded and two.coded):
        raise unquantised(where)
    ratio = one.step / two.step
    times = ratio.numerator, ratio.denominator
    if max(times) > _MOST_TIMES or times[0] & times[0] - 1 or times[1] & times[1] - 1:
        raise UsageError(
            f"{where}: adds values in steps of {float(one.step):.9g} and of {float(two.step):.9g}, whose "
            "integers do not add up; give both branches one and the same Quant, or one like the other's"
        )
    step = one.step / times[0]
    low, most = (a * times[0] + b * times[1] for a, b in ((one.low, two.low), (one.most, two.most)))
    if values is None:
        return replace(two, step=step, low=low, most=most), times, Add()
    if values.exact() != step:
        raise UsageError(
            f"{where}: has values in steps of {float(values.exact()):.9g}, and adds in steps of "
            f"{float(step):.9g}; give it the Quant that is in front of the first block"
        )
    most = values.top - values.low
    return replace(two, step=step, low=values.low, most=most), times, Add("", values.low - low, most)
