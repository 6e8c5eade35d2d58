"""Products: what they read, in which order, and with which padding."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from .bitsums import is_sum, padding_of
from .graph import FIXED, Node
from .shapes import Window, pad_widths
from .signal import Form, Joined, Levels, Stage, places
from .stairs import every_value
from .walk import Walk
from .weights import DENSE


def quantised(walk: Walk, node: Node) -> Levels:
    """Return the values that a node reads.

    Raises
    ------
    ImportFailedError
        If they are sums that nothing has quantised.
    """
    if walk.levels is None and walk.stage.gathers:
        every_value(walk)
    if walk.levels is None:
        bend = walk.stage.form.bent
        if bend is not None:
            raise bend.fail(
                f"gives more than two values, and {node.label} reads them without a sign or a quantiser in "
                "between; activations must have 1 to 8 bits"
            )
        way = f", or be imported in fixed point ({FIXED})" if node.op == "Add" else ""
        raise node.fail(
            f"reads the sums of {walk.stage.node.label} without a sign or a quantiser in between; "
            f"activations must have 1 to 8 bits{way}"
        )
    joined = walk.levels.giver
    if isinstance(joined, Joined) and joined.excess is not None:
        raise joined.excess
    return walk.levels


def dense(walk: Walk, node: Node) -> None:
    """Begin a stage with a `DENSE` node; its weights are put in network order."""
    reads = quantised(walk, node)
    if reads.pads:
        raise node.fail("reads padded values; padding can only stand before a convolution")
    if walk.index.ndim != 2:
        raise node.fail(f"reads a tensor of {walk.index.ndim} axes, but must read (batch, values)")
    order = walk.index[0]
    weights = np.empty_like(node.attributes["weights"])
    weights[:, order] = node.attributes["weights"]
    _begin(walk, node, reads, weights, (0, 0, 0, 0), 0)
    walk.index = places((len(weights),), len(walk.index), channels_last=True)


def conv(walk: Walk, node: Node) -> None:
    """Begin a stage with a `CONV` node and the padding in front of it."""
    reads = quantised(walk, node)
    batch = len(walk.index)
    if len(reads.shape) != 3 or reads.sums:
        _conv_of_one(walk, node)
        return
    if not np.array_equal(walk.index, places(reads.shape, batch, channels_last=False)):
        raise node.fail("reads a map whose axes were permuted; it must be (batch, channels, height, width)")
    window: Window = node.attributes["window"]
    padding, value = window.padding, Fraction(0)
    if reads.pads:
        if any(padding) and reads.pads[1]:
            raise node.fail("pads with 0 what is padded with another value already")
        padding = tuple(a + b for a, b in zip(padding, reads.pads[0], strict=True))
        value = reads.pads[1]
    pad = _pad_value(node, reads, value) if any(padding) else 0
    _begin(walk, node, reads, node.attributes["weights"], padding, pad)
    shape = (*window.size, len(node.attributes["weights"]))
    walk.index = places(shape, batch, channels_last=False)


def _conv_of_one(walk: Walk, node: Node) -> None:
    """Begin a stage with a `CONV` node that reads a single position, as behind an average over the map."""
    window: Window = node.attributes["window"]
    if walk.index.shape[2:] != (1, 1):
        raise node.fail("reads values that are no map; it must read (batch, channels, height, width)")
    if window.kernel != (1, 1) or any(window.padding) or (walk.levels and walk.levels.pads):
        raise node.fail(
            f"reads one value of each channel with a kernel of {window.kernel[0]} x {window.kernel[1]} and "
            f"padding {window.padding}; use a kernel of 1 x 1 without padding, or a dense layer"
        )
    attributes = {**node.attributes, "weights": node.attributes["weights"].reshape(-1, walk.index.shape[1])}
    del attributes["window"]
    walk.index = walk.index[:, :, 0, 0]
    dense(walk, Node(DENSE, node.name, node.inputs, node.outputs, attributes))
    walk.index = walk.index[:, :, np.newaxis, np.newaxis]


def _begin(walk: Walk, node: Node, reads: Levels, weights: Any, padding: Any, pad: int) -> None:
    scale, bias = node.attributes["scale"], node.attributes["bias"]
    sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64).tolist()
    form = Form(len(weights))
    form.affine(
        [value * reads.scale for value in scale],
        [value * reads.offset * total for value, total in zip(scale, sums, strict=True)],
        node,
    )
    folded = ["average"] if node.attributes.get("average") else []
    names = node.attributes.get("nodes", (node.name,))
    if bias is not None:
        form.affine([Fraction(1)], bias, node)
        folded.append("bias")
    if node.attributes.get("groups", 1) > 1:
        folded.append(f"{node.attributes['groups']} groups, as weights of 0")
    if any(value != 1 for value in scale):
        folded.append("weight scale")
    if any(slack := node.attributes.get("slack", ())):
        folded.append(f"weights that differ from integers times their scale by up to {float(max(slack)):.1g}")
    if (reads.scale, reads.offset) != (1, 0):
        folded.append("input scale and offset" if reads.offset else "input scale")
    attributes = {**node.attributes, "weights": weights}
    made = Node(node.op, node.name, node.inputs, node.outputs, attributes)
    stage = Stage(made, reads, form, padding, pad, [*walk.pending, *names], folded)
    walk.begin(stage)


def pad(walk: Walk, node: Node) -> None:
    """Keep a Pad node for the convolution behind it."""
    levels = walk.levels
    if levels is None or levels.sums or len(levels.shape) != 3 or walk.index.ndim != 4 or levels.pads:
        raise node.fail("pads what is no map of quantised values; pad behind the sign or quantiser")
    walk.check_map(node, levels)
    widths = pad_widths(node, walk.index.shape, walk.graph.constants)
    if any(map(any, widths[:2])):
        raise node.fail("pads the batch or the channels, which is not supported")
    value = Fraction(node.number("value", 0.0))
    if len(node.inputs) > 2 and node.inputs[2]:
        constant = walk.graph.constants.get(node.inputs[2])
        if constant is None or constant.size != 1:
            raise node.fail("its value must be one constant")
        value = Fraction(float(constant.ravel()[0]))
    walk.pending.append(node.name)
    # The map itself stays; the convolution pads it.
    walk.levels = replace(levels, pads=((*widths[2], *widths[3]), value))


def _pad_value(node: Node, reads: Levels, value: Fraction) -> int:
    """The network's padding value for padding with a real value."""
    if is_sum(reads):
        return padding_of(node, reads, value)
    if value == reads.offset:
        return 0
    if reads.bits == 1 and abs(value - reads.offset) == abs(reads.scale):
        return 1 if (value > reads.offset) == (reads.scale > 0) else -1
    if reads.bits == 1:
        low, high = reads.offset - abs(reads.scale), reads.offset + abs(reads.scale)
        raise node.fail(
            f"pads with {float(value):g}, but its input is {float(low):g} or {float(high):g}: the padding "
            f"must be one of these, or {float(reads.offset):g}, which counts for nothing"
        )
    level = (value - reads.offset) / reads.scale
    if level.denominator == 1 and 0 <= level <= reads.most:
        return int(level)
    raise node.fail(
        f"pads with {float(value):g}, which is none of the {reads.most + 1} levels of its input, "
        f"{float(reads.offset):g} to {float(reads.offset + reads.most * reads.scale):g} in steps of "
        f"{float(abs(reads.scale)):g}; pad with one of them, quantise so that {float(value):g} is one, or do "
        "not pad here"
    )
