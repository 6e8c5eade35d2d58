"""The page of a report: what `gather` found, shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from ..pages import plots
from ..pages.diagram import diagram
from ..pages.html import Markup, document, figure, join, pairs, paragraph, section, tab
from ..pages.pictures import picture
from ..pages.words import DEVICE
from .board import build_part, percent, roofline_parts, ways_part

__all__ = ["accuracy_parts", "page", "training_parts", "worst_pictures"]

_CAUSES = ("busy", "drain", "fetch", "hazard", "port", "wait_output", "tail", "wait_input")


def page(value: Mapping[str, Any], pictures: Mapping[int, Markup]) -> str:
    """Return the page.

    Parameters
    ----------
    value : mapping
        What ``report --json`` prints.
    pictures : mapping of int to Markup
        By number of the image, of the worst ones.
    """
    board = value["device"]["board"]
    where = f"board {board}" if board else "the simulated device"
    parts = [
        _head(value, where),
        ways_part(value),
        section("Network", figure(diagram(value["graph"])), _layers(value)),
        _cycles(value),
        section("Roofline", *roofline_parts(value["roofline"], "roofline")),
        _memory(value),
        *([accuracy_parts(value["accuracy"], pictures)] if value["accuracy"] else []),
        build_part(value["build"]),
    ]
    return document(f"{value['network']} on {where}", parts, value["made_by"])


def _head(value: Mapping[str, Any], where: str) -> Markup:
    g, measured = value["geometry"], value["measured"]
    rows: list[tuple[str, object]] = [
        ("network", f"{value['network']}, {value['sizes']}, {value['input']['bits']}-bit inputs"),
        (
            "device",
            f"{where}: {g['rows']} x {g['columns']} x {g['width']}, "
            f"{value['peak_macs_per_cycle']:,} MACs/cycle",
        ),
        ("MACs per image", value["macs_per_image"]),
        ("weight bits", value["weight_bits"]),
    ]
    if value["refusal"]:
        rows.append(("does not fit", value["refusal"]))
    elif value["passes"]:
        rows.append(("passes", value["passes"]))
        rows.append(("expected cycles per batch", value["expected_cycles_per_batch"]))
    if measured:
        rows.append(("cycles per image, measured", f"{measured['cycles_per_image']:,.1f}"))
        rows.append(("efficiency, measured", percent(measured["efficiency"])))
        rows.append(
            (
                "images per second of the array",
                f"{measured['array_images_per_s']:,.0f} at {value['clock_hz'] / 1e6:g} MHz",
            )
        )
        if measured["wire_images_per_s"]:
            rows.append(
                (
                    "images per second of the wire",
                    f"{measured['wire_images_per_s']:,.0f} at {value['baud']:,} baud",
                )
            )
        rows.append(("outputs that differ", f"{measured['mismatches']:,} of {measured['scores']:,}"))
    if value["accuracy"]:
        a = value["accuracy"]
        rows.append(("accuracy", f"{a['accuracy']:.2%}, {a['correct']:,} of {a['images']:,}"))
    return pairs(rows)


def _layers(value: Mapping[str, Any]) -> Markup:
    titles = ("layer", "kind", "result", "weight bits", "MACs", "beats", "sum bits")
    rows = [
        (
            layer["name"], layer["what"], " x ".join(map(str, layer["output"])), layer["weight_bits"],
            layer["macs"],
            *("" if layer[key] is None else layer[key] for key in ("beats", "accumulator_bits")),
        )
        for layer in value["layers"]
    ]  # fmt: skip
    return tab(titles, rows)


def _cycles(value: Mapping[str, Any]) -> Markup:
    measured = value["measured"]
    layers = measured["layers"] if measured else value["expected"]
    if not layers:
        return Markup()
    own = layers[:-1] if measured else layers
    used = [cause for cause in _CAUSES if any(cause in row["causes"] for row in own)]
    plot = plots.bars(
        "cycles", "cycles of each layer by cause", [row["layer"] for row in own],
        {cause: [row["causes"].get(cause, 0) for row in own] for cause in used}, "cycles per batch",
    )  # fmt: skip
    every = [cause for cause in _CAUSES if any(cause in row["causes"] for row in layers)]
    rows = [
        (
            row["layer"], f"{row['cycles_per_batch']:,.1f}", percent(row["busy_share"]),
            *(f"{row['causes'][cause]:,.1f}" if cause in row["causes"] else "" for cause in every),
        )
        for row in layers
    ]  # fmt: skip
    table = tab(
        ("layer", "cycles per batch", "busy share", *(cause.replace("_", " ") for cause in every)), rows
    )
    if measured:
        note = (
            f"Counted cycle by cycle on the simulated device, over {measured['batches']:,} batches, without "
            "the wire's bit times. Between batches the array waits for images."
        )
    else:
        note = "Computed from the program, not measured; without waits for the wire."
    return section("Where the cycles go", figure(plot), table, paragraph(note, "soft"))


def _memory(value: Mapping[str, Any]) -> Markup:
    rows = []
    for name, entry in value["memory"].items():
        share = None if entry["used"] is None else entry["used"] / entry["available"]
        rows.append(
            (
                DEVICE.get(name, name),
                "" if entry["used"] is None else entry["used"],
                entry["available"],
                percent(share),
            )
        )
    parts = [tab(("memory", "needed", "there is", "share"), rows)]
    if value["regions"]:
        regions = [
            (f"{region['name']} {copy + 1}" if region["copies"] > 1 else region["name"],
             region["first"] + copy * region["words"], region["words"])
            for region in value["regions"] for copy in range(region["copies"])
        ]  # fmt: skip
        parts.append(tab(("region of activation memory", "from word", "words"), regions))
        plot = plots.spans("memory", "regions of activation memory", regions, "word")
        parts.insert(1, figure(plot))
    return section("Memory", *parts)


def accuracy_parts(value: Mapping[str, Any], pictures: Mapping[int, Markup]) -> Markup:
    """Return accuracy, confusion matrix and the worst examples, of what `gather.accuracy` found."""
    names = value["classes"]
    said = paragraph(f"{value['correct']:,} of {value['images']:,} images right: {value['accuracy']:.2%}.")
    parts = [said]
    if value["confusion"] is not None:
        plot = plots.confusion("confusion", "confusion matrix", value["confusion"], names)
        parts.append(figure(plot, "Colour: share of the images of a row."))
    shown = []
    for one in value["worst"]:
        says, truth = names[one["predicted"]], names[one["label"]]
        shown.append(figure(pictures[one["image"]], f"image {one['image']}: says {says}, is {truth}"))
    if shown:
        parts += [
            Markup("<h3>The worst examples: wrong, and surest of it</h3>"),
            Markup(f'<div class="flow">{join(shown)}</div>'),
        ]
    return section("Accuracy", *parts)


def worst_pictures(value: Mapping[str, Any], images: NDArray[Any], maximum: int) -> dict[int, Markup]:
    """Return pictures of the worst examples of what `gather.accuracy` found, by number of the image."""
    names = value["classes"]
    return {
        one["image"]: picture(
            images[one["image"]], maximum,
            f"image {one['image']}, {names[one['label']]} taken for {names[one['predicted']]}",
        )
        for one in value["worst"]
    }  # fmt: skip


def training_parts(history: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Markup:
    """Return the curves of a training.

    Parameters
    ----------
    history : sequence of mapping
        For each epoch: ``epoch``, ``loss``, ``accuracy``; ``flips`` and ``dead``, a share for each layer.
    names : sequence of str
        Of the layers.
    """
    if not history:
        return Markup()
    epochs = [each["epoch"] for each in history]

    def by_layer(key: str) -> dict[str, list[float]]:
        count = len(history[0][key])
        return {names[at]: [each[key][at] for each in history] for at in range(count)}

    drawn = (
        ("loss", "loss by epoch", {"loss": [each["loss"] for each in history]}),
        ("accuracy", "accuracy by epoch", {"accuracy": [each["accuracy"] for each in history]}),
        ("share of flipped signs", "weights that changed sign, by epoch and layer", by_layer("flips")),
        ("share of dead channels", "channels that give one bit always, by epoch and layer", by_layer("dead")),
    )
    figures = [
        figure(plots.curves(f"training{number}", says, epochs, lines, unit), says)
        for number, (unit, says, lines) in enumerate(drawn)
        if lines
    ]
    return section("Training", *figures)
