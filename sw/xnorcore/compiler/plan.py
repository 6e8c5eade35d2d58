"""What a plan for a device consists of: steps, joins, and the signals between them.

Steps read and give **signals**: those of the network's values, by their numbers, and further ones that only
the device has, between the passes of a pooling, or as copies. A `Join` is a signal that several steps write
together, each its own part of every position.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..model.layers import MaxPool2d, Weighted
from ..model.network import Network
from .adding import Sums
from .pooling import PoolPass
from .scaled import Unit

__all__ = ["IMAGE", "Join", "Plan", "Step"]

IMAGE = 0
"""The signal of the image."""


@dataclass(frozen=True)
class Step:
    """What the device runs at once: a layer with weights, or a pass of a pooling.

    Attributes
    ----------
    index : int
        Layer of the network that gives the step's result.
    plan : int
        Layer that the step's cost belongs to.
    layer : Dense, Conv2d or PoolPass
    name : str
    macs : int
    reads, gives : int
        Signals.
    pool : MaxPool2d or None
        What pools the result on its way to memory.
    summed : bool
        It reads a sum over positions.
    whole : bool
        Its result is all of layer `index`, and is there for the first time.
    unit : InPlace, Scaled or None
        Its codes are added to values that are in no memory that steps read; or what it has to do with K.
    top : bool
        It reads the most significant plane of codes alone.
    """

    index: int
    plan: int
    layer: Weighted | PoolPass
    name: str
    macs: int
    reads: int
    gives: int
    pool: MaxPool2d | None = None
    summed: bool = False
    whole: bool = True
    unit: Unit | None = None
    top: bool = False


@dataclass(frozen=True)
class Join:
    """Signals that lie beside each other, as the parts of one.

    Attributes
    ----------
    index : int
        Layer of the network, a `Concat` or an `Add`.
    gives : int
    parts : tuple of int
        Signals, in the order of their channels; each is part of one join, and nothing else reads it.
    """

    index: int
    gives: int
    parts: tuple[int, ...]


@dataclass
class Plan:
    """Steps in order, and joins; and what is known while they are made.

    Attributes
    ----------
    network : Network
    steps : list of Step
    joins : dict of int to Join
        By the signal that they give.
    inner : list of Join
        Those whose parts are parts of another one, which alone reads them.
    names : dict of int to str
        What signals are called, no two alike.
    summed : dict of int to int
        Signals of global sums, which are in no memory, and the maps that they are of.
    added : dict of int to Sums
        Signals whose values are sums of what lies in memory.
    magnitudes : dict of int to int
        Signals of an input scale's signs alone, and those whose bits add up to its magnitudes.
    times : int
        Most times that what lies there once may count in a sum.
    code_bits, scale_depth : int
        The device's.
    """

    network: Network
    steps: list[Step] = field(default_factory=list)
    joins: dict[int, Join] = field(default_factory=dict)
    inner: list[Join] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    summed: dict[int, int] = field(default_factory=dict)
    added: dict[int, Sums] = field(default_factory=dict)
    magnitudes: dict[int, int] = field(default_factory=dict)
    times: int = 1
    code_bits: int = 1
    scale_depth: int = 0

    def further(self, name: str) -> int:
        """Return a signal that the network does not have."""
        signal = max(self.names) + 1
        while name in self.names.values():
            name += "'"
        self.names[signal] = name
        return signal
