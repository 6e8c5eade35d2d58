"""The walk along a path of the graph: what is known behind each node, and the stages found so far."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from .evaluate import moved
from .graph import Graph, Node
from .signal import Joined, Levels, Stage, places


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
    levels : Levels or None
        What that tensor holds, unless it is sums.
    binary : bool
        One score says which of two classes: class 1 where it is above 0.
    """

    stages: list[Stage]
    ends: list[Node]
    scores: str
    index: NDArray[np.int64]
    notes: list[str]
    levels: Levels | None
    binary: bool = False


class Walk:
    """The state behind the nodes taken so far: levels, or the sums of a stage that has no sign yet.

    Parameters
    ----------
    graph : Graph
    image : Levels

    Attributes
    ----------
    levels : Levels or None
        None: the last stage has no sign yet.
    stages : list of Stage
        Of all paths.
    last : Stage or None
        The last one of this path.
    shared : bool
        Other paths have the values of the last stage, too.
    ends : list of Node
        Nodes that choose or rank classes.
    notes : list of str
    index : array of int
        As `Levels.index`, of the tensor that was computed last, also if it holds sums.
    scores : str
        That tensor.
    pending : list of str
        Source nodes that will belong to the next stage.
    binary : bool
        As in `Cut`.
    """

    def __init__(self, graph: Graph, image: Levels) -> None:
        self.graph = graph
        self.levels: Levels | None = image
        self.stages: list[Stage] = []
        self.last: Stage | None = None
        self.shared = False
        self.ends: list[Node] = []
        self.notes: list[str] = []
        self.index = image.index
        self.scores = image.tensor
        self.pending: list[str] = []
        self.binary = False

    @property
    def stage(self) -> Stage:
        """The stage that is being taken."""
        assert self.last is not None
        return self.last

    def begin(self, stage: Stage) -> None:
        """Take a product."""
        self.stages.append(stage)
        self.last, self.levels, self.pending, self.shared = stage, None, [], False

    def fork(self) -> Walk:
        """Return the walk along another path from here."""
        other = copy.copy(self)
        other.pending, other.shared = list(self.pending), True
        return other

    def move(self, node: Node) -> None:
        """Take a node that moves values: only the order of the values changes."""
        self.pending.append(node.name)
        constants = [self.graph.constants[name] for name in node.inputs[1:] if name]
        self.index = moved(node, [self.index, *constants], self.graph.opset)
        if self.levels is not None:
            behind = node.attributes.get("inserted") == "behind"
            self.levels = replace(self.levels, index=self.index)
            mine = self.last is not None and self.levels.giver is self.last
            if behind and mine and self.levels.tensor == node.inputs[0]:
                # The source has no tensor in front of a node that the importer put there.
                named = replace(self.levels, tensor=node.outputs[0], places=self.index)
                self.levels = self.stage.gives = named
        else:
            self.name(node)
            self.scores = node.outputs[0]

    def finish(self) -> Cut:
        """Return the stages."""
        if self.last is None:
            raise ImportFailedError("the graph has no layer with weights")
        if self.levels is not None and self.levels.sums:
            raise ImportFailedError("the graph ends with an average; a product must follow it")
        if self.levels is not None and isinstance(self.levels.giver, Joined):
            raise self.levels.giver.node.fail("ends the graph; a product must follow what joins branches")
        if self.levels is not None and self.pending:
            self.stage.nodes.extend(self.pending)
        return Cut(
            self.stages, self.ends, self.scores, self.index, self.notes, self.levels, self.binary
        )  # fmt: skip

    def name(self, node: Node, what: str = "") -> None:
        """Note a node as part of the stage, and what it folds."""
        self.stage.nodes.append(node.name)
        if what and what not in self.stage.folded:
            self.stage.folded.append(what)
        if self.pending:
            self.pending = []

    def channelwise(self, node: Node) -> None:
        """Check that axis 1 of a source tensor still is the channel of the product."""
        channels = len(self.stage.node.attributes["weights"])
        places = self.index[0] % channels
        expected = np.arange(channels).reshape(-1, *(1,) * (places.ndim - 1))
        if len(places) != channels or (places != expected).any():
            raise node.fail("is not per channel of the product before it")

    def check_map(self, node: Node, levels: Levels) -> None:
        """Check that a source tensor is (batch, channels, height, width) of the values' own map."""
        if len(levels.shape) != 3 or not np.array_equal(
            levels.index, places(levels.shape, len(levels.index), channels_last=False)
        ):
            raise node.fail(
                "reads a map whose axes were permuted; it must be (batch, channels, height, width)"
            )
