"""Pass: fold each stage into an integer layer, absorb complements, and make the network and its report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError, NetworkError
from ...folding.complement import absorb_complements
from ...model.layers import Add, Concat, Conv2d, Dense, GlobalSum, InputSpec, Layer, MaxPool2d, has_weights
from ...model.network import Network, Node
from ..outcome import LayerReport
from .image import Image
from .placed import Copies, copies, every_place
from .scores import scores_affine, two_classes
from .shortcuts import solved
from .signal import Joined, Levels, Stage
from .solve import reachable, unturned
from .stages import Cut
from .turning import turning


@dataclass
class Built:
    """A network, and how its layers belong to the source.

    Each stage is a layer with weights, one more that turns channels around (`Stage.turned`) if it has such, a
    pooling, if it has one, and once more such a layer (`Stage.restored`).

    Attributes
    ----------
    network : Network
    stages : list of Stage
    masks : list of array of bool
        For each stage, the channels whose bits the network holds complemented.
    last : list of int
        For each stage, the index of its last layer.
    reports : tuple of LayerReport
    emitted : list of Copies or None
        For each stage, how it emits a map with a threshold per position.
    """

    network: Network
    stages: list[Stage]
    masks: list[NDArray[np.bool_]]
    last: list[int]
    reports: tuple[LayerReport, ...]
    emitted: list[Copies | None]

    def held(self, number: int, found: NDArray[Any]) -> NDArray[Any]:
        """Return what a stage gives, as `Levels.held` does, from the network's, shape (n, values)."""
        copies, mask = self.emitted[number], self.masks[number]
        if self.stages[number].stairs is not None:
            return found
        if copies is not None:
            return copies.values(found)
        return found.astype(np.bool_) ^ np.resize(mask, found.shape[1])


def build(cut: Cut, image: Image, name: str, metadata: dict[str, Any]) -> Built:
    """Fold every stage and make the network.

    Raises
    ------
    ImportFailedError
        Names the node of the layer and the reason.
    """
    graph = _Layers()
    layers, reports = graph.layers, graph.reports
    masks: dict[int, NDArray[np.bool_]] = {}
    stage_masks, last, emitted = [], [], []
    spread: Copies | None = None
    before = [None, *cut.stages[:-1]]
    chain = all(stage.reads.giver is one for stage, one in zip(cut.stages, before, strict=True))
    for number, stage in enumerate(cut.stages):
        final = number == len(cut.stages) - 1
        if stage.gives is None and not final:
            raise stage.node.fail("has no sign behind it")
        try:
            layer, mask, spread = _layer(
                stage, spread, f"{'dense' if stage.node.op == 'Dense' else 'conv'}{number}"
            )
        except NetworkError as error:
            raise stage.node.fail(str(error)) from None
        if spread is not None and not (number + 1 < len(cut.stages) and _alone(cut, number)):
            assert stage.placed is not None
            raise stage.placed.fail(
                "has a value for each place of a map, but a layer stores one threshold for each channel; "
                "only a dense layer can follow such a map and its sign"
            )
        emitted.append(spread)
        read = graph.value(stage.reads, number)
        value = graph.add(layer, (read,), _report(stage, layer, len(layers), image))
        if stage.turned:
            value = graph.turn(value, layer, stage, f"turn{number}", "with weights of -128 that fall")
        masks[len(layers) - 1] = mask
        if stage.pool is not None:
            assert stage.pooling is not None
            if stage.gives is None:
                raise stage.pooling.fail("pools sums that have no sign behind them; scores cannot be pooled")
            pool = MaxPool2d(stage.pool.kernel, stage.pool.stride, f"pool{number}", stage.pool_padding)
            padding = "-1" if any(pool.padding) else None
            report = _other(pool, "maxpool2d", pool.window, (stage.pooling.name,), padding)
            value = graph.add(pool, (value,), report)
        if mask.any() and not chain:
            # Only in a chain the layer behind can read complements as they are.
            stage.restored, mask = np.flatnonzero(mask).tolist(), np.zeros_like(mask)
            value = graph.turn(value, layer, stage, f"turned{number}", "that fall behind a pooling")
        graph.given[id(stage)] = value
        last.append(len(layers) - 1)
        stage_masks.append(mask)
    scale, offset = scores_affine(cut.stages[-1], cut.levels)
    if len(emitted) > 1 and emitted[-2] is not None and emitted[-2].doubled and cut.stages[-1].gives is None:
        assert has_weights(layers[-1])
        scale = (np.ones(layers[-1].outputs) if scale is None else scale) / 2
    if cut.binary:
        layers[-1], scale, offset = two_classes(layers[-1], scale, offset)
        masks[len(layers) - 1] = np.zeros(2, np.bool_)
        one = reports[-1]
        reports[-1] = replace(one, shape=(2, *one.shape[1:]), memory_bits=2 * one.memory_bits)
    try:
        whole = absorb_complements(layers, masks) if chain else graph.nodes
        network = Network(
            name, InputSpec(image.levels.shape, image.levels.bits), whole, scale=scale, offset=offset,
            metadata=metadata,
        )  # fmt: skip
    except NetworkError as error:
        raise _named(str(error), cut) from None
    return Built(network, cut.stages, stage_masks, last, tuple(reports), emitted)


class _Layers:
    """Layers so far, what they read, and which values stages and additions give.

    Attributes
    ----------
    layers : list of Layer
    reads : list of tuple of int
        Numbers of values.
    reports : list of LayerReport
    given : dict of int to int
        By the identity of a `Stage` or `Joined`, its value.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.reads: list[tuple[int, ...]] = []
        self.reports: list[LayerReport] = []
        self.given: dict[int, int] = {}

    @property
    def nodes(self) -> list[Node]:
        """The layers with what they read."""
        return [Node(layer, read) for layer, read in zip(self.layers, self.reads, strict=True)]

    def turn(self, value: int, layer: Dense | Conv2d, stage: Stage, name: str, why: str) -> int:
        """Append a layer that turns channels of a stage around; return the number of its value."""
        channels = stage.restored or stage.turned
        turn = turning(layer, channels, name, stage.node.label)
        report = _other(turn, type(turn).__name__.lower(), turn.weights.shape, (stage.node.name,))
        folded = f"{len(channels)} channels {why}, turned around"
        return self.add(turn, (value,), replace(report, folded=(folded,)))

    def add(self, layer: Layer, reads: tuple[int, ...], report: LayerReport) -> int:
        """Append a layer; return the number of its value."""
        self.layers.append(layer)
        self.reads.append(reads)
        self.reports.append(report)
        return len(self.layers)

    def value(self, levels: Levels, number: int) -> int:
        """Return the number of the value that stage `number` reads; make the layers that join and average."""
        giver = levels.giver
        if isinstance(giver, Joined) and id(giver) not in self.given:
            parts = [self.value(part, number) for part in giver.parts]
            # What reads sums of bits has weights for each of them.
            counts = (1,) * len(parts) if giver.bits else giver.times
            reads = sum(((part,) * times for part, times in zip(parts, counts, strict=True)), ())
            kind = "concat" if giver.bits else giver.node.op.lower()
            name = f"{kind}{len(self.layers)}"
            layer = Concat(name) if kind == "concat" else Add(name, giver.offset, giver.most)
            report = _other(layer, kind, (), (giver.node.name,))
            if giver.bits:
                report = replace(report, folded=("an addition, as weights of what reads it",))
            if len(reads) > len(parts):
                report = replace(report, folded=(f"scales of {' to '.join(map(str, giver.times))}",))
            self.given[id(giver)] = self.add(layer, reads, report)
        value = 0 if giver is None else self.given[id(giver)]
        if levels.sums:
            layer = GlobalSum(f"sum{number - 1}")
            value = self.add(layer, (value,), _other(layer, "globalsum", (), (levels.mean,)))
        return value


def _alone(cut: Cut, number: int) -> bool:
    """Whether the next stage, a dense layer, alone reads what a stage gives, as it is."""
    stage, following = cut.stages[number : number + 2]
    readers = [one for one in cut.stages if one.reads.giver is stage]
    return readers == [following] and not following.reads.sums and following.node.op == "Dense"


def _layer(
    stage: Stage, read: Copies | None, name: str
) -> tuple[Dense | Conv2d, NDArray[np.bool_], Copies | None]:
    """A stage's layer, the channels that it emits complemented, and how it emits a map of many thresholds."""
    if stage.placed is not None and stage.stairs is not None:
        raise stage.placed.fail(
            "has a value for each place of a map, in front of a quantiser of several bits, which has "
            "thresholds for each channel; normalise in front of the flatten, by channel"
        )
    if stage.placed is None or stage.gives is None:
        layer, mask = _fold(stage, name)
        return layer if read is None or not isinstance(layer, Dense) else read.read(layer), mask, None
    every = every_place(stage)
    rows, mask = _fold(every, name)
    if stage.pool is not None:
        unturned(every, stage.placed)
    mask[every.turned] ^= True
    assert isinstance(rows, Conv2d)
    spread = copies(stage, rows, mask)
    channels = len(stage.node.attributes["weights"])
    stage.folded.append(f"thresholds per position, {channels} channels as {spread.layer.outputs}")
    return spread.layer, np.zeros(spread.layer.outputs, np.bool_), spread


def _named(message: str, cut: Cut) -> ImportFailedError:
    """A message about one of the network's layers, about the source's node and in its words."""
    place, _, reason = message.partition(": ")
    reason = reason.replace("window is", "kernel_shape is").replace("stride is", "strides is")
    for number, stage in enumerate(cut.stages):
        kind = "dense" if stage.node.op == "Dense" else "conv"
        here = f"'{kind}{number}'" in place
        if stage.pooling is not None and (f"'pool{number}'" in place or (here and "is pooled" in reason)):
            return stage.pooling.fail(reason)
        if here or f"'sum{number}'" in place:
            return stage.node.fail(reason)
    return ImportFailedError(message)


def _fold(stage: Stage, name: str) -> tuple[Dense | Conv2d, NDArray[np.bool_]]:
    weights, thresholds = stage.node.attributes["weights"], None
    mask = np.zeros(len(weights), np.bool_)
    if stage.gives is not None:
        weights, thresholds, mask = solved(stage)
    if stage.node.op == "Dense":
        return Dense(weights, thresholds, name=name), mask
    return (
        Conv2d(
            weights, thresholds, stride=stage.node.attributes["window"].stride, padding=stage.padding,
            pad_value=stage.pad_value, name=name,
        ),
        mask,
    )  # fmt: skip


def _report(stage: Stage, layer: Dense | Conv2d, index: int, image: Image) -> LayerReport:
    table, steps = stage.table, layer.steps
    if table is None:
        zero = "none"
    elif table[1] in (table[0], table[2]):
        zero = "+1" if table[1] == table[2] else "-1"
    else:
        zero = "0, not reachable"
    rows = layer.weights.reshape(layer.outputs, -1)
    bound = max(max(-low, high) for low, high, _ in (reachable(stage, row) for row in rows))
    sign = 1 if stage.reads.scale > 0 else -1
    padding = None
    if any(stage.padding):
        padding = {0: "zero", 1: "+1", -1: "-1"}.get(stage.pad_value, "")
        if stage.reads.bits > 1 and stage.pad_value:
            value = stage.reads.offset + stage.pad_value * stage.reads.scale
            padding = f"{float(value):g}" if value else "zero"
    falling = sum(stage.form.slope(channel) * sign <= 0 for channel in range(stage.channels))
    bits = layer.weight_width, stage.reads.bits, steps.bit_length()
    return LayerReport(
        layer.name, type(layer).__name__.lower(), tuple(dict.fromkeys(stage.nodes)),
        layer.weights.shape, zero, falling, stage.pool_order, padding, tuple(stage.folded), bound,
        layer.weight_bits + 32 * layer.outputs * steps, bits,
    )  # fmt: skip


def _other(
    layer: Any, kind: str, shape: tuple[int, ...], nodes: tuple[str, ...], padding: str | None = None
) -> LayerReport:
    return LayerReport(layer.name, kind, nodes, shape, "none", 0, None, padding, (), 0, 0)
