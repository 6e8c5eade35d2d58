"""From a model to a network: the passes over its graph, what follows them, and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...model import pixels
from ...model.check import MAX_NAME, brief
from ...model.network import InputSpec
from ..outcome import Imported, ImportReport
from .approximate import Source
from .bends import monotones
from .build import build
from .canonical import affines, pools, transparent
from .chain import chain
from .check import Check
from .constants import fold_constants
from .ends import Front, front_of, hosted
from .ends_check import check_back, check_front
from .execute import Executor
from .graph import QUANT_OPS, Graph, Node, alive, ordered, replaced
from .image import Image, image_of
from .layout import Layout
from .lengths import aliases, arithmetic, bounded
from .parting import Parted, parted
from .ranges import in_range
from .read import to_graph
from .selections import selections
from .stages import cut
from .steps import find_steps
from .straight import straight
from .units import Unit
from .weights import evened, products

__all__ = ["PASSES", "Read", "load_source", "passed", "read_source"]

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    ordered, alive, aliases, fold_constants, bounded, straight, find_steps, transparent, evened, products,
    affines, pools, selections, monotones, alive, chain, arithmetic, in_range
)  # fmt: skip
"""From the graph as read to a chain of canonical nodes."""
_PARTED = PASSES.index(evened) + 1
"""How many of them come before the host's part is taken out."""


@dataclass(frozen=True)
class Read:
    """A source in the form that is cut into stages, and what is known of its images.

    Attributes
    ----------
    graph, last : Graph
        As it was read, and behind all passes; `last` without what the host computes.
    ends : Parted
    front : Front or None
    image : Image
    nodes : sequence of Node
        Those of `last` that follow the image.
    """

    graph: Graph
    last: Graph
    ends: Parted
    front: Front | None
    image: Image
    nodes: Sequence[Node]

    @property
    def layout(self) -> Layout:
        """How the framework holds images."""
        return self.front.layout if self.front else self.image.layout

    @property
    def unit(self) -> Unit | None:
        """What the framework does to pixels."""
        return self.front.unit if self.front else self.image.unit


def passed(graph: Graph) -> tuple[Graph, Graph]:
    """Return what a graph is behind the pass that folds constants, and just before it is parted."""
    source = graph
    for step in PASSES[:_PARTED]:
        graph = step(graph)
        source = graph if step is fold_constants else source
    return source, graph


def read_source(model: Any, inputs: str | None, host: bool) -> Read:
    """Take a source through all passes; `inputs` and `host` as of `load_source`."""
    read = to_graph(model)
    source, graph = passed(read)
    ends = Parted(read, read)
    if host:
        ends = parted(graph)
        graph = ends.body
    for step in PASSES[_PARTED:]:
        graph = step(graph)
    front = front_of(ends, inputs) if ends.head else None
    image, nodes = (front.image, graph.nodes) if front else image_of(graph, source, inputs)
    return Read(read, graph, ends, front, image, nodes)


def load_source(
    model: Any, path: Path, name: str | None, inputs: str | None, host: bool
) -> tuple[Imported, Source]:
    """Import a model that was read from a file.

    Parameters
    ----------
    model : onnx.ModelProto
    path : Path
        Of the file.
    name, inputs, host
        As of `xnorcore.importers.onnx.load`.
    """
    found = read_source(model, inputs, host)
    read, graph, ends, front, image = found.graph, found.last, found.ends, found.front, found.image
    parts = cut(graph, found.nodes, image.levels)
    kind = "qonnx" if any(node.op in QUANT_OPS for node in read.nodes) else "onnx"
    metadata, notes = _describe(model, read, image, kind, front)
    built = build(parts, image, _name(path) if name is None else name, metadata)
    network, said = hosted(built.network, ends, front, parts)
    notes += said
    executor = Executor(model, graph.exact)
    inner = replaced(
        read, input=graph.input, input_shape=graph.input_shape, input_type=graph.input_type,
        outputs=graph.outputs,
    )  # fmt: skip
    check = Check(executor, inner if ends.real else read, image, parts, built).run()
    if front is not None:
        check = replace(check, detail=f"{check.detail}; {check_front(executor, front, ends)}")
    if ends.tail:
        check = replace(check, detail=f"{check.detail}; {check_back(executor, network, ends, parts)}")
    if graph.exact:
        notes.append(_taken(graph))
    report = ImportReport(str(path), kind, built.reports, (*notes, *parts.notes), check)
    macs = network.macs + sum(end.work for end in (network.head, network.tail) if end)
    return Imported(network, report), Source(model, read, found.unit, found.layout, macs)


def _name(path: Path) -> str:
    text = "".join(letter if letter.isprintable() else "_" for letter in path.stem)[:MAX_NAME]
    return text or "imported"


def _taken(graph: Graph) -> str:
    """What was taken for something that it is but for rounding."""
    names = [brief(name, 60) for name in graph.exact]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (
        "straight-through sums, or weights that differ from -a and +a by rounding, are taken for what they "
        f"are in real numbers: {', '.join(names[:3])}{more}"
    )


def _describe(
    model: Any, graph: Graph, image: Image, kind: str, front: Front | None
) -> tuple[dict[str, Any], list[str]]:
    """The network's metadata, and the report's notes."""
    producer = brief(f"{model.producer_name} {model.producer_version}".strip() or "unknown", 60).strip("'")
    notes = [f"opset {graph.opset}, IR version {model.ir_version}, producer {producer}"]
    metadata: dict[str, Any] = {"imported": {"format": kind, "opset": graph.opset, "input": image.text}}
    if front is not None:
        return metadata, [*notes, *front.notes]
    entry, note = _rule(image)
    if entry is not None:
        metadata[pixels.KEY] = entry
    return metadata, [*notes, image.text, image.layout.text, note]


def _rule(image: Image) -> tuple[dict[str, Any] | None, str]:
    """The metadata's entry for pixels, None if they need none, and what it is in words."""
    if image.why:
        return pixels.none(image.why), f"8-bit pixels have no rule: {image.why}"
    if image.tables is None or image.unit is None:
        return None, f"inputs are the framework's own {image.kind} values; 8-bit pixels have no rule"
    assumed = "; --inputs says otherwise" if image.assumed else ""
    made = f"what the framework makes of 8-bit pixels, {image.unit.text}{assumed}"
    if image.kind != "quantised":
        return None, f"pixels as they are become inputs; the first layer holds {made}"
    entry = pixels.entry(image.tables, InputSpec(image.layout.shape, image.levels.bits))
    if "none" in entry:
        return entry, f"8-bit pixels have no rule: {entry['none']}"
    each = f", which differs from {entry['of']} to {entry['of']}" if "of" in entry else ""
    return entry, f"pixels become inputs by the network's own rule{each}: {made}"
