"""What a report says, as plain values: the page shows these and no others."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..boards import BoardDevice
from ..files.xnorfile import content_hash
from ..isa.listing import listing
from ..isa.program import Program
from ..isa.timing import total
from ..link.transport import BITS_PER_BYTE
from ..model import classes
from ..model.graph import Value
from ..model.network import Network
from ..runtime.rates import Rates

__all__ = [
    "accuracy",
    "command_line",
    "graph",
    "layers_expected",
    "layers_measured",
    "provenance",
    "roofline",
    "where_it_lies",
]

WORST = 12
"""Wrong images that are shown."""
MOST_CLASSES = 64
"""Classes up to which a confusion matrix is made."""


def graph(network: Network) -> list[dict[str, Any]]:
    """Return the values of a network and what each is made of: ``name``, ``lines``, ``reads``."""
    nodes: list[dict[str, Any]] = []
    for number, value in enumerate(network.values):
        shape = " x ".join(map(str, value.shape))
        if number == 0:
            lines = ["image", f"{shape}, {network.input.bits} bit"]
            reads: list[int] = []
        else:
            layer = network.layers[number - 1]
            weights = f", {layer.weight_bits:,} weight bits" if layer.weight_bits else ""
            last = number == len(network.values) - 1 and network.output_kind == "scores"
            lines = [type(layer).__name__ + weights, f"{shape}, {'scores' if last else _coding(value)}"]
            reads = list(network.reads[number - 1])
        nodes.append({"name": value.name or f"value {number}", "lines": lines, "reads": reads})
    return nodes


def _coding(value: Value) -> str:
    return f"{value.bits}-bit codes" if value.result == "codes" else value.coding


def layers_measured(program: Program, found: Mapping[str, Any], batches: int) -> list[dict[str, Any]]:
    """Return where the cycles of a run went, for each layer that has a program, and between batches.

    Parameters
    ----------
    program : Program
    found : mapping
        ``descriptors`` and ``between``, cycles by cause.
    batches : int
        Over which they were counted.
    """
    rows: dict[int, dict[str, Any]] = {}
    for (plan, _), counted in zip(program.sections[0].parts, found["descriptors"], strict=True):
        number = program.layers[plan].layer
        name = program.network.layers[number].name or f"layer{number}"
        row = rows.setdefault(number, {"layer": name, "causes": dict.fromkeys(counted, 0)})
        for cause, cycles in counted.items():
            row["causes"][cause] += cycles
    result = []
    for number, row in rows.items():
        cycles = sum(row["causes"].values())
        causes = {cause: count / batches for cause, count in row["causes"].items() if count}
        plans = [plan for plan in program.layers if plan.layer == number]
        result.append(
            {
                "layer": row["layer"],
                "number": number,
                "cycles_per_batch": cycles / batches,
                "busy_share": row["causes"]["busy"] / cycles if cycles else None,
                "causes": causes,
                "macs_per_cycle": program.batch * sum(p.macs for p in plans) / (cycles / batches)
                if cycles
                else None,
            }
        )
    between = {cause: count / batches for cause, count in found["between"].items()}
    result.append(
        {"layer": "between batches", "cycles_per_batch": sum(between.values()), "busy_share": None,
         "causes": {cause: count for cause, count in between.items() if count}, "macs_per_cycle": None}
    )  # fmt: skip
    return result


def layers_expected(program: Program) -> list[dict[str, Any]]:
    """Return what the cycles of each layer go to by computation, in the form of `layers_measured`.

    Of a batch between others, or, in passes, of each RUN by itself.
    """
    rows: list[dict[str, Any]] = []
    for number in sorted({plan.layer for plan in program.layers}):
        found = total(cycles for part, cycles in program.by_part if program.layers[part].layer == number)
        macs = program.batch * sum(plan.macs for plan in program.layers if plan.layer == number)
        rows.append(
            {"layer": program.network.layers[number].name or f"layer{number}", "number": number,
             "cycles_per_batch": found.active, "busy_share": found.busy / found.active,
             "causes": {cause: count for cause, count in vars(found).items() if count},
             "macs_per_cycle": macs / found.active}
        )  # fmt: skip
    return rows


def roofline(
    program: Program, layers: Sequence[Mapping[str, Any]], device: BoardDevice, reached: Rates
) -> dict[str, Any]:
    """Return what bounds each layer and the whole network.

    Parameters
    ----------
    program : Program
    layers : sequence of mapping
        Those of `layers_measured` that are layers, or `layers_expected`.
    device : BoardDevice
        Whose clock and wire they are.
    reached : Rates
        Of the program on that device.

    Returns
    -------
    dict
        ``peak`` MACs per cycle; ``slopes``, bytes per cycle of ``memory`` (operands out of activation memory)
        and ``wire``; ``points``: name, what feeds it, MACs per byte, MACs per cycle. The whole network is
        there twice: in the array, and end to end over the wire.
    """
    g, macs = program.config.geometry, program.macs
    memory = g.rows * g.width / 8
    points = []
    cycles = 0.0
    for row in layers:
        own = [p for p in program.layers if p.layer == row["number"]]
        work, beats = program.batch * sum(p.macs for p in own), sum(p.beats for p in own)
        cycles += row["cycles_per_batch"]
        if work and beats:
            points.append(_point(row["layer"], "memory", work / (beats * memory), row["macs_per_cycle"]))
    whole = program.batch * macs
    points.append(_point("whole network", "memory", whole / (program.beats * memory), whole / cycles))
    wire = 1 / (BITS_PER_BYTE * device.clocks_per_bit[device.baud])
    each = macs / device.clock_hz
    # Bytes of the slower direction, frames and weights counted.
    sent = reached.wire_images_per_s * each / wire
    points.append(_point("over the wire", "wire", sent, reached.images_per_s * each))
    return {"peak": g.peak, "slopes": {"memory": memory, "wire": wire}, "points": points}


def _point(name: str, fed_by: str, macs_per_byte: float, macs_per_cycle: float) -> dict[str, Any]:
    return {
        "name": name,
        "fed_by": fed_by,
        "macs_per_byte": macs_per_byte,
        "macs_per_cycle": macs_per_cycle,
    }


def where_it_lies(program: Program) -> list[dict[str, Any]]:
    """Return the regions of activation memory: ``name``, ``first``, ``words``, ``copies``."""
    regions = listing(program)["regions"]
    return [{"name": name, **region} for name, region in regions.items() if region["words"]]


def accuracy(network: Network, results: NDArray[Any], labels: NDArray[Any]) -> dict[str, Any]:
    """Return how right a network is.

    Returns
    -------
    dict
        ``images``, ``correct``, ``accuracy``, ``classes``; ``confusion``: rows are what images are, columns
        what the network says, None with more than `MOST_CLASSES`; ``worst``: the wrong ones, those first
        that the network is surest of.
    """
    predicted, count = network.classify(results), network.class_count
    names = classes.names(network.metadata, count)
    wrong = np.flatnonzero(predicted != labels)
    margins = np.zeros(len(results))
    if network.output_kind == "scores" or network.tail is not None:
        values = network.scores(results)
        each = np.arange(len(values))
        margins = values[each, predicted] - values[each, labels]
    order = wrong[np.argsort(-margins[wrong], kind="stable")][:WORST]
    table = None
    if count <= MOST_CLASSES:
        matrix = np.zeros((count, count), np.int64)
        np.add.at(matrix, (labels, predicted), 1)
        table = matrix.tolist()
    return {
        "images": len(labels),
        "correct": int(len(labels) - len(wrong)),
        "accuracy": float((predicted == labels).mean()),
        "classes": names,
        "confusion": table,
        "worst": [
            {
                "image": int(i),
                "label": int(labels[i]),
                "predicted": int(predicted[i]),
                "margin": float(margins[i]),
            }
            for i in order
        ],
    }


def command_line() -> str:
    """Return the command that runs, as a shell reads it."""
    return shlex.join(["xnorcore", *sys.argv[1:]])


def provenance(network: Network, program: Program | None, command: str) -> dict[str, Any]:
    """Return versions, hashes, and the command."""
    value: dict[str, Any] = {
        "command": command,
        "xnorcore": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "network sha256": content_hash(network),
    }
    if program is not None:
        value |= {"device digest": program.config.digest().hex(), "program": program.identifier.hex()}
    return value
