"""Weights of several bits as sums of signs: a layer reads its taps once for each of these."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CompileError
from ..isa.device import DeviceConfig
from ..isa.layout import DESCRIPTOR

__all__ = ["MAX_COPIES", "Copies", "copies_of"]

MAX_COPIES = 1 << DESCRIPTOR.fields["copy_last"].width
"""Most signs that make up a weight."""


@dataclass(frozen=True)
class Copies:
    """How many signs make up each weight of a layer: ``scale * w + shift`` is their sum, some counted twice.

    Attributes
    ----------
    twice, single : int
        Signs that count twice, and behind them those that count once, of which there is at least one.
    scale : int
        1, all weights are odd; or 2.
    four : int
        Signs that count four times, which come first.
    shift : int
        0 or 1. With 1, what a layer reads is added up, and taken away from all of its sums.
    """

    twice: int = 0
    single: int = 1
    scale: int = 1
    four: int = 0
    shift: int = 0

    @property
    def count(self) -> int:
        """Signs of a weight."""
        return self.four + self.twice + self.single

    @property
    def reach(self) -> int:
        """Largest magnitude of their sum, and the remainder that it has modulo 2."""
        return 4 * self.four + 2 * self.twice + self.single

    @property
    def plain(self) -> bool:
        """Whether a weight is one sign, and nothing else."""
        return self.count == 1 and not self.shift

    @property
    def odd(self) -> bool:
        """Whether no weight is 0."""
        return self.scale == 1

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
            counts = 4 if copy < self.four else 2 if copy < self.four + self.twice else 1
            left -= (2 * bits[copy].astype(left.dtype) - 1) * counts
        assert not left.any()
        return bits


def copies_of(
    weights: NDArray[np.int8],
    doubles: bool,
    name: str,
    config: DeviceConfig | None = None,
    beats: int = 1,
    *,
    even: bool = False,
) -> Copies:
    """Return the signs that make up all weights of a layer in the fewest cycles.

    Parameters
    ----------
    weights : array of int8
    doubles : bool
        Signs may count twice.
    name : str
        The layer's.
    config : DeviceConfig, optional
        That may have `row_sums`.
    beats : int
        Of a position for each sign.
    even : bool
        As if one of the weights were 0: lanes without a value then cancel, each by itself.

    Raises
    ------
    CompileError
        If a device has no loop for so many.
    """
    largest = int(np.abs(weights.astype(np.int64)).max(initial=1))
    odd = bool((weights & 1).all()) and not even
    reach, scale = (largest, 1) if odd else (2 * largest, 2)
    rows = config.geometry.rows if config is not None and config.row_sums and doubles else 0
    found = _fewest(reach, scale, rows > 0) if doubles else Copies(0, reach, scale)
    if rows and not odd:
        bounds = 2 * np.array([weights.min(), weights.max()], np.int64) + 1
        shifted = replace(_fewest(int(np.abs(bounds).max()), 2, True), shift=1)
        # Each row's sum takes a cycle of a position.
        fewer = (found.count - shifted.count) * beats
        if fewer > rows or (fewer > 0 and found.count > MAX_COPIES):
            found = shifted
    if found.count > MAX_COPIES:
        each = [
            _fewest(scale * m, scale, rows > 0).count if doubles else scale * m for m in range(1, largest)
        ]
        most = sum(count <= MAX_COPIES for count in each)
        raise CompileError(
            f"layer {name!r} has weights of {largest} in magnitude, which take {found.count} signs each, but "
            f"a device adds up {MAX_COPIES}, enough for weights of {most}; quantise them to fewer bits; "
            "`golden` and `eval` compute it"
        )
    return found


def _fewest(reach: int, scale: int, four: bool) -> Copies:
    """Return the fewest signs of such a `reach`, of which some may count `four` times."""
    single = 2 - reach % 2
    # What does not count four times must reach across the gap that this leaves: one counts twice.
    fours = max(reach - single - 2, 0) // 4 if four else 0
    return Copies((reach - single) // 2 - 2 * fours, single, scale, fours)
