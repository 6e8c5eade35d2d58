"""A threshold per position and channel: what a batch norm between a flatten and a dense layer asks of a map.

A convolution has one threshold per channel. One with several is emitted as several channels, one for each
threshold that differs, twice each. The dense layer behind reads, at each place, both copies of the right
channel with its weight; all other copies it reads with +1 and -1, which cancel. Its sums are twice what
they were, its thresholds too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import NetworkError
from ...folding.fold import ALWAYS, NEVER
from ...model.layers import Conv2d, Dense
from ...model.limits import MAX_SIZE
from .graph import Node
from .integers import LOWEST
from .signal import Stage
from .walk import Walk
from .weights import CONV

LISTS = ("scale", "offset", "gamma", "beta", "mean", "variance")
"""Attributes of nodes that hold one value per place."""


def placewise(walk: Walk, node: Node) -> Node:
    """Return a node whose lists are per channel of the product, or per place of its map in network order.

    The second is so behind a flatten, or of a constant for each place; the stage's form then has one map
    per place.

    Raises
    ------
    ImportFailedError
        If it is neither.
    """
    stage, order = walk.stage, walk.index[0]
    channels = len(stage.node.attributes["weights"])
    lists = {key: node.attributes[key] for key in LISTS if key in node.attributes}
    flat = stage.node.op == CONV and order.ndim == 1 and order.size > channels
    if not flat and max(map(len, lists.values())) <= channels:
        walk.channelwise(node)
        return node
    if all(len(set(values)) == 1 for values in lists.values()) and not stage.placed:
        return replace(
            node, attributes={**node.attributes, **{k: v[:1] * channels for k, v in lists.items()}}
        )
    if not stage.placed:
        positions = order.size // channels
        stage.form, stage.placed = stage.form.repeated(positions), node
    for key, values in lists.items():
        if len(values) > 1:
            lists[key] = [value for _, value in sorted(zip(order.ravel().tolist(), values, strict=True))]
    return replace(node, attributes={**node.attributes, **lists})


def every_place(stage: Stage) -> Stage:
    """Return the stage with a row of weights for each place of its map, in network order."""
    weights = stage.node.attributes["weights"]
    window = stage.pool or stage.node.attributes["window"]
    rows = np.tile(weights, (prod(window.size), 1, 1, 1))
    node = replace(stage.node, attributes={**stage.node.attributes, "weights": rows})
    return replace(stage, node=node)


@dataclass(frozen=True)
class Copies:
    """How the bits of all places are emitted.

    Attributes
    ----------
    layer : Conv2d
        It emits all channels at all positions.
    right : array of int, shape (places,)
        By place, the number of the emitted bit that holds its value.
    complement : array of bool, shape (places,)
        Whether it holds the other value.
    doubled : bool
        Every emitted channel is there twice.
    positions : int
        Of the map.
    """

    layer: Conv2d
    right: NDArray[np.int64]
    complement: NDArray[np.bool_]
    doubled: bool
    positions: int

    def values(self, emitted: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the bits of the places, from what the network emits, shape (n, bits)."""
        return emitted[:, self.right].astype(np.bool_) ^ self.complement

    def read(self, layer: Dense) -> Dense:
        """Return the dense layer that reads what is emitted; its sums are twice as large if `doubled`.

        Raises
        ------
        NetworkError
            If the negative of a weight has more than 8 bits.
        """
        signs = np.where(self.complement, -1, 1).astype(np.int8)
        if (layer.weights[:, self.complement] == LOWEST).any():
            raise NetworkError(
                f"has weights of {LOWEST}, whose negatives 8 bits do not hold, for values of a map that it "
                "reads complemented (a threshold for each place, and some fall); use narrow weights"
            )
        weights = np.empty((layer.outputs, self.positions * self.layer.outputs), np.int8)
        weights[:, 0::2], weights[:, 1::2] = 1, -1
        weights[:, self.right] = layer.weights * signs
        thresholds = layer.thresholds
        if self.doubled:
            weights[:, self.right + 1] = weights[:, self.right]
            thresholds = None if thresholds is None else np.clip(2 * thresholds, ALWAYS, NEVER)
        return Dense(weights, thresholds, layer.name)


def copies(stage: Stage, rows: Conv2d, mask: NDArray[np.bool_]) -> Copies:
    """Merge the rows of all places that are equal.

    Parameters
    ----------
    stage : Stage
    rows : Conv2d
        One output for each place.
    mask : array of bool, shape (places,)
        Whether a row holds the other value.

    Raises
    ------
    ImportFailedError
        If more channels would be needed than a dense layer can read.
    """
    assert rows.thresholds is not None and stage.placed is not None
    base = stage.node.attributes["weights"]
    channels, positions = len(base), len(mask) // len(base)
    taps, bits = base[0].size, stage.reads.bits
    reach = int(np.abs(base.reshape(channels, -1), dtype=np.int64).sum(axis=1).max()) * stage.reads.most
    known: dict[tuple[int, bool, int], int] = {}
    numbers, complement = np.empty(len(mask), np.int64), mask.copy()
    # Bits that nothing pools may be emitted as their complement: -s >= T is not s >= 1 - T.
    turns = stage.pool is None
    odd = bits == 1 and not any(stage.padding) and bool((np.abs(base) == 1).all())
    for place, threshold in enumerate(rows.thresholds.tolist()):
        channel = place % channels
        negative = bool((rows.weights[place] != base[channel]).any())
        if negative and turns:
            threshold, negative = 1 - threshold, False
            complement[place] ^= True
        threshold = min(max(threshold, -reach), reach + 1)
        if odd:  # sums have the parity of the taps
            threshold += (threshold - taps) % 2
        numbers[place] = known.setdefault((channel, negative, threshold), len(known))
    doubled = len(known) > channels or any(key[0] != index for index, key in enumerate(known))
    count = len(known) * (2 if doubled else 1)
    if positions * count > MAX_SIZE:
        raise stage.placed.fail(
            f"has a threshold for each of {positions} positions: {channels} channels become {len(known)}, "
            f"twice each, {positions * count} values of the layer behind, the limit is {MAX_SIZE}; normalise "
            "in front of the flatten, by channel"
        )
    keys = np.array([(channel, negative) for channel, negative, _ in known])
    weights = base[keys[:, 0]] * np.where(keys[:, 1], -1, 1).astype(np.int8)[:, None, None, None]
    limits = np.array([threshold for *_, threshold in known])
    if doubled:
        weights, limits, numbers = np.repeat(weights, 2, axis=0), np.repeat(limits, 2), 2 * numbers
    layer = Conv2d(
        weights, limits, stride=rows.stride, padding=rows.padding, pad_value=rows.pad_value, name=rows.name
    )
    right = np.arange(len(mask)) // channels * count + numbers
    return Copies(layer, right, complement, doubled, positions)
