"""What lies between a product's sum and its sign: maps of each channel's value, and how they invert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

from .curves import Curve
from .graph import Node
from .line import Line, spliced
from .surd import ZERO, Surd

MOST_MAPS = 64
"""Most batch norms and functions between a product and its sign; consecutive affine maps are one."""


class Map(Protocol):
    """A function of one channel's value."""

    @property
    def wide(self) -> bool:
        """Whether it has parameters per channel."""
        ...

    @property
    def bounds(self) -> tuple[Fraction | None, Fraction | None]:
        """Smallest and largest value of all channels, where known."""
        ...

    def before(self, line: Line, channel: int) -> Line:
        """Return all x that it maps into a set."""
        ...

    def falls(self, channel: int) -> bool | None:
        """Whether it falls; None if it does both."""
        ...


@dataclass(frozen=True)
class Linear:
    """``gamma * (x - mean) / sqrt(square) + beta``; each parameter is one, or one per channel."""

    gamma: Sequence[Fraction]
    mean: Sequence[Fraction]
    beta: Sequence[Fraction]
    square: Sequence[Fraction]

    @property
    def wide(self) -> bool:
        """Whether it has parameters per channel."""
        return any(len(values) > 1 for values in (self.gamma, self.mean, self.beta, self.square))

    @property
    def bounds(self) -> tuple[Fraction | None, Fraction | None]:
        """Smallest and largest value of all channels, where known."""
        return None, None

    def at(self, channel: int) -> tuple[Fraction, Fraction, Fraction, Fraction]:
        """Return the four parameters of a channel."""
        gamma, mean, beta, square = (
            values[channel % len(values)] for values in (self.gamma, self.mean, self.beta, self.square)
        )
        return gamma, mean, beta, square

    def before(self, line: Line, channel: int) -> Line:
        """Return all x that it maps into a set."""
        return line.linear(*self.at(channel))

    def falls(self, channel: int) -> bool:
        """Whether it falls, or is constant."""
        return self.gamma[channel % len(self.gamma)] <= 0


@dataclass(frozen=True)
class Vee:
    """``left * x`` below 0, ``right * x`` above: Relu, LeakyRelu, PRelu, Abs."""

    left: Sequence[Fraction]
    right: Fraction = Fraction(1)

    @property
    def wide(self) -> bool:
        """Whether it has parameters per channel."""
        return len(self.left) > 1

    @property
    def bounds(self) -> tuple[Fraction | None, Fraction | None]:
        """Smallest and largest value of all channels, where known."""
        return (Fraction(0) if max(self.left) <= 0 <= self.right else None), None

    def before(self, line: Line, channel: int) -> Line:
        """Return all x that it maps into a set."""
        zero, one = Fraction(0), Fraction(1)
        left = line.linear(self.left[channel % len(self.left)], zero, zero, one)
        right = line.linear(self.right, zero, zero, one)
        return spliced(((left, (ZERO, False)), (right, None)))

    def falls(self, channel: int) -> bool | None:
        """Whether it falls; None if it rises and falls."""
        return None if self.left[channel % len(self.left)] < 0 else False


@dataclass(frozen=True)
class Clip:
    """Values below `low` become `low`, then those above `high` become `high`; each may be missing."""

    low: Sequence[Fraction] | None
    high: Sequence[Fraction] | None

    @property
    def wide(self) -> bool:
        """Whether it has parameters per channel."""
        return any(values is not None and len(values) > 1 for values in (self.low, self.high))

    @property
    def bounds(self) -> tuple[Fraction | None, Fraction | None]:
        """Smallest and largest value of all channels, where known."""
        low = None if self.low is None else min(self.low)
        high = None if self.high is None else max(self.high)
        if low is not None and self.high is not None:
            low = min(low, *self.high)
        return low, high

    def before(self, line: Line, channel: int) -> Line:
        """Return all x that it maps into a set."""
        low, high = (
            None if values is None else Surd.of(values[channel % len(values)])
            for values in (self.low, self.high)
        )
        if low is not None and high is not None and (high - low).sign() < 0:
            return Line(line.holds(high))
        parts: list[tuple[Line, tuple[Surd, bool] | None]] = []
        if low is not None:
            parts.append((Line(line.holds(low)), (low, False)))
        parts.append((line, None if high is None else (high, True)))
        if high is not None:
            parts.append((Line(line.holds(high)), None))
        return spliced(parts)

    def falls(self, channel: int) -> bool:
        """Whether it falls, or is constant."""
        return False


@dataclass(frozen=True)
class Rising:
    """A smooth function that rises."""

    curve: Curve

    @property
    def wide(self) -> bool:
        """Whether it has parameters per channel."""
        return False

    @property
    def bounds(self) -> tuple[Fraction | None, Fraction | None]:
        """Smallest and largest value of all channels, where known."""
        return self.curve.low, self.curve.high

    def before(self, line: Line, channel: int) -> Line:
        """Return all x that it maps into a set."""
        start, cuts = line.start, []
        for value, behind in line.cuts:
            x = self.curve.before(value)
            if x is not None:
                cuts.append((x, behind))
            elif self.curve.low is not None and value.plus(-self.curve.low).sign() <= 0:
                start = not start
        return Line(start, tuple(cuts))

    def falls(self, channel: int) -> bool:
        """Whether it falls, or is constant."""
        return False


@dataclass(frozen=True)
class Shortcut:
    """Adds the first of `values` where one of a channel's `taps` is -1, and the other where it is +1."""

    node: Node
    values: tuple[Fraction, Fraction]
    taps: tuple[int, ...]
    wide: bool = False
    bounds: tuple[Fraction | None, Fraction | None] = (None, None)

    def before(self, line: Line, channel: int) -> Line:
        """Not to be asked: `Form.chosen` puts one of its values there."""
        raise AssertionError(self.node.label)

    def falls(self, channel: int) -> bool:
        """Whether it falls, or is constant."""
        return False


@dataclass
class Form:
    """Maps of a product's integer sums, one after the other; exact.

    Attributes
    ----------
    channels : int
    maps : list of (Node or None, Map)
        With the source's node.
    pooled_at : int or None
        How many of them come before a pooling, if there is one.
    """

    channels: int
    maps: list[tuple[Node | None, Map]] = field(default_factory=list)
    pooled_at: int | None = None

    def repeated(self, count: int) -> Form:
        """Return the same for each of so many positions."""
        return Form(self.channels * count, list(self.maps), self.pooled_at)

    def divided(self, count: int) -> Form:
        """Return the same of s / count, nothing being pooled."""
        zero, one = [Fraction(0)], [Fraction(1)]
        return Form(self.channels, [(None, Linear([Fraction(1, count)], zero, zero, one)), *self.maps])

    def affine(self, scale: Sequence[Fraction], offset: Sequence[Fraction], node: Node | None = None) -> None:
        """Apply ``scale * y + offset``; one of each, or one per channel."""
        last = self.maps[-1][1] if len(self.maps) > (self.pooled_at or 0) else None
        if isinstance(last, Linear) and list(last.mean) == [0] and list(last.square) == [1]:
            count = max(len(last.gamma), len(last.beta), len(scale), len(offset))
            pairs = [(scale[i % len(scale)], offset[i % len(offset)], *last.at(i)) for i in range(count)]
            gamma = [a * g for a, _, g, _, _, _ in pairs]
            beta = [a * e + b for a, b, _, _, e, _ in pairs]
            self.maps[-1] = (self.maps[-1][0], Linear(gamma, last.mean, beta, last.square))
            return
        zero, one = [Fraction(0)], [Fraction(1)]
        self._add(node, Linear(list(scale), zero, list(offset), one))

    def norm(self, node: Node) -> None:
        """Apply a node `NORM`."""
        values = node.attributes
        self._add(node, Linear(values["gamma"], values["mean"], values["beta"], values["variance"]))

    def bend(self, node: Node, function: Map) -> None:
        """Apply another function."""
        self._add(node, function)

    def _add(self, node: Node | None, function: Map) -> None:
        if node is not None and len(self.maps) >= MOST_MAPS:
            raise node.fail(f"is behind {MOST_MAPS} batch norms and functions without a sign, the limit")
        self.maps.append((node, function))

    @property
    def shortcut(self) -> Shortcut | None:
        """What is added to the sums, if anything is."""
        return next((function for _, function in self.maps if isinstance(function, Shortcut)), None)

    def chosen(self, value: Fraction) -> Form:
        """Return the same with one number in the place of the `Shortcut`."""
        zero, one = [Fraction(0)], [Fraction(1)]
        added = Linear(one, zero, [value], one)
        maps = [(node, added if isinstance(each, Shortcut) else each) for node, each in self.maps]
        return Form(self.channels, maps, self.pooled_at)

    @property
    def bent(self) -> Node | None:
        """The last map that is not affine."""
        bends = [node for node, function in self.maps if not isinstance(function, Linear)]
        return bends[-1] if bends else None

    def slope(self, channel: int) -> int:
        """Return the sign of the product of all scales and gammas."""
        result = 1
        for _, function in self.maps:
            if isinstance(function, Linear):
                gamma = function.gamma[channel % len(function.gamma)]
                result *= (gamma > 0) - (gamma < 0)
        return result

    def scores(self, channel: int) -> tuple[Surd, Surd]:
        """Return scale and offset of a channel whose maps are all affine.

        Raises
        ------
        ImportFailedError
            Names the function that is not.
        """
        scale, offset = Surd.of(1), ZERO
        for node, function in self.maps:
            if not isinstance(function, Linear):
                assert node is not None
                raise node.fail("stands behind the last layer, whose scores only affine maps may follow")
            gamma, mean, beta, square = function.at(channel)
            scale = scale.rooted(square).times(gamma / square)
            offset = offset.plus(-mean).rooted(square).times(gamma / square).plus(beta)
        return scale, offset
