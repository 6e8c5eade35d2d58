"""Pass: cut the chain into stages, each a product with everything up to its sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...validate import brief
from .canonical import AFFINE, CONV, DENSE, MEAN, MONOTONE, NORM, POOL
from .chain import ENDS
from .evaluate import MOVES, moved
from .graph import Graph, Node
from .shapes import Window, pad_widths, top_k
from .signal import Form, Levels, Stage, places
from .steps import STEP


@dataclass
class Cut:
    """The stages of a network and what stands behind the last.

    Attributes
    ----------
    stages : list of Stage
    ends : list of Node
        Nodes of `ENDS`.
    scores : str
        Tensor of the source with the scores, or the last bits.
    index : array of int
        For each place of that tensor, batch first, the place in network order.
    notes : list of str
    """

    stages: list[Stage]
    ends: list[Node]
    scores: str
    index: NDArray[np.int64]
    notes: list[str]


def cut(graph: Graph, nodes: Sequence[Node], image: Levels) -> Cut:
    """Cut a chain, whose nodes follow the image, into stages.

    Raises
    ------
    ImportFailedError
        Names the node that cannot run exactly, and why.
    """
    walk = _Walk(graph, image)
    for node in nodes:
        walk.take(node)
    return walk.finish()


class _Walk:
    """The state behind the nodes taken so far: levels, or the sums of a stage that has no sign yet."""

    def __init__(self, graph: Graph, image: Levels) -> None:
        self.graph = graph
        self.levels: Levels | None = image
        self.stages: list[Stage] = []
        self.ends: list[Node] = []
        self.notes: list[str] = []
        self.index = image.index
        self.scores = image.tensor
        self.pending: list[str] = []
        self.handlers = {
            DENSE: self._dense, CONV: self._conv, AFFINE: self._affine, NORM: self._norm, POOL: self._pool,
            MEAN: self._mean, MONOTONE: self._monotone, STEP: self._step, "Pad": self._pad,
        }  # fmt: skip

    @property
    def stage(self) -> Stage:
        """The stage that is being taken."""
        return self.stages[-1]

    def take(self, node: Node) -> None:
        """Take the next node."""
        if node.op in ENDS:
            self._end(node)
        elif self.ends:
            if node.op not in MOVES:
                raise node.fail(f"follows {self.ends[0].label}, which must be last")
        elif node.op in MOVES:
            self.pending.append(node.name)
            constants = [self.graph.constants[name] for name in node.inputs[1:] if name]
            self.index = moved(node, [self.index, *constants], self.graph.opset)
            if self.levels is not None:
                self.levels = replace(self.levels, index=self.index)
            else:
                self._name(node)
                self.scores = node.outputs[0]
        elif node.op in self.handlers:
            self.handlers[node.op](node)
            self.scores = node.outputs[0]
        else:
            raise node.fail(self._why(node))

    def _why(self, node: Node) -> str:
        if node.op in ("Quant", "IntQuant", "MultiThreshold"):
            return "quantises to more than one bit between layers; activations must be one bit"
        if node.op in ("Add", "Sub", "Mul", "Div"):
            return "has a constant that differs within a channel, which cannot be folded"
        if node.op in ("MatMul", "Gemm", "Conv"):
            return "has no constant weights"
        return "is not supported at this place; between a product and its sign, only affine maps and pooling are"

    def finish(self) -> Cut:
        """Return the stages."""
        if not self.stages:
            raise ImportFailedError("the graph has no layer with weights")
        if self.levels is not None and self.levels.sums:
            raise ImportFailedError("the graph ends with an average; a product must follow it")
        if self.levels is not None and self.pending:
            self.stage.nodes.extend(self.pending)
        return Cut(self.stages, self.ends, self.scores, self.index, self.notes)

    # Products.

    def _reading(self, node: Node) -> Levels:
        if self.levels is None:
            raise node.fail(
                f"reads the sums of {self.stage.node.label} without a sign in between; activations must be one bit"
            )
        return self.levels

    def _dense(self, node: Node) -> None:
        reads = self._reading(node)
        if reads.pads:
            raise node.fail("reads padded values; padding can only stand before a convolution")
        if self.index.ndim != 2:
            raise node.fail(f"reads a tensor of {self.index.ndim} axes, but must read (batch, values)")
        order = self.index[0]
        weights = np.empty_like(node.attributes["weights"])
        weights[:, order] = node.attributes["weights"]
        self._begin(node, reads, weights, (0, 0, 0, 0), 0)
        self.index = places((len(weights),), len(self.index), channels_last=True)

    def _conv(self, node: Node) -> None:
        reads = self._reading(node)
        if len(reads.shape) != 3 or reads.sums:
            raise node.fail("reads values that are no map")
        batch = len(self.index)
        if not np.array_equal(self.index, places(reads.shape, batch, channels_last=False)):
            raise node.fail("reads a map whose axes were permuted; it must be (batch, channels, height, width)")
        window: Window = node.attributes["window"]
        padding, value = window.padding, Fraction(0)
        if reads.pads:
            if any(padding) and reads.pads[1]:
                raise node.fail("pads with 0 what is padded with another value already")
            padding = tuple(a + b for a, b in zip(padding, reads.pads[0], strict=True))
            value = reads.pads[1]
        pad = _pad_value(node, reads, value) if any(padding) else 0
        self._begin(node, reads, node.attributes["weights"], padding, pad)
        shape = (*window.size, len(node.attributes["weights"]))
        self.index = places(shape, batch, channels_last=False)

    def _begin(self, node: Node, reads: Levels, weights: Any, padding: Any, pad: int) -> None:
        scale, bias = node.attributes["scale"], node.attributes["bias"]
        sums = weights.reshape(len(weights), -1).sum(axis=1, dtype=np.int64).tolist()
        form = Form.of(
            [value * reads.scale for value in scale],
            [value * reads.offset * total for value, total in zip(scale, sums, strict=True)],
        )
        folded = []
        if bias is not None:
            form.affine([Fraction(1)], bias)
            folded.append("bias")
        if any(value != 1 for value in scale):
            folded.append("weight scale")
        if (reads.scale, reads.offset) != (1, 0):
            folded.append("input scale and offset" if reads.offset else "input scale")
        attributes = {**node.attributes, "weights": weights}
        made = Node(node.op, node.name, node.inputs, node.outputs, attributes)
        stage = Stage(made, reads, form, padding, pad, [*self.pending, node.name], folded)
        stage.flips = [False] * len(weights)
        self.pending = []
        self.stages.append(stage)
        self.levels = None

    # Between a product and its sign, or behind it.

    def _name(self, node: Node, what: str = "") -> None:
        self.stage.nodes.append(node.name)
        if what and what not in self.stage.folded:
            self.stage.folded.append(what)
        if self.pending:
            self.pending = []

    def _open(self, node: Node) -> Stage:
        if self.stage.monotone is not None:
            raise node.fail(f"follows {self.stage.monotone.label}; only a sign may follow that")
        return self.stage

    def _channelwise(self, node: Node) -> None:
        """Check that axis 1 of the source tensor still is the channel of the product."""
        channels = len(self.stage.flips)
        places = self.index[0] % channels
        expected = np.arange(channels).reshape(-1, *(1,) * (places.ndim - 1))
        if len(places) != channels or (places != expected).any():
            raise node.fail("is not per channel of the product before it")

    def _affine(self, node: Node) -> None:
        scale, offset = node.attributes["scale"], node.attributes["offset"]
        if self.levels is None:
            stage = self._open(node)
            if len(scale) > 1 or len(offset) > 1:
                self._channelwise(node)
            self._name(node, "affine map")
            stage.form.affine(scale, offset)
            self._flip(stage, scale)
            return
        if len(scale) > 1 or len(offset) > 1:
            raise node.fail(
                "has one constant for each channel of what a product reads together, which cannot be folded"
            )
        if self.levels.pads:
            raise node.fail("stands between padding and convolution, which is not supported")
        if not scale[0]:
            raise node.fail("multiplies by 0")
        self.pending.append(node.name)
        self.levels = replace(
            self.levels, scale=self.levels.scale * scale[0], offset=self.levels.offset * scale[0] + offset[0]
        )

    def _norm(self, node: Node) -> None:
        if self.levels is not None:
            raise node.fail("is a batch norm of one-bit activations or of the image, which cannot be folded")
        stage = self._open(node)
        self._channelwise(node)
        self._name(node, "batch norm")
        stage.pool_order = stage.pool_order and "before batch norm"
        stage.form.norm(node)
        self._flip(stage, node.attributes["gamma"])

    def _flip(self, stage: Stage, scale: list[Fraction]) -> None:
        if stage.pool is not None:
            flips = [flip != (scale[i % len(scale)] < 0) for i, flip in enumerate(stage.flips)]
            stage.flips = flips

    def _monotone(self, node: Node) -> None:
        if self.levels is not None:
            raise node.fail("bends one-bit activations, which is not supported")
        self._name(node)
        self.stage.monotone = node

    def _pool(self, node: Node) -> None:
        window: Window = node.attributes["window"]
        if not self.stages:
            raise node.fail("pools the image, which is not supported")
        stage = self.stage
        if stage.node.op != CONV or stage.pool is not None or (self.levels is not None and stage.gives is None):
            raise node.fail("pooling must follow a convolution, once")
        height, width = window.size
        if self.index.ndim != 4:
            raise node.fail("does not pool a map")
        if self.levels is not None:
            if self.levels.scale < 0 or self.levels.pads or self.levels.sums:
                raise node.fail("pools values that are negated, padded or averaged, which is not supported")
            self._check_map(node, self.levels)
        elif not np.array_equal(self.index, _map_like(self.index)):
            raise node.fail("pools a map whose axes were permuted; it must be (batch, channels, height, width)")
        stage.pool, stage.pooled_first = window, self.levels is None
        stage.pool_order = "before sign" if stage.pooled_first else "after sign"
        shape = (height, width, self.index.shape[1])
        self.index = places(shape, len(self.index), channels_last=False)
        self._name(node)
        if self.levels is not None:
            levels = self.levels
            origin = (levels.scale, levels.offset)
            self.levels = replace(
                levels, tensor=node.outputs[0], shape=shape, index=self.index, places=self.index, origin=origin
            )
            stage.gives = self.levels

    def _check_map(self, node: Node, levels: Levels) -> None:
        if len(levels.shape) != 3 or not np.array_equal(
            levels.index, places(levels.shape, len(levels.index), channels_last=False)
        ):
            raise node.fail("reads a map whose axes were permuted; it must be (batch, channels, height, width)")

    def _mean(self, node: Node) -> None:
        levels = self.levels
        if levels is None or not self.stages:
            raise node.fail("averages what is not one bit; average behind the sign")
        if levels.pads or levels.sums or len(levels.shape) != 3:
            raise node.fail("averages values that are no map")
        if self.index.ndim != 4 or node.attributes["axes"] != (2, 3):
            raise node.fail("must average height and width of (batch, channels, height, width)")
        self._check_map(node, levels)
        area = levels.shape[0] * levels.shape[1]
        shape = (levels.shape[2],)
        self.index = places(shape, len(self.index), channels_last=True)
        if node.attributes["keepdims"]:
            self.index = self.index[:, :, np.newaxis, np.newaxis]
        self.pending.append(node.name)
        self.levels = replace(
            levels, scale=levels.scale / area, shape=shape, index=self.index, sums=True, places=levels.places
        )
        self.stage.mean = node.name

    def _pad(self, node: Node) -> None:
        levels = self.levels
        if levels is None or levels.sums or len(levels.shape) != 3 or self.index.ndim != 4 or levels.pads:
            raise node.fail("pads what is no map of one-bit values; pad behind the sign")
        self._check_map(node, levels)
        widths = pad_widths(node, self.index.shape, self.graph.constants)
        if any(map(any, widths[:2])):
            raise node.fail("pads the batch or the channels, which is not supported")
        value = Fraction(node.number("value", 0.0))
        if len(node.inputs) > 2 and node.inputs[2]:
            constant = self.graph.constants.get(node.inputs[2])
            if constant is None or constant.size != 1:
                raise node.fail("its value must be one constant")
            value = Fraction(float(constant.ravel()[0]))
        self.pending.append(node.name)
        # The map itself stays; the convolution pads it.
        self.levels = replace(levels, pads=((*widths[2], *widths[3]), value))

    def _step(self, node: Node) -> None:
        table = [Fraction(value) for value in node.attributes["table"].tolist()]
        if table[0] == table[2]:
            raise node.fail(f"gives {float(table[0]):g} on both sides of its threshold: no sign function")
        if self.levels is not None:
            self._again(node, table)
            return
        stage = self.stage
        low, high = min(table[0], table[2]), max(table[0], table[2])
        stage.table = np.array(table, dtype=object)
        for name in node.attributes["nodes"]:
            stage.nodes.append(name)
        scale, offset = (high - low) / 2, (high + low) / 2
        shape = self._result_shape(node)
        self.levels = stage.gives = Levels(
            node.outputs[0], scale, offset, 1, shape, self.index, origin=(scale, offset), places=self.index
        )

    def _result_shape(self, node: Node) -> tuple[int, ...]:
        if self.stage.node.op == DENSE:
            return (len(self.stage.flips),)
        window = self.stage.pool if self.stage.pooled_first and self.stage.pool else None
        size = window.size if window else self.stage.node.attributes["window"].size
        return (*size, len(self.stage.flips))

    def _again(self, node: Node, table: list[Fraction]) -> None:
        """A sign of what is two values already."""
        levels = self.levels
        assert levels is not None
        if levels.bits != 1 or levels.sums or levels.pads:
            raise node.fail("is a sign of the image's integers, of averages or of padded values: not supported")
        low, high = (
            table[1 + (value > 0) - (value < 0)]
            for value in (levels.offset - levels.scale, levels.offset + levels.scale)
        )
        if low == high:
            raise node.fail(f"gives {float(low):g} for both values of the one-bit activations in front of it")
        self.pending.append(node.name)
        self.levels = replace(levels, scale=(high - low) / 2, offset=(high + low) / 2)

    # The end.

    def _end(self, node: Node) -> None:
        if not self.stages:
            raise node.fail("the graph has no layer with weights")
        if self.levels is not None:
            raise node.fail("chooses among one-bit outputs, where ties decide; end with scores")
        flat = self.index[0].ravel()
        if not np.array_equal(flat, np.arange(flat.size)):
            raise node.fail("chooses among outputs in an order that is not (channel)")
        rank = self.index.ndim
        default = 0 if node.op == "ArgMax" else (1 if node.op.endswith("oftmax") and self.graph.opset < 13 else -1)
        axis = node.integer("axis", default) % rank
        if self.index.shape[axis] != flat.size or rank < 2 or axis == 0:
            raise node.fail(f"works along axis {axis}, which does not hold the {flat.size} classes")
        if self.ends and self.ends[-1].op not in ("Softmax", "LogSoftmax"):
            raise node.fail(f"follows {self.ends[-1].label}")
        if node.op == "ArgMax" and node.integer("select_last_index", 0):
            raise node.fail("select_last_index gives ties to the highest index; classes go to the lowest here")
        if node.op == "TopK":
            k = top_k(node, self.graph.constants)
            if k < 1 or not node.integer("largest", 1) or not node.integer("sorted", 1):
                raise node.fail("must give the largest values, sorted")
            self.notes.append(f"{node.label} is left out; the class is the first of its indices")
        elif node.op == "ArgMax":
            self.notes.append(f"{node.label} is left out; the class is the largest score, ties to the lowest index")
        else:
            self.notes.append(f"{node.label} is left out: it does not change the order of the scores")
        self.ends.append(node)


def _map_like(index: Any) -> Any:
    batch, channels, height, width = index.shape
    return places((height, width, channels), batch, channels_last=False)


def _pad_value(node: Node, reads: Levels, value: Fraction) -> int:
    """The network's padding value for padding with a real value."""
    if value == reads.offset:
        return 0
    if reads.bits == 1 and abs(value - reads.offset) == abs(reads.scale):
        return 1 if (value > reads.offset) == (reads.scale > 0) else -1
    if reads.bits == 1:
        low, high = reads.offset - abs(reads.scale), reads.offset + abs(reads.scale)
        raise node.fail(
            f"pads with {float(value):g}, but its input is {float(low):g} or {float(high):g}: the padding must be "
            f"one of these, or {float(reads.offset):g}, which counts for nothing"
        )
    raise node.fail(
        f"pads with {float(value):g}, but the image's integer 0 stands for {float(reads.offset):g}; pad the image "
        f"with that value, or quantise without offset (brevitas: signed=False), or use no padding here"
    )
