"""How a layer is lowered that has to do with K (`xnorcore.isa.scaling`), or reads signs of codes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..isa.scales import ADDEND_UNIT, packed_scales
from ..isa.scaling import FACTOR_SHIFT, NEVER, Scaling, limit_words
from ..model.layers import Weighted
from .chains import InPlace
from .nest import Lowered, Region
from .rescale import Scales

__all__ = ["Scaled", "Sent", "Unit", "behind", "seen"]

_MOST = NEVER - 1


@dataclass(frozen=True)
class Scaled:
    """What a layer has to do with K.

    Attributes
    ----------
    kind : Scaling
    mean_shift : int
        By which a sum of magnitudes that is kept is shifted to the right.
    bits : int
        Of a code that becomes a sign and a magnitude.
    """

    kind: Scaling
    mean_shift: int = 0
    bits: int = 1

    @property
    def signs(self) -> bool:
        """It reads signs, and its accumulators, which are multiplied, must be the sums themselves."""
        return self.kind == Scaling.MULTIPLIED

    @property
    def magnitudes(self) -> bool:
        """It reads the magnitudes."""
        return self.kind == Scaling.KEPT

    @property
    def empty(self) -> int:
        """Word of a column without a channel."""
        if self.kind == Scaling.FOLDED:
            # Its magnitude is 0, and its sign as well.
            return int(packed_scales(0, (1 << self.bits - 1) - 1, ADDEND_UNIT.bit_length() - 1))
        return int(limit_words(np.array(-NEVER))) if self.signs else 0

    def scales(self, layer: Weighted, factor: int, offset: NDArray[np.int64], planes: int) -> Scales:
        """Return start values and words of a layer whose sums are kept or multiplied.

        Parameters
        ----------
        layer : Dense or Conv2d
        factor, offset : int, array of int64
            Sums are ``factor * s + offset``, where accumulators that start from 0 hold s.
        planes : int
            That the layer reads.
        """
        if self.kind == Scaling.KEPT:
            # One plane counts as -1 and +1, several as the numbers themselves.
            starts = offset if planes > 1 else (offset + layer.weights[0].size) // 2
            return Scales(starts, packed_scales([1 << FACTOR_SHIFT - self.mean_shift], 0, 0))
        assert layer.thresholds is not None and not (offset % factor).any(), "sums that are no numbers"
        # K * factor * acc >= T; beyond what products reach, a threshold is as good as at the end.
        return Scales(offset // factor, limit_words(np.clip(-layer.thresholds // factor, -_MOST, _MOST)))


@dataclass(frozen=True)
class Sent:
    """A layer of which the host takes K times the sums: it has these, and behind them K of each position.

    Attributes
    ----------
    magnitudes : bool
        These are the sums that make up K, of magnitudes, not those that it multiplies, of signs.
    added, divisor : int
        K is such a sum and what is `added`, divided and rounded down.
    """

    magnitudes: bool = False
    added: int = 0
    divisor: int = 1

    @property
    def signs(self) -> bool:
        """It reads signs."""
        return not self.magnitudes


Unit: TypeAlias = InPlace | Scaled | Sent
"""What the results unit does for a layer, but for codes that are as good as thresholds; or the host."""


def seen(region: Region, unit: Unit | None, top: bool) -> Region:
    """Return what a layer reads of signs and magnitudes, or of codes: some of the planes, or all."""
    if top or (isinstance(unit, Scaled | Sent) and unit.signs):
        return replace(region, bits=1)
    if isinstance(unit, Scaled | Sent) and unit.magnitudes:
        # A single plane of them is all that there is.
        return replace(region, bits=max(region.bits - 1, 1))
    return region


def behind(lowered: Lowered, region: Region, unit: Unit | None, top: bool) -> Lowered:
    """Return a layer that reads what it has `seen` where that lies; what nobody reads takes no map."""
    one, words, values = lowered.descriptor, lowered.words, lowered.values
    if top or (isinstance(unit, Scaled | Sent) and unit.signs):
        one = replace(one, source=one.source.moved((region.bits - 1) * region.plane_words))
    kept = isinstance(unit, Scaled) and unit.kind == Scaling.KEPT
    if kept or (isinstance(unit, InPlace) and unit.gives is None):
        # All of it goes to the same words.
        one, words = replace(one, out_step=0), values.pitch
    if isinstance(unit, Sent) and unit.magnitudes:
        offset, divisor = values.offset + unit.added * values.divisor, values.divisor * unit.divisor
        values = replace(values, offset=offset, divisor=divisor)
    return replace(lowered, descriptor=one, words=words, values=values)
