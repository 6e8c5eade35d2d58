"""Behind sums: functions that keep the order of scores, and averages over all positions of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .graph import Node
from .shapes import Window
from .signal import Levels, Stage, places
from .tensors import elements
from .walk import Walk
from .weights import CONV, DENSE

MIDDLE = {
    "Sigmoid": 0.5,
    "Tanh": 0.0,
    "Softsign": 0.0,
    "LeakyRelu": 0.0,
    "Elu": 0.0,
    "Selu": 0.0,
    "Celu": 0.0,
}
"""Functions that rise strictly, and what they make of 0."""


def tail(walk: Walk, node: Node) -> None:
    """Take a function that rises strictly, behind the last sums: it does not change the order of the scores.

    Of one score, it says which of two classes: class 1 where the score is above 0.
    """
    op = str(node.attributes.get("source", node.op))
    if walk.last is None or walk.levels is not None:
        raise node.fail("stands at the end, behind what are no sums")
    if op not in MIDDLE:
        raise node.fail(
            "stands behind the last sums and makes some of them equal, so that the index chooses the class; "
            "remove it from the end of the network"
        )
    if walk.index[0].size == 1:
        walk.binary = True
        walk.notes.append(
            f"{node.label} of one output is left out: class 1 where its score is above 0, else class 0; the "
            "network's score of class 0 is 0"
        )
    else:
        walk.notes.append(f"{node.label} is left out: it does not change the order of the scores")
    walk.ends.append(node)


def mean_of_sums(walk: Walk, node: Node) -> None:
    """Take a `MEAN` node behind a convolution without a sign.

    A convolution of 1 x 1 and the sum over all positions can change places: the sums of the bits come first.
    """
    stage = walk.stage
    if stage.form.bent is not None:
        raise node.fail(
            f"averages behind {stage.form.bent.label}, which bends the sums; only affine maps may come before"
        )
    if stage.placed is not None:
        raise stage.placed.fail(
            f"has a value for each place of a map that {node.label} averages, where only one for each "
            "channel can be folded; average first, or add the constant's own average behind it"
        )
    window: Window | None = stage.node.attributes.get("window")
    if stage.node.op != CONV or window is None or stage.pool is not None or stage.reads.sums:
        raise node.fail("averages sums that are no map of a convolution; average behind the sign")
    outputs = len(stage.node.attributes["weights"])
    map_shape = (*window.size, outputs)
    expected = places(map_shape, len(walk.index), channels_last=False)
    if node.attributes["axes"] != (2, 3) or not np.array_equal(walk.index, expected):
        raise node.fail("must average height and width of (batch, channels, height, width)")
    if stage.reads.giver is None:
        raise node.fail(
            f"averages the sums of {stage.node.label}, which reads the image; only sums of bits can be "
            "added up over positions"
        )
    if window.kernel != (1, 1) or window.stride != (1, 1) or any(stage.padding):
        raise node.fail(
            f"averages the sums of {stage.node.label}, a convolution of {window.kernel[0]} x "
            f"{window.kernel[1]} with stride {window.stride} and padding {stage.padding}; the device adds up "
            "bits over positions, not sums, and only 1 x 1 without padding gives the same; average behind "
            "the sign, or use a kernel of 1 x 1"
        )
    _swap(stage, node)
    walk.name(node, "average")
    walk.index = places((outputs,), len(walk.index), channels_last=True)
    if node.attributes["keepdims"]:
        walk.index = walk.index[:, :, np.newaxis, np.newaxis]


def _swap(stage: Stage, node: Node) -> None:
    """Make the stage a product that reads global sums of the bits in front of it."""
    reads: Levels = stage.reads
    height, width, channels = reads.shape
    stage.reads = replace(reads, shape=(channels,), sums=True, mean=node.name)
    weights = stage.node.attributes["weights"].reshape(-1, channels)
    attributes = {**stage.node.attributes, "weights": weights, "source": stage.node.attributes["source"]}
    del attributes["window"]
    stage.node = Node(DENSE, stage.node.name, stage.node.inputs, stage.node.outputs, attributes)
    stage.form = stage.form.divided(height * width)


def spread(stages: Sequence[Stage]) -> None:
    """Let hidden products of averages read the map itself: the same weights at every position.

    Only the last layer can read global sums, and it needs no more weights for them.
    """
    for stage in stages:
        reads = stage.reads
        if not reads.sums:
            continue
        weights = stage.node.attributes["weights"]
        area = reads.places[0].size // weights.shape[1]
        elements((len(weights), area * weights.shape[1]), stage.node.label)
        attributes = {**stage.node.attributes, "weights": np.tile(weights, (1, area))}
        stage.node = replace(stage.node, attributes=attributes)
        stage.reads = replace(reads, shape=(reads.places[0].size,), sums=False, mean="")
        stage.folded.append(f"average, as the same weights at {area} positions")
