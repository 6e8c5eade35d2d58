"""A verification report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..pages.html import Markup, document, pairs, paragraph, section, tab
from ..pages.words import device_rows, link_text
from .compare import LayerCheck
from .report import Report

__all__ = ["page"]

_NAMES = {
    "machine": "The interpreter of programs",
    "rtl": "The simulated device",
    "netlist": "The synthesised device, simulated",
    "board": "The board",
}


def page(report: Report, made_by: Mapping[str, Any]) -> str:
    """Return the page: verdict, inputs, a table of all layers by all engines, devices, and what made it.

    Parameters
    ----------
    report : Report
    made_by : mapping
        As `xnorcore.report.gather.provenance`.
    """
    verdict = "All engines agree with the golden model." if report.equal else "An engine is wrong."
    inputs = report.inputs
    images = [
        ("images", inputs["count"]),
        ("of them", f"random, seed {inputs['seed']}" if inputs["source"] == "random" else inputs["source"]),
        ("their sha256", inputs["sha256"]),
    ]
    parts = [
        paragraph(verdict, "equal" if report.equal else "differs"),
        *(paragraph(f"{name}, {line}") for name, said in report.errors.items() for line in said),
        *(paragraph(check) for check in report.differences),
        section("Layers", _layers(report)),
        section("Inputs", pairs(images)),
        *(section(_NAMES.get(name, name), *_device(about)) for name, about in report.devices.items()),
    ]
    return document(f"{report.network}: verification", parts, made_by)


def _device(about: Mapping[str, Any]) -> list[Markup]:
    """What a device is, what it was asked, and how that went."""
    config, clock = about["config"], about["clock_hz"]
    rows: list[tuple[str, object]] = [
        ("where", _where(about["url"], config)),
        ("array", "{rows} x {columns} x {width}".format(**config)),
        ("clock", f"{clock / 1e6:g} MHz" if clock else "unknown"),
        ("link protocol", f"version {about['protocol']}"),
        ("build", about["build"]),
        ("configuration digest", about["config_digest"]),
        ("program", about["program"]),
        ("weights", "all at once" if about["passes"] == 1 else f"in {about['passes']} passes"),
        ("rows compute", "strips of one image" if about["spread"] else "an image each"),
        ("network", "written" if about["uploaded"] else "not written: it was there already, or was refused"),
        ("held a network before", about["found_armed"]),
        ("link", link_text(about["link"])),
        ("planted fault", about["planted"]),
        ("time", f"{about['wall_s']:.2f} s; the whole network {about['infer_s']:.2f} s"),
    ]
    return [pairs(rows), Markup("<h3>Configuration</h3>"), pairs(device_rows(config))]


def _where(url: str, config: Mapping[str, int]) -> str:
    """Return a device's URL without what is said below it anyway."""
    scheme, colon, spec = url.partition(":")
    kept = [item for item in spec.split(",") if item.partition("=")[0] not in config]
    return scheme + colon + ",".join(kept)


def _layers(report: Report) -> Markup:
    engines = report.engines
    checks = {(check.index, check.engine): check for check in report.checks}
    rows = []
    for index in sorted({check.index for check in report.checks}):
        some = checks[index, engines[0]]
        head = f"{index} {some.name}", some.kind, " x ".join(map(str, some.shape))
        rows.append((*head, *(_cell(checks.get((index, engine))) for engine in engines)))
    return tab(("layer", "kind", "result", *engines), rows)


def _cell(check: LayerCheck | None) -> tuple[str, str]:
    if check is None or check.mismatches is None:
        return (check.note if check else ""), "hidden"
    if check.mismatches:
        where = f"{check.mismatches:,} of {check.values:,} values; first: {check.first}"
        return f"{where}; {check.note}" if check.note else where, "differs"
    return f"{check.values:,} values equal", "equal"
