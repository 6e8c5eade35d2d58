"""Passes: affine maps, batch norms and pooling in one form each, with exact parameters."""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model.check import brief
from ...model.limits import MAX_SIZE
from .evaluate import mean_axes
from .graph import Graph, Node, replaced
from .rewrite import fractions, made, parameter, rewritten
from .shapes import Window
from .tensors import elements, type_name
from .weights import CONV

AFFINE, NORM, POOL, MEAN = "Affine", "Norm", "Pool", "Mean"
"""Operators of the nodes that these passes make; each has one input."""


def affines(graph: Graph) -> Graph:
    """Pass: Add, Sub, Mul, Div and Neg with constants become `AFFINE`, BatchNormalization `NORM`.

    Attributes: ``scale`` and ``offset``, or ``gamma``, ``beta``, ``mean`` and ``variance`` (eps
    included): lists of Fraction, one per channel, or one for all, or one for each place of a map
    behind a convolution. Constants of other shapes are left as they are.

    Raises
    ------
    ImportFailedError
        For a batch norm in training mode, or a variance that with epsilon is not above 0.
    """
    behind: set[str] = set()  # a convolution; what differs from place to place of the image is the host's
    for node in graph.nodes:
        if node.op == CONV or not behind.isdisjoint(node.inputs):
            behind.update(node.outputs)

    def rule(node: Node, graph: Graph) -> Node | None:
        return _affine(node, graph, not behind.isdisjoint(node.inputs))

    arithmetic = dict.fromkeys(("Add", "Sub", "Mul", "Div", "Neg"), rule)
    return rewritten(graph, {**arithmetic, "BatchNormalization": _norm})


def pools(graph: Graph) -> Graph:
    """Pass: MaxPool becomes `POOL`, an average over the whole map `MEAN`, over a part of it a `CONV`.

    Attributes of `POOL`: ``window``; of `MEAN`: ``axes``, ``keepdims``; of such a `CONV` also ``average``.

    Raises
    ------
    ImportFailedError
        For dilations or index outputs, and averages over padding that does not count.
    """
    return rewritten(
        graph,
        {"MaxPool": _max_pool, "AveragePool": _average, "GlobalAveragePool": _global, "ReduceMean": _reduce},
    )


def transparent(graph: Graph) -> Graph:
    """Pass: Identity, Dropout and Cast between number formats disappear.

    Raises
    ------
    ImportFailedError
        For a Cast that rounds, or a Dropout whose mask is used or that is in training mode.
    """
    names: dict[str, str] = {}
    nodes: list[Node] = []
    ends = set(graph.outputs)
    for node in graph.nodes:
        inputs = tuple(names.get(name, name) for name in node.inputs)
        node = Node(node.op, node.name, inputs, node.outputs, node.attributes)
        if node.op in ("Identity", "Dropout", "Cast") and node.outputs[0] not in ends:
            _check_transparent(node, graph)
            names[node.outputs[0]] = inputs[0]
        else:
            nodes.append(node)
    return replaced(graph, nodes=tuple(nodes))


def _check_transparent(node: Node, graph: Graph) -> None:
    if node.op == "Cast" and node.integer("to", 1) not in (1, 11):
        raise node.fail(f"converts to element type {type_name(node.integer('to', 1))}, which may round")
    if node.op == "Dropout" and len(node.inputs) > 2:
        training = graph.constants.get(node.inputs[2])
        if node.inputs[2] and (training is None or training.any()):
            raise node.fail("is in training mode; export the model after model.eval()")
    readers = graph.readers
    if any(name in readers or name in graph.outputs for name in node.outputs[1:]):
        raise node.fail("its second output is used, which is not supported")


def per_channel(values: NDArray[Any], shape: tuple[int, ...]) -> list[Fraction] | None:
    """Return a constant that broadcasts against (batch, channels, ...) as one value or one per channel.

    None if it differs within a channel, or makes the tensor larger.
    """
    try:
        if np.broadcast_shapes(values.shape, shape) != shape:
            return None
    except ValueError:
        return None
    for axis, size in enumerate(values.shape):  # expanded to the whole map, as expand_as does
        first = values.take([0], axis) if size else values
        if size > 1 and (values == first).all():
            values = first
    if values.size == 1:
        return fractions(values.ravel())
    sizes = (1,) * (len(shape) - values.ndim) + values.shape
    if len(sizes) > 1 and sizes[1] > 1 and all(size == 1 for i, size in enumerate(sizes) if i != 1):
        return fractions(values)
    return None


def per_place(values: NDArray[Any], shape: tuple[int, ...]) -> list[Fraction] | None:
    """Return a constant that broadcasts against a map as one value for each of its places, row-major.

    None if it is larger, differs from image to image, or if there are more than a layer has values.
    """
    if len(shape) != 4 or values.ndim > 4 or prod(shape[1:]) > MAX_SIZE:
        return None
    if values.ndim == 4 and len(values) != 1:
        return None
    try:
        return fractions(np.broadcast_to(values.reshape(values.shape[-3:]), shape[1:]))
    except ValueError:
        return None


def _affine(node: Node, graph: Graph, placed: bool) -> Node | None:
    one = [Fraction(1)]
    if node.op == "Neg":
        return made(node, AFFINE, node.inputs[0], scale=[Fraction(-1)], offset=[Fraction(0)])
    if node.op == "Add" and node.inputs[0] == node.inputs[-1]:  # exact in any float format
        return made(node, AFFINE, node.inputs[0], scale=[Fraction(2)], offset=[Fraction(0)])
    if len(node.inputs) != 2 or sum(name in graph.constants for name in node.inputs) != 1:
        return None
    right = node.inputs[1] in graph.constants
    image, constant = node.inputs if right else node.inputs[::-1]
    values = per_channel(graph.constants[constant], graph.shapes[image])
    if values is None and placed:
        values = per_place(graph.constants[constant], graph.shapes[image])
    if values is None:
        return None
    scale, offset = one, [Fraction(0)]
    if node.op == "Mul":
        scale = values
    elif node.op == "Div":
        if not right:
            raise node.fail("divides by what depends on the image")
        if 0 in values:
            raise node.fail("divides by 0")
        scale = [1 / value for value in values]
    elif node.op == "Add":
        offset = values
    else:
        offset = [-value for value in values] if right else values
        scale = one if right else [Fraction(-1)]
    return made(node, AFFINE, image, scale=scale, offset=offset)


def _norm(node: Node, graph: Graph) -> Node:
    if node.integer("training_mode", 0) or not node.integer("spatial", 1):
        raise node.fail("is in training mode, or not per channel; export the model after model.eval()")
    readers = graph.readers
    if any(name in readers or name in graph.outputs for name in node.outputs[1:] if name):
        raise node.fail("gives statistics, as in training; export the model after model.eval()")
    shape = graph.shapes[node.inputs[0]]
    parameters = {}
    for index, key in enumerate(("gamma", "beta", "mean", "variance"), 1):
        values = parameter(node, graph, index, key)
        if len(shape) < 2 or values.shape != (shape[1],):
            raise node.fail(f"{key} has shape {brief(values.shape)}, which does not fit {brief(shape)}")
        parameters[key] = fractions(values)
    eps = Fraction(node.number("epsilon", 1e-5))
    for channel, value in enumerate(parameters["variance"]):
        if value + eps <= 0:
            raise node.fail(
                f"variance of channel {channel} is {float(value):g} with epsilon {float(eps):g}; their sum "
                "must be above 0"
            )
    parameters["variance"] = [value + eps for value in parameters["variance"]]
    return made(node, NORM, node.inputs[0], **parameters)


def _max_pool(node: Node, graph: Graph) -> Node:
    shape = graph.shapes[node.inputs[0]]
    window = Window(node, shape[2:], (1, 1), ceil=bool(node.integer("ceil_mode", 0)))
    if any(name in graph.readers or name in graph.outputs for name in node.outputs[1:] if name):
        raise node.fail("its second output, the indices, is not supported")
    return made(node, POOL, node.inputs[0], window=window)


def _average(node: Node, graph: Graph) -> Node:
    shape = graph.shapes[node.inputs[0]]
    window = Window(node, shape[2:], (1, 1), ceil=bool(node.integer("ceil_mode", 0)))
    if window.kernel == shape[2:] and not any(window.padding):
        return made(node, MEAN, node.inputs[0], axes=(2, 3), keepdims=True)
    if any(window.padding) and (node.integer("ceil_mode", 0) or not node.integer("count_include_pad", 0)):
        raise node.fail(
            "averages over fewer values where its window leaves the map; only padding that counts as 0 "
            "(count_include_pad=1, without ceil_mode) is a sum of the same weights everywhere"
        )
    # Each channel is summed with weights of 1, like a convolution of as many groups.
    channels, count = shape[1], prod(window.kernel)
    elements((channels, *window.kernel, channels), node.label)
    weights = np.zeros((channels, *window.kernel, channels), np.int8)
    each = np.arange(channels)
    weights[each, :, :, each] = 1
    return made(
        node, CONV, node.inputs[0], weights=weights, scale=[Fraction(1, count)] * channels, bias=None,
        window=window, average=True,
    )  # fmt: skip


def _global(node: Node, graph: Graph) -> Node:
    if len(graph.shapes[node.inputs[0]]) != 4:
        raise node.fail("only maps of 2 dimensions are supported")
    return made(node, MEAN, node.inputs[0], axes=(2, 3), keepdims=True)


def _reduce(node: Node, graph: Graph) -> Node:
    shape = graph.shapes[node.inputs[0]]
    axes = mean_axes(node, [None, *(graph.constants.get(name) for name in node.inputs[1:])], len(shape))
    if len(shape) != 4 or axes not in ((2, 3), (1, 2)):
        raise node.fail(f"averages axes {brief(axes)}; only height and width of a map are supported")
    return made(node, MEAN, node.inputs[0], axes=axes, keepdims=bool(node.integer("keepdims", 1)))
