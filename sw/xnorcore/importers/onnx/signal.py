"""What flows through the graph: one-bit or n-bit values, and the sums of a product on the way to a sign."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from .graph import Node
from .maps import Form
from .shapes import Window


@dataclass(frozen=True)
class Levels:
    """Values that a product can read: ``scale * v + offset`` of the network's own values v.

    Attributes
    ----------
    tensor : str
        Where the network's values are in the source; later moves and affine maps do not change this.
    scale, offset : Fraction
        v is -1 or +1 for 1-bit values, 0 to `most` for n-bit values, an integer for sums. Behind a sign or a
        quantiser, scale > 0.
    bits : int
    shape : tuple of int
        Network order: (height, width, channels) or (values,).
    index : array of int, shape of the source tensor
        For each place of the source tensor, batch first, the place in network order.
    sums : bool
        v are global sums.
    pads : tuple
        Padding in front of the next convolution, (top, bottom, left, right), and its value; or ``()``.
    top : int
        Largest of n-bit values; 0: all bits set.
    origin : tuple of Fraction
        `scale` and `offset` at `tensor`.
    places : array of int
        `index` at `tensor`.
    mean : str
        Source node that averages, of sums.
    giver : Stage, Joined or None
        What gives the network's values: a stage, what joins several, or the image.
    """

    tensor: str
    scale: Fraction
    offset: Fraction
    bits: int
    shape: tuple[int, ...]
    index: NDArray[np.int64]
    sums: bool = False
    pads: tuple[Any, ...] = ()
    top: int = 0
    origin: tuple[Fraction, Fraction] = (Fraction(1), Fraction(0))
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    mean: str = ""
    giver: Stage | Joined | None = field(default=None, repr=False, compare=False)

    @property
    def most(self) -> int:
        """Largest v, of sums that of what is added."""
        return 1 if self.bits == 1 else self.top or (1 << self.bits) - 1

    @property
    def least(self) -> int:
        """Smallest v, of sums that of what is added."""
        return -1 if self.bits == 1 else 0

    def held(self, source: NDArray[Any]) -> NDArray[Any]:
        """Return what the network has for source tensors (n, ...): bits, or v."""
        v = self.values(source)
        return v > 0 if self.bits == 1 else v

    def values(self, source: NDArray[Any]) -> NDArray[np.int64]:
        """Return v in network order, flat, for source tensors (n, ...): the nearest integers."""
        scale, offset = map(float, self.origin)
        v = np.rint((source.astype(np.float64) - offset) / scale).astype(np.int64)
        result = np.empty((len(source), self.places[0].size), np.int64)
        result[:, self.places[0].ravel()] = v.reshape(len(source), -1)
        return result

    def source(self, v: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Return the source tensor for v in network order, shape (n, values): the inverse of `values`."""
        scale, offset = self.origin
        table = {int(value): dtype(float(scale * int(value) + offset)) for value in np.unique(v)}
        keys = np.array(sorted(table))
        flat = np.array([table[int(key)] for key in keys], dtype)[np.searchsorted(keys, v)]
        return flat[:, self.places[0].ravel()].reshape(len(v), *self.places.shape[1:])


class UnequalSteps(ImportFailedError):
    """An addition of values whose steps are in no small ratio.

    Attributes
    ----------
    sides : tuple of Levels
        The two of them.
    """

    def __init__(self, message: str, *sides: Levels) -> None:
        super().__init__(message)
        self.sides = sides


def places(shape: tuple[int, ...], batch: int, *, channels_last: bool) -> NDArray[np.int64]:
    """Return `Levels.index` of a tensor (batch, ...) whose values have `shape` in network order."""
    count = int(np.prod(shape))
    index = np.arange(count).reshape(shape)
    if len(shape) == 3 and not channels_last:
        index = index.transpose(2, 0, 1)
    return index[np.newaxis] + count * np.arange(batch).reshape(batch, *(1,) * index.ndim)


@dataclass(frozen=True, eq=False)
class Joined:
    """An addition of values, or a concatenation.

    Attributes
    ----------
    node : Node
        The source's.
    parts : tuple of Levels
    times : tuple of int
        How many times each of these counts.
    offset, most
        As of `xnorcore.model.joining.Add`, of sums that saturate.
    excess : ImportFailedError or None
        Why nothing reads the sums as they are: they have more than 8 bits.
    bits : bool
        An addition of values of one bit (`bitsums`).
    """

    node: Node
    parts: tuple[Levels, ...]
    times: tuple[int, ...]
    offset: int = 0
    most: int | None = None
    excess: ImportFailedError | None = None
    bits: bool = False


@dataclass(eq=False)
class Stage:
    """A product, and everything up to its sign.

    Attributes
    ----------
    node : Node
        `DENSE` or `CONV`.
    reads : Levels
    form : Form
    padding : tuple of int
        Top, bottom, left, right.
    pad_value : int
    nodes : list of str
        Source nodes.
    folded : list of str
        In words.
    pool : Window or None
    pooling : Node or None
        The source's node.
    pool_padding : tuple of int
        Top, bottom, left, right; that of a Pad node in front included.
    pooled_first : bool
        The pooling comes before the last map or the sign.
    table : array of 3, or None
        Of the step that ends the stage; None for scores, and of several bits.
    stairs : Stairs or None
        The quantiser of several bits that ends the stage.
    gives : Levels or None
        The bits, or values of several.
    placed : Node or None
        The first node that has parameters for each place of the map; the form then has them too.
    pool_order : str or None
        In words, for the report.
    summed : Levels or None
        The sums of bits that it reads in the source, where `reads` are these bits side by side.
    turned : list of int
        Channels that fall, and whose weights have no negatives in 8 bits: the layer gives what they would
        if they rose, and another one behind it turns that around.
    restored : list of int
        Channels that are complemented for a pooling, in a network with branches: a layer behind that turns
        them around.
    """

    node: Node
    reads: Levels
    form: Form
    padding: tuple[int, int, int, int]
    pad_value: int
    nodes: list[str]
    folded: list[str]
    pool: Window | None = None
    pooling: Node | None = None
    pool_padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    pooled_first: bool = False
    table: NDArray[Any] | None = None
    stairs: Any = None
    gives: Levels | None = None
    pool_order: str | None = None
    placed: Node | None = None
    turned: list[int] = field(default_factory=list)
    restored: list[int] = field(default_factory=list)
    summed: Levels | None = None

    @property
    def channels(self) -> int:
        """How many outputs the product has."""
        return self.form.channels

    @property
    def gathers(self) -> bool:
        """Whether its sums are values without a quantiser: averages, or parts of a map."""
        return bool(self.node.attributes.get("average") or self.node.attributes.get("selects"))
