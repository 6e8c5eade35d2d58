"""The image: how what the framework reads becomes the network's input values, exactly and once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError, UsageError
from ...model.check import brief
from .evaluate import evaluate, integer_range, rounding
from .graph import Graph, Node
from .signal import Levels, places
from .steps import STEP

DECLARED = ("bipolar", "pixels", *(f"uint{n}" for n in range(1, 9)), *(f"int{n}" for n in range(2, 9)))
"""What the caller may say that an image without quantiser holds; ``pixels`` are uint8 divided by 255."""
QUANTISERS = (STEP, "Quant", "IntQuant", "MultiThreshold")


@dataclass(frozen=True)
class Image:
    """The way from the framework's input to the network's.

    Attributes
    ----------
    graph : Graph
        With the nodes that the host computes, as they are in the source; empty without quantiser.
    levels : Levels
        What the first product reads.
    kind : str
        One of `DECLARED`, or ``"quantised"``.
    text : str
        The same in words.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    levels: Levels
    kind: str
    text: str

    def values(self, x: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the network's images, shape (n, values), for inputs of the framework, shape (n, ...)."""
        batch = self.graph.input_shape[0]
        parts = []
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            fill = np.zeros((batch - len(part), *part.shape[1:]), x.dtype)
            full = self._compute(np.concatenate([part, fill]).astype(self.graph.input_type))
            parts.append(self.levels.values(full)[: len(part)])
        v = np.concatenate(parts) if parts else np.zeros((0, self.levels.places[0].size), np.int64)
        return ((v > 0) if self.levels.bits == 1 else v).astype(np.uint8)

    def _compute(self, x: NDArray[Any]) -> NDArray[Any]:
        known: dict[str, NDArray[Any]] = {self.graph.input: x}
        for node in self.nodes:
            arrays = [known.get(name, self.graph.constants.get(name)) for name in node.inputs]
            known[node.outputs[0]] = evaluate(node, arrays, self.graph.opset)
        return known[self.levels.tensor]

    def pixel(self, p: NDArray[Any]) -> NDArray[Any]:
        """Return what the framework reads for 8-bit pixels p: p itself for integers, else p / 255."""
        if self.graph.input_type.kind != "f" or self.graph.annotation.startswith("UINT"):
            return p.astype(self.graph.input_type)
        return (p / self.graph.input_type.type(255)).astype(self.graph.input_type)

    def table(self) -> NDArray[np.uint8] | None:
        """Return the network's value of each 8-bit pixel, or None if it depends on the place in the image."""
        if self.kind != "quantised":
            return np.arange(256, dtype=np.uint8) if self.kind in ("uint8", "pixels") else None
        shape = self.graph.input_shape[1:]
        result = np.empty(256, np.uint8)
        for p in range(256):
            values = self.values(np.broadcast_to(self.pixel(np.array(p)), (1, *shape)))
            if (values != values[0, 0]).any():
                return None
            result[p] = values[0, 0]
        return result


def image_of(graph: Graph, source: Graph, inputs: str | None) -> tuple[Image, Sequence[Node]]:
    """Return the image's rule, and the chain's nodes behind it.

    Parameters
    ----------
    graph : Graph
        A chain.
    source : Graph
        The same network after the pass `constants`: the host computes its nodes.
    inputs : str, optional
        One of `DECLARED`, for images that the graph does not quantise.

    Raises
    ------
    ImportFailedError
        If the image is real-valued, or its quantiser is not uniform.
    UsageError
        If `inputs` is none of `DECLARED`.
    """
    if inputs is not None and inputs not in DECLARED:
        raise UsageError(f"inputs is {brief(inputs)}, but must be one of {', '.join(DECLARED)}")
    shape, channels_last = _shape(graph)
    index = places(shape, graph.input_shape[0], channels_last=channels_last)
    index = index.reshape(graph.input_shape)
    for position, node in enumerate(graph.nodes):
        if node.op in ("Dense", "Conv2d"):
            break
        if node.op in QUANTISERS:
            scale, offset, bits, text = _quantiser(node, graph)
            before = _prefix(source, node.outputs[0])
            for earlier in graph.nodes[:position]:
                if earlier.op in ("Pool", "Mean", "Monotone") or earlier.op in (
                    "Pad",
                    "Softmax",
                    "ArgMax",
                    "TopK",
                ):
                    raise earlier.fail("stands before the first quantiser, where it is not supported")
            moved = _moved(graph.nodes[:position], graph, index)
            levels = Levels(
                node.outputs[0], scale, offset, bits, shape, moved, origin=(scale, offset), places=moved
            )
            return Image(source, before, levels, "quantised", text), graph.nodes[position + 1 :]
    kind = inputs or _declared(graph)
    scale, offset, bits = _meaning(kind)
    levels = Levels(graph.input, scale, offset, bits, shape, index, origin=(scale, offset), places=index)
    return Image(source, (), levels, kind, f"images hold {kind} values"), graph.nodes


def _shape(graph: Graph) -> tuple[tuple[int, ...], bool]:
    """Network order of the image, and whether the source has channels last."""
    sizes = graph.input_shape[1:]
    if len(sizes) == 1:
        return sizes, True
    if len(sizes) == 2:
        return (*sizes, 1), True
    moves = [
        node for node in graph.nodes if node.op in ("Transpose", "Conv2d", "Dense", "Reshape", "Flatten")
    ]
    if moves and moves[0].op == "Transpose" and moves[0].attributes.get("perm") == [0, 3, 1, 2]:
        return sizes, True
    return (sizes[1], sizes[2], sizes[0]), False


def _moved(nodes: Sequence[Node], graph: Graph, index: NDArray[np.int64]) -> NDArray[np.int64]:
    from .evaluate import MOVES, moved

    for node in nodes:
        if node.op in MOVES:
            index = moved(node, [index, *(graph.constants[name] for name in node.inputs[1:])], graph.opset)
    return index


def _prefix(source: Graph, tensor: str) -> tuple[Node, ...]:
    needed, nodes = {tensor}, []
    for node in reversed(source.nodes):
        if needed.intersection(node.outputs):
            nodes.append(node)
            needed.update(node.inputs)
    return tuple(reversed(nodes))


def _quantiser(node: Node, graph: Graph) -> tuple[Fraction, Fraction, int, str]:
    """Scale and offset of the network's values, their bits, and words."""
    if node.op == STEP:
        table = [Fraction(value) for value in node.attributes["table"].tolist()]
        if table[0] == table[2] or table[1] not in (table[0], table[2]):
            raise node.fail(
                f"sign({'0' if table[0] != table[2] else 'x'}) of the image is neither of two values: "
                f"{', '.join(str(float(value)) for value in table)}; use x >= 0"
            )
        low, high = min(table), max(table)
        zero = "1" if table[1] == high else "0"
        return (
            (high - low) / 2,
            (high + low) / 2,
            1,
            f"images are cut to one bit by {node.label}; at 0: {zero}",
        )
    if node.op == "MultiThreshold":
        thresholds = graph.constants.get(node.inputs[1])
        if thresholds is None or (thresholds != thresholds[:1]).any() or thresholds.shape[1] > 255:
            raise node.fail("of the image must have at most 255 thresholds, the same for all channels")
        unit, first = Fraction(node.number("out_scale", 1.0)), Fraction(node.number("out_bias", 0.0))
        count = thresholds.shape[1] + 1
        text = f"images are cut by {count - 1} thresholds of {node.label}"
    else:
        constants = [graph.constants.get(name) for name in node.inputs[1:]]
        if len(constants) != 3 or any(c is None or not c.size or (c != c.flat[0]).any() for c in constants):
            raise node.fail("of the image must have one constant scale, zero point and bit width")
        scale, zero = (Fraction(float(c.flat[0])) for c in constants[:2])  # type: ignore[union-attr]
        low, high = integer_range(node, constants[2])
        rounding(node)
        if scale <= 0:
            raise node.fail(f"scale is {float(scale)}, but must be above 0")
        unit, first, count = scale, scale * (low - zero), high - low + 1
        text = (
            f"images are quantised by {node.label}: value = round(clip(x / {float(scale):g} + {float(zero):g}"
            f", {low}, {high})) {-low:+d}"
        )
    bits = (count - 1).bit_length()
    if unit <= 0 or not 1 <= bits <= 8:
        raise node.fail(
            f"gives {count} levels with step {float(unit):g}; 2 to 256 levels, rising, can be inputs"
        )
    if bits == 1:
        return unit / 2, first + unit / 2, 1, text
    return unit, first, bits, text


def _declared(graph: Graph) -> str:
    annotation = graph.annotation.lower()
    for name in (annotation, graph.input_type.name):
        if name in DECLARED:
            return name
    if annotation == "binary" or graph.input_type.kind == "b":
        return "uint1"
    raise ImportFailedError(
        f"input {brief(graph.input, 60)} holds {graph.input_type.name} and is multiplied by weights before "
        f"any quantiser; say what it holds with --inputs (inputs= in Python), one of {', '.join(DECLARED)}"
    )


def _meaning(kind: str) -> tuple[Fraction, Fraction, int]:
    if kind == "bipolar":
        return Fraction(1), Fraction(0), 1
    if kind == "pixels":
        return Fraction(1, 255), Fraction(0), 8
    if kind == "uint1":
        return Fraction(1, 2), Fraction(1, 2), 1
    bits = int(kind.lstrip("uint"))
    return Fraction(1), Fraction(0 if kind.startswith("u") else -(1 << (bits - 1))), bits
