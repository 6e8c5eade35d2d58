"""Weights of several bits as sums of signs: a layer reads its taps once for each of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..isa.layout import DESCRIPTOR

__all__ = ["MAX_COPIES", "Copies", "copies_of"]

MAX_COPIES = 1 << DESCRIPTOR.fields["copy_last"].width
"""Most signs that make up a weight."""


@dataclass(frozen=True)
class Copies:
    """How many signs make up each weight of a layer: ``scale * w`` is the sum of these, some counted twice.

    Attributes
    ----------
    twice, single : int
        Signs that count twice, which come first, and those that count once, of which there is at least one.
    scale : int
        1, all weights are odd; or 2.
    """

    twice: int = 0
    single: int = 1
    scale: int = 1

    @property
    def count(self) -> int:
        """Signs of a weight."""
        return self.twice + self.single

    @property
    def reach(self) -> int:
        """Largest magnitude of their sum, and the remainder that it has modulo 2."""
        return 2 * self.twice + self.single

    def signs(self, sums: NDArray[np.signedinteger]) -> NDArray[np.uint8]:
        """Return the bits whose signs have such sums, the copies along a new first axis.

        Parameters
        ----------
        sums : array of integers
            At most `reach` in magnitude, and of its remainder modulo 2.
        """
        if self.count == 1:
            return (sums > 0)[np.newaxis].view(np.uint8)
        left, bits = sums.copy(), np.empty((self.count, *sums.shape), np.uint8)
        for copy in range(self.count):
            # What is left is never more than the signs behind can make up.
            bits[copy] = left >= 0 if copy % 2 == 0 else left > 0
            left -= (2 * bits[copy].astype(left.dtype) - 1) * (2 if copy < self.twice else 1)
        assert not left.any()
        return bits


def copies_of(weights: NDArray[np.int8], doubles: bool, name: str) -> Copies:
    """Return the fewest signs that make up all weights of a layer.

    Parameters
    ----------
    weights : array of int8
    doubles : bool
        Signs may count twice.
    name : str
        The layer's.

    Raises
    ------
    CompileError
        If a device has no loop for so many.
    """
    largest = int(np.abs(weights.astype(np.int64)).max(initial=1))
    odd = bool((weights & 1).all())
    reach, single = (largest, 1) if odd else (2 * largest, 2)
    found = Copies((reach - single) // 2, single, 1 if odd else 2)
    if not doubles:
        found = Copies(0, reach, found.scale)
    if found.count > MAX_COPIES:
        raise CompileError(
            f"layer {name!r} has weights of {largest} in magnitude, which take {found.count} signs each, but "
            f"a device adds up {MAX_COPIES}; quantise them to fewer bits; `golden` and `eval` compute it"
        )
    return found
