"""The tail of a network, which the host computes: from the network's integers to real scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NetworkError
from ..model.limits import MAX_SIZE
from ..model.values import Shape
from .compute import compute
from .layers import Real
from .parts import MAX_MAP, Part, follow, shape_of


@dataclass(frozen=True, eq=False, init=False)
class Tail(Part):
    """What the host makes of the integer network's results: the scores.

    Parameters
    ----------
    shape : tuple of int
        Of what it reads: the shape of the integer network's result.
    layers : sequence of Real
        What the last gives, flattened, are the scores.

    Raises
    ------
    NetworkError
        Names the layer, the value and the limit.
    """

    _fields = ("shape", "layers")

    shape: Shape
    layers: tuple[Real, ...]
    shapes: tuple[Shape, ...] = field(repr=False)

    def __init__(self, shape: Sequence[int], layers: Sequence[Real]) -> None:
        size = shape_of("tail", shape, MAX_MAP)
        found, shapes = follow("tail", size, layers, 0.0)
        if prod(shapes[-1]) > MAX_SIZE:
            raise NetworkError(f"tail: gives {prod(shapes[-1])} scores, the limit is {MAX_SIZE}")
        self._set(shape=size, layers=found, shapes=tuple(shapes))

    def check(self, shape: Shape, most: float) -> None:
        """Check that it fits results of a shape, of at most a magnitude; NetworkError if not."""
        if self.shape != shape:
            raise NetworkError(f"tail: reads {self.shape}, but the network's last layer gives {shape}")
        follow("tail", shape, self.layers, most)

    @property
    def outputs(self) -> int:
        """Scores of an image."""
        return prod(self.shapes[-1])

    def run(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Return the scores, shape (n, outputs), of real results, shape (n, values)."""
        result = np.empty((len(values), self.outputs), np.float32)
        for first in range(0, len(values), self.together):
            block = slice(first, first + self.together)
            real = values[block].astype(np.float32).reshape(-1, *self.shape)
            result[block] = compute(self.layers, real).reshape(len(real), -1)
        return result + np.float32(0)  # one zero
