"""Pass: functions of each value alone, such as Relu, Clip and Tanh, as maps that are inverted exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from .canonical import per_channel
from .curves import SIGMOID, SOFTPLUS, SOFTSIGN, TANH, Curve, elu
from .evaluate import clip_limits, evaluate
from .functions import exponential
from .graph import Graph, Node
from .line import Line, spliced
from .maps import Clip, Linear, Map, Rising, Vee
from .rewrite import made, rewritten
from .surd import Surd
from .walk import Walk

MONOTONE = "Monotone"
"""Operator of the nodes that this pass makes; attributes ``function`` (a `Map`) and ``original`` (a Node)."""
_CURVES: dict[str, Curve] = {"Tanh": TANH, "Sigmoid": SIGMOID, "Softsign": SOFTSIGN, "Softplus": SOFTPLUS}


@dataclass(frozen=True)
class Jump:
    """``x`` above `limit`, else 0: ThresholdedRelu."""

    limit: Fraction

    @property
    def wide(self) -> bool:
        """Whether it has parameters per channel."""
        return False

    @property
    def bounds(self) -> tuple[Fraction | None, Fraction | None]:
        """Smallest and largest value of all channels, where known."""
        return min(self.limit, Fraction(0)), None

    def before(self, line: Line, channel: int) -> Line:
        """Return all x that it maps into a set."""
        return spliced(((Line(line.holds(Surd.of(0))), (Surd.of(self.limit), True)), (line, None)))

    def falls(self, channel: int) -> bool | None:
        """Whether it falls; None if it rises and falls."""
        return None if self.limit < 0 else False


@dataclass(frozen=True)
class Two:
    """A map, and another on its values: HardSigmoid."""

    first: Map
    second: Map

    @property
    def wide(self) -> bool:
        """Whether it has parameters per channel."""
        return self.first.wide or self.second.wide

    @property
    def bounds(self) -> tuple[Fraction | None, Fraction | None]:
        """Smallest and largest value of all channels, where known."""
        return self.second.bounds

    def before(self, line: Line, channel: int) -> Line:
        """Return all x that it maps into a set."""
        return self.first.before(self.second.before(line, channel), channel)

    def falls(self, channel: int) -> bool | None:
        """Whether it falls; None if it rises and falls."""
        first, second = self.first.falls(channel), self.second.falls(channel)
        return None if first is None or second is None else first != second


def monotones(graph: Graph) -> Graph:
    """Pass: functions of each value alone become `MONOTONE`; the solver tells whether they are."""
    simple = dict.fromkeys((*_CURVES, *_ATTRIBUTES), _simple)
    return rewritten(graph, {**simple, "Clip": _clip, "PRelu": _prelu, "Max": _limit, "Min": _limit})


def values_behind(walk: Walk, node: Node, values: tuple[Fraction, Fraction]) -> list[Fraction]:
    """Return what a `MONOTONE` node makes of two values that it may read, computed as the source does.

    Raises
    ------
    ImportFailedError
        If its parameters differ from channel to channel, or a value is not finite.
    """
    original: Node = node.attributes["original"]
    arrays = []
    for name in original.inputs:
        constant = walk.graph.constants.get(name)
        if constant is not None and constant.size and (constant != constant.flat[0]).any():
            raise node.fail(
                "has one parameter for each channel of one-bit activations, which cannot be folded"
            )
        if name in walk.graph.constants or not name:
            arrays.append(None if constant is None else constant.ravel()[:1])
        else:
            arrays.append(np.array([float(value) for value in values], np.float32))
    result = evaluate(original, arrays, walk.graph.opset)
    return [Fraction(value) for value in result.tolist()]


def _bend(node: Node, image: str, function: Map) -> Node:
    return made(node, MONOTONE, image, function=function, original=node)


def _number(node: Node, key: str, default: float) -> list[Fraction]:
    return [Fraction(node.number(key, default))]


def _hard_sigmoid(node: Node) -> Map:
    zero, one = [Fraction(0)], [Fraction(1)]
    line = Linear(_number(node, "alpha", float(np.float32(0.2))), zero, _number(node, "beta", 0.5), one)
    return Two(line, Clip(zero, one))


def _exponential(node: Node) -> Map | None:
    alpha, gamma, stretch = (Fraction(float(np.float32(value))) for value in exponential(node))
    return Rising(elu(alpha, gamma, stretch)) if min(alpha, gamma, stretch) > 0 else None


_ATTRIBUTES: dict[str, Callable[[Node], Map | None]] = {
    "Relu": lambda node: Vee([Fraction(0)]),
    "Abs": lambda node: Vee([Fraction(-1)]),
    "LeakyRelu": lambda node: Vee(_number(node, "alpha", float(np.float32(0.01)))),
    "ThresholdedRelu": lambda node: Jump(_number(node, "alpha", 1.0)[0]),
    "HardSigmoid": _hard_sigmoid,
    "Elu": _exponential,
    "Selu": _exponential,
    "Celu": _exponential,
}


def _simple(node: Node, graph: Graph) -> Node | None:
    function = Rising(_CURVES[node.op]) if node.op in _CURVES else _ATTRIBUTES[node.op](node)
    return None if function is None else _bend(node, node.inputs[0], function)


def _clip(node: Node, graph: Graph) -> Node:
    values = [graph.constants.get(name) for name in node.inputs[1:]]
    if any(name and value is None for name, value in zip(node.inputs[1:], values, strict=True)):
        raise node.fail("limits must be constant")
    limits = clip_limits(node, values)
    given = [*(value is not None for value in values), False, False]
    low, high = (
        [Fraction(limit)] if given[i] or key in node.attributes else None
        for i, (limit, key) in enumerate(zip(limits, ("min", "max"), strict=True))
    )
    return _bend(node, node.inputs[0], Clip(low, high))


def _prelu(node: Node, graph: Graph) -> Node | None:
    slope = graph.constants.get(node.inputs[1])
    if slope is None:
        raise node.fail("its slope must be constant")
    values = per_channel(slope, graph.shapes[node.inputs[0]])
    return None if values is None else _bend(node, node.inputs[0], Vee(values))


def _limit(node: Node, graph: Graph) -> Node | None:
    if len(node.inputs) != 2 or sum(name in graph.constants for name in node.inputs) != 1:
        return None
    image, constant = node.inputs if node.inputs[1] in graph.constants else node.inputs[::-1]
    values = per_channel(graph.constants[constant], graph.shapes[image])
    if values is None:
        return None
    return _bend(node, image, Clip(values, None) if node.op == "Max" else Clip(None, values))
