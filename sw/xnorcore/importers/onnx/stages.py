"""Pass: cut the graph into stages, each a product with everything up to its sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .bends import MONOTONE
from .between import affine, mean, monotone, norm, pool
from .bitsums import over_bits
from .canonical import AFFINE, MEAN, NORM, POOL
from .chain import ENDS
from .evaluate import MOVES
from .graph import FIXED, Graph, Node
from .joins import JOINS, QUANTISERS, compared, handed_on
from .reading import conv, dense, pad, quantised
from .signal import Levels
from .signs import end, step
from .stairs import stairs
from .steps import STEP
from .tails import spread, tail
from .walk import Cut, Walk
from .weights import CONV, DENSE

__all__ = ["Cut", "cut"]

_HANDLERS: dict[str, Callable[[Walk, Node], None]] = {
    DENSE: dense, CONV: conv, "Pad": pad, AFFINE: affine, NORM: norm, POOL: pool, MEAN: mean,
    MONOTONE: monotone, STEP: step, "Quant": stairs, "IntQuant": stairs, "MultiThreshold": stairs,
}  # fmt: skip


def cut(graph: Graph, nodes: Sequence[Node], image: Levels) -> Cut:
    """Cut a graph into stages.

    Parameters
    ----------
    graph : Graph
    nodes : sequence of Node
        Those that follow the image, each behind what it reads.
    image : Levels

    Raises
    ------
    ImportFailedError
        Names the node that cannot run exactly, and why.
    """
    walk = Walk(graph, image)
    readers = graph.readers.get(image.tensor, [])
    if image.bits > 1 and len(readers) > 1 and _compared(image.tensor, graph):
        # A device adds nothing to an image, and takes no signs of it.
        handed_on(walk, readers[0], selects=True)
        quantised(walk, readers[0])
    walks = {image.tensor: walk}
    for number, node in enumerate(nodes):
        walk = _behind(node, graph, walks)
        last = all(later.op in ENDS or later.op in MOVES for later in nodes[number + 1 :])
        if node.op in JOINS and walk.scores == node.outputs[0]:
            continue
        if node.op == MONOTONE and last and walk.levels is None:
            tail(walk, node)
        elif node.op in ENDS:
            end(walk, node)
        elif walk.ends:
            if node.op not in MOVES:
                raise node.fail(f"follows {walk.ends[0].label}, which must be last")
        elif node.op in MOVES:
            walk.move(node)
        elif node.op in _HANDLERS:
            if not compared(walk, node):
                _HANDLERS[node.op](walk, node)
            walk.scores = node.outputs[0]
        else:
            raise node.fail(_why(node, walk))
    if graph.tailed and walk.levels is not None and walk.levels.sums:
        handed_on(walk, nodes[-1])
    found = walk.finish()
    spread(found.stages[:-1])
    for stage in found.stages:
        over_bits(stage)
    return found


def _compared(name: str, graph: Graph) -> bool:
    """Whether something is added to a tensor or to a part of it, or signs are taken."""
    readers = graph.readers.get(name, [])
    parts = [node for node in readers if node.op in MOVES or node.attributes.get("selects")]
    return any(node.op in ("Add", STEP) for node in readers) or any(
        _compared(one.outputs[0], graph) for one in parts
    )


def _behind(node: Node, graph: Graph, walks: dict[str, Walk]) -> Walk:
    """Return the walk that has reached a node: that of what it reads, or one along a path of its own."""
    found = []
    for name in node.inputs:
        if name in walks:
            walk = walks[name]
            if len(graph.readers[name]) > 1:
                if walk.levels is None and node.op in (STEP, *QUANTISERS):
                    raise node.fail(
                        f"reads the sums of {walk.stage.node.label}, which another branch reads as well; "
                        "branch behind one sign or quantiser, and multiply its values in both or in none; a "
                        f"shortcut of real numbers can be imported in fixed point ({FIXED})"
                    )
                quantised(walk, node)
                walk = walk.fork()
            found.append(walk)
    walk = JOINS[node.op](found, node) if len(found) > 1 else found[0]
    walks |= dict.fromkeys(filter(None, node.outputs), walk)
    return walk


def _why(node: Node, walk: Walk) -> str:
    if node.op in ("Add", "Sub", "Mul", "Div"):
        return "has a constant that differs within a channel, which cannot be folded"
    if node.op == "Where" and walk.last:
        return "gives values that differ from channel to channel; one-bit activations have two values for all"
    if node.op == "Concat":
        return "puts constants beside values, which is not supported"
    if node.op in ("MatMul", "Gemm", "Conv"):
        return "has no constant weights"
    if node.op in ("Round", "Floor", "Ceil"):
        return "rounds to more than two values, or to one; write it as a Quant node, or a sign"
    if node.op in ("HardSwish", "Mish", "Gelu", "Sin", "Cos", "Elu", "Selu", "Celu"):
        return (
            "falls and rises, so that no threshold of the sum can stand for it and the sign behind it; use a "
            "function that rises, as Relu, Clip or Tanh"
        )
    return (
        "is not supported at this place; between a product and its sign, only affine maps, functions that "
        "rise, and pooling are"
    )
