"""Signs, which end a stage, and the nodes that rank classes, which end a network."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from .graph import Node
from .shapes import top_k
from .signal import Levels
from .solve import occurring
from .walk import Walk
from .weights import DENSE


def step(walk: Walk, node: Node) -> None:
    """End a stage with a `STEP` node, or give new names to values that are two already."""
    table = [Fraction(value) for value in node.attributes["table"].tolist()]
    if table[0] == table[2]:
        raise node.fail(f"gives {float(table[0]):g} on both sides of its threshold: no sign function")
    if walk.levels is not None:
        _again(walk, node, table)
        return
    stage = walk.stage
    stage.table = np.array(occurring(stage, (table[0], table[1], table[2])), dtype=object)
    low, high = min(stage.table[::2]), max(stage.table[::2])
    for name in node.attributes["nodes"]:
        stage.nodes.append(name)
    scale, offset = (high - low) / 2, (high + low) / 2
    shape = result_shape(walk)
    walk.levels = stage.gives = Levels(
        node.outputs[0], scale, offset, 1, shape, walk.index, origin=(scale, offset), places=walk.index,
        giver=stage,
    )  # fmt: skip


def result_shape(walk: Walk) -> tuple[int, ...]:
    """Return the shape, in network order, of what the stage gives."""
    if walk.stage.node.op == DENSE:
        return (walk.stage.channels,)
    window = walk.stage.pool if walk.stage.pooled_first else None
    size = window.size if window else walk.stage.node.attributes["window"].size
    return (*size, len(walk.stage.node.attributes["weights"]))


def _again(walk: Walk, node: Node, table: list[Fraction]) -> None:
    """A sign of what is two values already."""
    levels = walk.levels
    assert levels is not None
    if levels.bits != 1 or levels.sums or levels.pads:
        raise node.fail(
            "is a sign of n-bit values, of averages or of padded values, which is not supported; take the "
            "sign of what is quantised"
        )
    low, high = (
        table[1 + (value > 0) - (value < 0)]
        for value in (levels.offset - levels.scale, levels.offset + levels.scale)
    )
    renamed(walk, node, low, high)


def renamed(walk: Walk, node: Node, low: Fraction, high: Fraction) -> None:
    """Let the two values of one-bit activations be two others.

    Raises
    ------
    ImportFailedError
        If these are equal.
    """
    levels = walk.levels
    assert levels is not None
    if low == high:
        raise node.fail(f"gives {float(low):g} for both values of the one-bit activations in front of it")
    walk.pending.append(node.name)
    walk.levels = replace(levels, scale=(high - low) / 2, offset=(high + low) / 2)


def end(walk: Walk, node: Node) -> None:
    """Take a node that ranks the scores: the host does that."""
    if walk.last is None:
        raise node.fail("the graph has no layer with weights")
    if walk.levels is not None:
        raise node.fail("chooses among one-bit outputs, where ties decide; end with scores")
    flat = walk.index[0].ravel()
    if not np.array_equal(flat, np.arange(flat.size)):
        raise node.fail("chooses among outputs in an order that is not (channel)")
    rank = walk.index.ndim
    default = (
        0 if node.op == "ArgMax" else (1 if node.op.endswith("oftmax") and walk.graph.opset < 13 else -1)
    )
    axis = node.integer("axis", default) % rank
    if walk.index.shape[axis] != flat.size or rank < 2 or axis == 0:
        raise node.fail(f"works along axis {axis}, which does not hold the {flat.size} classes")
    if walk.binary:
        raise node.fail(f"ranks the one output of {walk.ends[-1].label}: it is always the first")
    if walk.ends and walk.ends[-1].op in ("ArgMax", "TopK"):
        raise node.fail(f"follows {walk.ends[-1].label}")
    if node.op == "ArgMax" and node.integer("select_last_index", 0):
        raise node.fail("select_last_index gives ties to the highest index; classes go to the lowest here")
    if node.op == "TopK":
        k = top_k(node, walk.graph.constants)
        if k < 1 or not node.integer("largest", 1) or not node.integer("sorted", 1):
            raise node.fail("must give the largest values, sorted")
        walk.notes.append(f"{node.label} is left out; the class is the first of its indices")
    elif node.op == "ArgMax":
        walk.notes.append(
            f"{node.label} is left out; the class is the largest score, ties to the lowest index"
        )
    else:
        walk.notes.append(f"{node.label} is left out: it does not change the order of the scores")
    walk.ends.append(node)
