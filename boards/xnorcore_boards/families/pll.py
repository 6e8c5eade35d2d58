"""Clock generators: what a PLL can make of an input frequency, and how close that comes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from xnorcore.errors import BuildError

__all__ = ["PllPlan", "choose"]

TOLERANCE = Fraction(1, 100)
"""Largest accepted relative error of a generated clock."""


@dataclass(frozen=True)
class PllPlan:
    """Settings of a PLL and what they give.

    Attributes
    ----------
    input_hz : int
    output_hz : Fraction
        Exact.
    vco_hz : Fraction
        Frequency of the oscillator inside.
    settings : dict of str to int
        Dividers by the names that the family's PLL primitive has for them.
    """

    input_hz: int
    output_hz: Fraction
    vco_hz: Fraction
    settings: dict[str, int]

    @property
    def hz(self) -> int:
        """Output frequency in whole Hz."""
        return round(self.output_hz)


def choose(kind: str, input_hz: int, wanted_hz: int, plans: Iterable[PllPlan]) -> PllPlan:
    """Return the plan that comes closest to a frequency; of equal ones, the first.

    Parameters
    ----------
    kind : str
        Name of the PLL, for the message.
    input_hz, wanted_hz : int
    plans : iterable of PllPlan
        All legal settings.

    Raises
    ------
    BuildError
        If no plan is within 1 % of `wanted_hz`.
    """
    best = min(plans, key=lambda plan: abs(plan.output_hz - wanted_hz), default=None)
    if best is None:
        raise BuildError(
            f"{kind}: no setting is legal for an input of {input_hz / 1e6:g} MHz and an output of "
            f"{wanted_hz / 1e6:g} MHz; choose another clock"
        )
    if abs(best.output_hz - wanted_hz) > TOLERANCE * wanted_hz:
        raise BuildError(
            f"{kind}: {wanted_hz / 1e6:g} MHz cannot be made from {input_hz / 1e6:g} MHz; "
            f"the nearest is {float(best.output_hz) / 1e6:g} MHz"
        )
    return best
