"""ONNX and QONNX import: a checked graph, small passes over it, exact folding, and a check at the end.

The passes, in order, are `PASSES`; each takes a `Graph` and returns one. What follows them cuts the chain
into stages (`stages.cut`), folds these into integer layers (`build.build`) and compares the result with an
independent execution of the source (`check.Check`). All decisions are made in rationals of the stored floats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...model import pixels
from ...model.check import MAX_NAME, brief
from ...model.network import InputSpec
from ..outcome import Imported, ImportReport
from .approximate import MOST_CHANGED, Source, compared_with, with_small_ratio
from .bends import monotones
from .build import build
from .canonical import affines, pools, transparent
from .chain import chain
from .check import Check
from .constants import fold_constants
from .ends import Front, front_of, hosted
from .ends_check import check_back, check_front
from .execute import Executor
from .graph import QUANT_OPS, Graph, alive, ordered, replaced
from .image import Image, image_of
from .lengths import aliases, arithmetic, bounded
from .parting import Parted, parted
from .ranges import in_range
from .read import read_model, to_graph
from .selections import selections
from .signal import UnequalSteps
from .stages import cut
from .steps import find_steps
from .straight import straight
from .weights import evened, products

__all__ = ["PASSES", "load"]

PASSES: tuple[Callable[[Graph], Graph], ...] = (
    ordered, alive, aliases, fold_constants, bounded, straight, find_steps, transparent, evened, products,
    affines, pools, selections, monotones, alive, chain, arithmetic, in_range
)  # fmt: skip
"""From the graph as read to a chain of canonical nodes."""
_MOST_ROUNDED = 0.5
"""Largest share by which the ratio of two steps may be changed."""


def load(
    path: Path,
    *,
    name: str | None = None,
    inputs: str | None = None,
    host: bool = True,
    round_steps: float | None = None,
    images: NDArray[Any] | None = None,
) -> Imported:
    """Import an ONNX or QONNX file.

    Parameters
    ----------
    path : Path
        External data files are looked for in its folder, and only there.
    name : str, optional
        Name of the network; default: the file's.
    inputs : str, optional
        What the images hold, as `units.parse` takes it; default: from the input's type or its QONNX
        annotation, or pixels divided by 255 in front of a quantiser.
    host : bool
        Let the host compute a first or last product whose weights are real; else it is refused.
    round_steps : float, optional
        Where values are added whose steps are in no small ratio, change the steps so that they are, and the
        ratio by this share of it at most: then what is imported is not the source, but the source with other
        steps. The report says which, and how many classes that changes. Default: refuse.
    images : array of uint8, shape (n, height, width, channels) or (n, values), optional
        Pixels for that; default random ones.

    Returns
    -------
    Imported
        Class scores and one-bit outputs are in the source's order, those of a final convolution as
        (y, x, channel).

    Raises
    ------
    ImportFailedError
        Names the node and why it cannot run exactly.
    MissingDependencyError
        If the package ``onnx`` is missing.
    UsageError
        If `inputs` is unknown, or does not fit the graph; if `round_steps` is out of range, or `images` do
        not fit.
    """
    if round_steps is not None and not 0 < round_steps <= _MOST_ROUNDED:
        raise UsageError(
            f"round_steps is {brief(round_steps)}, but must be above 0, and at most {_MOST_ROUNDED:g}"
        )
    with np.errstate(all="ignore"):  # what overflows is found by checks, and by name
        model = read_model(Path(path))
        if round_steps is None:
            return _load(model, Path(path), name, inputs, host)[0]
        return _rounded(model, Path(path), name, inputs, host, round_steps, images)


def _rounded(
    model: Any, path: Path, name: str | None, inputs: str | None, host: bool, within: float, images: Any
) -> Imported:
    """Import a model with other steps where values are added whose steps are in no small ratio."""
    changed, notes = model, list[str]()
    while True:
        try:
            imported, source = _load(changed, path, name, inputs, host)
            break
        except UnequalSteps as error:
            if len(notes) == MOST_CHANGED:
                raise
            changed, note = with_small_ratio(changed, error, within)
            notes.append(note)
    if not notes:
        return imported
    notes.append(compared_with(replace(source, model=model), changed, images))
    return Imported(imported.network, replace(imported.report, rounded=tuple(notes)))


def _load(
    model: Any, path: Path, name: str | None, inputs: str | None, host: bool
) -> tuple[Imported, Source]:
    read = to_graph(model)
    graph, source = read, read
    ends = Parted(read, read)
    for step in PASSES:
        graph = step(graph)
        if step is fold_constants:
            source = graph
        if step is evened and host:
            ends = parted(graph)
            graph = ends.body
    front = front_of(ends, inputs) if ends.head else None
    image, nodes = (front.image, graph.nodes) if front else image_of(graph, source, inputs)
    parts = cut(graph, nodes, image.levels)
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
    layout, unit = (front.layout, front.unit) if front else (image.layout, image.unit)
    macs = network.macs + sum(end.work for end in (network.head, network.tail) if end)
    return Imported(network, report), Source(model, read, unit, layout, macs)


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
