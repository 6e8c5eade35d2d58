"""XNOR-Net's K of a trained model, in fixed-point numbers."""

from __future__ import annotations

from math import frexp, log2
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..isa.scaling import FACTOR_BITS
from ..model.network import InputScale
from .layers import scale_fraction

__all__ = ["fraction_of", "input_scale_of", "mean_shift"]

_FRACTION = 12
"""Fractional bits of the values that K is the mean of, where they have no number of bits."""


def fraction_of(bits: int) -> int:
    """Return the fractional bits of the values that K is the mean of."""
    return scale_fraction(bits) if bits else _FRACTION


def mean_shift(taps: int, bits: int) -> int:
    """Return by how much a sum of so many values is shifted: what a device needs, if they have bits."""
    if not bits:
        return round(log2(taps))
    return max((taps * ((1 << bits - 1) - 1)).bit_length() - FACTOR_BITS, 0)


def input_scale_of(scale: Any, offset: Any, taps: int, name: str, bits: int) -> InputScale:
    """Round ``scale * sum + offset``: multipliers of 16 bits, a result of so many fractional bits."""
    if not (np.isfinite(scale).all() and np.isfinite(offset).all()):
        raise NetworkError(f"{name}: a parameter in front of an input scale is not finite; train again")
    largest = float(np.abs(scale).max())
    fraction = fraction_of(bits)
    shift = min(max(16 - frexp(largest)[1] - fraction, 0), 48) if largest else 0
    unit, behind = 2.0 ** (fraction + shift), mean_shift(taps, bits)
    return InputScale(np.rint(scale * unit), np.rint(offset * unit), shift, behind, name, bits)
