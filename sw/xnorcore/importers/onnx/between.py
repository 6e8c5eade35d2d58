"""Between a product and its sign: affine maps, batch norm, pooling; behind it, averages and scale factors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .bends import values_behind
from .graph import Node
from .placed import placewise
from .reading import quantised
from .shapes import Window
from .signal import Levels, places
from .signs import renamed
from .tails import mean_of_sums
from .walk import Walk
from .weights import CONV


def affine(walk: Walk, node: Node) -> None:
    """Fold an `AFFINE` node: into the sums, or into what the values of one bit stand for."""
    scale, offset = node.attributes["scale"], node.attributes["offset"]
    if walk.levels is None:
        if len(scale) > 1 or len(offset) > 1:
            node = placewise(walk, node)
            scale, offset = node.attributes["scale"], node.attributes["offset"]
        walk.name(node, "affine map")
        walk.stage.form.affine(scale, offset, node)
        return
    if len(scale) > 1 or len(offset) > 1:
        if walk.last is None:
            raise node.fail(
                "gives each channel of the image its own scale or offset, in front of weights and without a "
                "quantiser, but the network's inputs are integers; quantise behind it (Quant, or a sign)"
            )
        raise node.fail(
            "has one constant for each channel of what a product reads together, which cannot be folded"
        )
    if walk.levels.pads:
        raise node.fail("stands between padding and convolution, which is not supported")
    if not scale[0]:
        raise node.fail("multiplies by 0")
    walk.pending.append(node.name)
    walk.levels = replace(
        walk.levels, scale=walk.levels.scale * scale[0], offset=walk.levels.offset * scale[0] + offset[0]
    )


def norm(walk: Walk, node: Node) -> None:
    """Fold a `NORM` node into the sums."""
    if walk.levels is not None:
        if walk.last is None:
            raise node.fail(
                "is a batch norm of the image in front of weights and without a quantiser, but the network's "
                "inputs are integers; quantise behind it (Quant, or a sign)"
            )
        raise node.fail(
            "is a batch norm of one-bit activations, which gives each channel other values than a product "
            "can read together; put it in front of the sign, or its factors into the weights behind"
        )
    node = placewise(walk, node)
    walk.name(node, "batch norm")
    walk.stage.pool_order = walk.stage.pool_order and "before batch norm"
    walk.stage.form.norm(node)


def monotone(walk: Walk, node: Node) -> None:
    """Take a `MONOTONE` node: in front of a sign a map, behind one two new values."""
    if walk.levels is None:
        function = node.attributes["function"]
        if function.wide:
            walk.channelwise(node)
        walk.name(node, node.label.split()[0])
        walk.stage.form.bend(node, function)
        return
    levels = walk.levels
    if levels.bits != 1 or levels.sums or levels.pads:
        raise node.fail("bends what is quantised to several bits, averages or padded values: not supported")
    low, high = values_behind(walk, node, (levels.offset - levels.scale, levels.offset + levels.scale))
    renamed(walk, node, low, high)


def pool(walk: Walk, node: Node) -> None:
    """Take a `POOL` node, before or behind the sign."""
    window: Window = node.attributes["window"]
    if walk.last is None:
        raise node.fail("pools the image, which is not supported")
    stage = walk.stage
    if stage.node.op != CONV or stage.pool is not None or (walk.levels is not None and stage.gives is None):
        raise node.fail("pooling must follow a convolution, once")
    if stage.placed is not None:
        raise stage.placed.fail(
            f"has a value for each place of a map that {node.label} pools, but a layer stores one threshold "
            "for each channel; only a dense layer can follow such a map and its sign"
        )
    height, width = window.size
    if walk.index.ndim != 4:
        raise node.fail("does not pool a map")
    padding = window.padding
    if walk.levels is not None:
        if walk.levels.scale < 0 or walk.levels.sums:
            raise node.fail("pools values that are negated or averaged, which is not supported")
        walk.check_map(node, walk.levels)
        padding = _padded(node, walk.levels, padding)
    elif not np.array_equal(walk.index, _map_like(walk.index)):
        raise node.fail("pools a map whose axes were permuted; it must be (batch, channels, height, width)")
    stage.pool, stage.pooled_first = window, walk.levels is None
    stage.pooling, stage.pool_padding = node, padding
    stage.form.pooled_at = len(stage.form.maps)
    stage.pool_order = "before sign" if stage.pooled_first else "after sign"
    shape = (height, width, walk.index.shape[1])
    walk.index = places(shape, len(walk.index), channels_last=False)
    walk.name(node)
    if walk.levels is not None:
        levels = walk.levels
        origin = (levels.scale, levels.offset)
        if walk.shared:
            raise node.fail(
                "pools values that another branch reads as they are; pool behind a layer of its own"
            )
        walk.levels = replace(
            levels,
            tensor=node.outputs[0],
            shape=shape,
            index=walk.index,
            places=walk.index,
            origin=origin,
            pads=(),
        )
        stage.gives = walk.levels


def _padded(node: Node, levels: Levels, padding: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """The padding of a pooling, with that of a Pad node in front: by the lower value, which never wins."""
    if not levels.pads:
        return padding
    pads, value = levels.pads
    if value != levels.offset - levels.scale:
        raise node.fail(
            f"pools values that are padded with {float(value):g}; only padding with their lower value, "
            f"{float(levels.offset - levels.scale):g}, never wins"
        )
    top, bottom, left, right = (a + b for a, b in zip(padding, pads, strict=True))
    return top, bottom, left, right


def mean(walk: Walk, node: Node) -> None:
    """Take a `MEAN` node: global sums, divided."""
    levels = walk.levels
    if levels is None:
        mean_of_sums(walk, node)
        return
    if walk.last is None:
        raise node.fail("averages what is not one bit; average behind the sign")
    levels = quantised(walk, node)
    if levels.pads or levels.sums or len(levels.shape) != 3:
        raise node.fail("averages values that are no map")
    if walk.index.ndim != 4 or node.attributes["axes"] != (2, 3):
        raise node.fail("must average height and width of (batch, channels, height, width)")
    walk.check_map(node, levels)
    area = levels.shape[0] * levels.shape[1]
    shape = (levels.shape[2],)
    walk.index = places(shape, len(walk.index), channels_last=True)
    if node.attributes["keepdims"]:
        walk.index = walk.index[:, :, np.newaxis, np.newaxis]
    walk.pending.append(node.name)
    walk.levels = replace(
        levels, scale=levels.scale / area, shape=shape, index=walk.index, sums=True, mean=node.name
    )


def _map_like(index: Any) -> Any:
    batch, channels, height, width = index.shape
    return places((height, width, channels), batch, channels_last=False)
