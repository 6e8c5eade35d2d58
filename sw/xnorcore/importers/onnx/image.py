"""The image: how what the framework reads becomes the network's input values, exactly and once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...model.check import brief
from .evaluate import MOVES, evaluate, moved
from .graph import Graph, Node
from .layout import Layout, layout_of
from .quantisers import check_scale, integer_range, multi_thresholds, one_number, rounding
from .reached import most_levels, narrowed
from .signal import Levels
from .steps import STEP
from .units import NORMALISED, PIXELS, Unit, annotated, declared_kind, may_be_pixels, meaning, parse

QUANTISERS = (STEP, "Quant", "IntQuant", "MultiThreshold")


@dataclass(frozen=True)
class Image:
    """The way from pixels to the framework's input, and from there to the network's.

    Attributes
    ----------
    graph : Graph
        With the nodes that the host computes, as they are in the source; empty without quantiser.
    levels : Levels
        What the first product reads.
    kind : str
        One of `units.DECLARED`, or ``"quantised"``.
    text : str
        The same in words.
    layout : Layout
    unit : Unit or None
        What the framework does to pixels; None if its input holds no pixels.
    assumed : bool
        Nobody said so: it is what gives a rule that tells pixels apart.
    why : str
        Why the input's pixels have no rule; ``""`` if they have one, or need none.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    levels: Levels
    kind: str
    text: str
    layout: Layout
    unit: Unit | None
    assumed: bool = False
    why: str = ""

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

    def source(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Return the framework's inputs for pixels in network order, shape (n, values)."""
        assert self.unit is not None
        shape = self.layout.shape if len(self.layout.shape) == 3 else (*self.layout.shape, 1)
        real = self.unit.real(pixels.reshape(len(pixels), *shape), self.graph.input_type)
        flat = real.reshape(len(pixels), -1)[:, self.layout.index[0].ravel()]
        return flat.reshape(len(pixels), *self.graph.input_shape[1:])

    @cached_property
    def tables(self) -> NDArray[np.uint8] | None:
        """The network's value of each 8-bit pixel, at each place: (values, 256). None without a unit."""
        if self.unit is None:
            return None
        size = int(np.prod(self.layout.shape))
        if self.kind != "quantised":
            return np.broadcast_to(np.arange(256, dtype=np.uint8), (size, 256))
        rows = [self.values(self.source(np.full((1, size), p))) for p in range(256)]
        return np.ascontiguousarray(np.concatenate(rows).T)


def image_of(graph: Graph, source: Graph, inputs: str | None) -> tuple[Image, Sequence[Node]]:
    """Return the image's rule, and the chain's nodes behind it.

    Parameters
    ----------
    graph : Graph
        A chain.
    source : Graph
        The same network after the pass `constants`: the host computes its nodes.
    inputs : str, optional
        What the framework's input holds, as `units.parse` takes it.

    Raises
    ------
    ImportFailedError
        If the image is real-valued, its quantiser is not uniform, or gives one value for all pixels.
    UsageError
        If `inputs` is unknown, or does not fit the graph.
    """
    declared = None if inputs is None else parse(inputs)
    layout = layout_of(graph)
    if isinstance(declared, Unit):
        check_unit(declared, graph, layout)
    for position, node in enumerate(graph.nodes):
        if node.op in ("Dense", "Conv2d"):
            break
        if node.op in QUANTISERS:
            image = _quantised(graph, source, position, layout, declared)
            return image, graph.nodes[position + 1 :]
    kind = declared or declared_kind(graph)
    index = layout.index
    unit = kind if isinstance(kind, Unit) else Unit("uint8") if kind == "uint8" else None
    if unit is not None:
        affine, bits, text = unit.affine(), 8, f"images hold 8-bit pixels, {unit.text}"
        if affine is None:
            raise UsageError(
                f"inputs {brief(inputs)} differ from channel to channel, but the graph multiplies its image "
                "by weights before any quantiser, and the network's inputs are integers; give one mean and "
                "one std, or put a quantiser behind the normalisation in the graph"
            )
        scale, offset = affine
        kind = unit.kind
    else:
        assert isinstance(kind, str)
        scale, offset, bits = meaning(kind)
        text = f"images hold {kind} values"
    levels = Levels(
        graph.input, scale, offset, bits, layout.shape, index, origin=(scale, offset), places=index
    )
    why = f"the framework's images hold {kind} values, which are no pixels" if kind.startswith("int") else ""
    return Image(source, (), levels, kind, text, layout, unit, why=why), graph.nodes


def _quantised(
    graph: Graph, source: Graph, position: int, layout: Layout, declared: Unit | str | None
) -> Image:
    """The image of a graph whose quantiser is the node at a position."""
    node = graph.nodes[position]
    if isinstance(declared, str):
        raise UsageError(
            f"inputs is {declared!r}, but {node.label} quantises the image in the graph; say what pixels are "
            f"in front of it: {', '.join(PIXELS)}, or {NORMALISED}"
        )
    scale, offset, bits, text = _quantiser(node, graph)
    before = _prefix(source, node.outputs[0])
    for earlier in graph.nodes[:position]:
        if earlier.op in ("Pool", "Mean", "Monotone", "Pad", "Softmax", "ArgMax", "TopK"):
            raise earlier.fail("stands before the first quantiser, where it is not supported")
    moved = _moved(graph.nodes[:position], graph, layout.index)
    levels = Levels(
        node.outputs[0], scale, offset, bits, layout.shape, moved, origin=(scale, offset), places=moved
    )

    def image(unit: Unit | None, **more: Any) -> Image:
        given = {"levels": levels, "text": text, **more}
        return Image(source, before, kind="quantised", layout=layout, unit=unit, **given)

    says = f"say with --inputs what the graph's images hold: {', '.join(PIXELS)}, or {NORMALISED}"
    unit = declared if declared is not None else annotated(graph)
    if unit is None and not may_be_pixels(graph):
        return image(None, why="the framework's images hold integers with a sign, which are no pixels")
    if unit is not None:
        result = image(unit)
        if most_levels(result.tables) > 1:
            reached, said = narrowed(levels, result.tables)
            return image(unit, levels=reached, text=text + said)
        reason = f"every pixel from 0 to 255, {unit.text}, becomes the same value at {node.label}"
        if declared is not None:
            raise UsageError(f"inputs is wrong: {reason}; {says}")
        return image(None, why=f"{reason}; import again, and {says}")
    # A float input that nobody explains: pixels divided by 255, unless the graph hardly sees these.
    tried = [image(Unit(kind), assumed=True) for kind in ("pixels", "uint8")]
    seen, raw = (most_levels(each.tables) for each in tried)
    if seen > 2 or (seen == 2 and (bits == 1 or raw <= 8 * seen)):
        return tried[0]
    if raw > 1:
        return tried[1]
    reason = f"every pixel from 0 to 255 becomes the same value at {node.label}, divided by 255 or as it is"
    return image(None, why=f"{reason}; import again, and {says}")


def check_unit(unit: Unit, graph: Graph, layout: Layout) -> None:
    """Check that pixels of a unit fit the graph's input; UsageError if not."""
    if graph.input_type.kind != "f" and unit.kind != "uint8":
        raise UsageError(
            f"inputs say pixels {unit.text}, but input {brief(graph.input, 60)} holds "
            f"{graph.input_type.name}: pixels can only be read as they are; give uint8, or nothing"
        )
    if graph.input_type == np.int8:
        raise UsageError(
            f"inputs is {unit.kind!r}, but input {brief(graph.input, 60)} holds int8, which ends at 127; "
            "export the model with a uint8 or float input"
        )
    channels = layout.shape[2] if len(layout.shape) == 3 else 1
    if unit.channels not in (1, channels):
        raise UsageError(
            f"inputs have {unit.channels} means or deviations, but the image has {channels} "
            f"channel{'s' if channels > 1 else ''}; give one for each, or one for all"
        )


def _moved(nodes: Sequence[Node], graph: Graph, index: NDArray[np.int64]) -> NDArray[np.int64]:
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
        if thresholds is None or thresholds.ndim != 2 or thresholds.shape[1] > 255:
            raise node.fail("of the image must have at most 255 thresholds for each channel")
        multi_thresholds(node, thresholds, graph.shapes[node.inputs[0]])
        unit, first = Fraction(node.number("out_scale", 1.0)), Fraction(node.number("out_bias", 0.0))
        count = thresholds.shape[1] + 1
        text = f"images are cut by {count - 1} thresholds of {node.label}"
    else:
        constants = [graph.constants.get(name) for name in node.inputs[1:]]
        scale, zero = (
            Fraction(one_number(node, f"of the image: {what}", constant).item())
            for what, constant in zip(("scale", "zero point"), constants, strict=False)
        )
        check_scale(node, float(scale), float(zero))
        low, high = integer_range(node, constants[2])
        rounding(node)
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
