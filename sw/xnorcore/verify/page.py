"""A verification report as one HTML page that needs nothing else."""

from __future__ import annotations

from ..pages.html import Markup, document, pairs, paragraph, section, tab
from .compare import LayerCheck
from .report import Report

__all__ = ["page"]


def page(report: Report) -> str:
    """Return the page: verdict, inputs, devices, and a table of all layers by all engines."""
    verdict = "All engines agree with the golden model." if report.equal else "An engine is wrong."
    parts = [
        paragraph(verdict, "equal" if report.equal else "differs"),
        *(paragraph(f"{name}, {line}") for name, said in report.errors.items() for line in said),
        *(paragraph(check) for check in report.differences),
        section("Layers", _layers(report)),
        section(
            "Network and inputs",
            pairs(
                [
                    ("network", report.network),
                    ("network sha256", report.network_sha256),
                    *report.inputs.items(),
                ]
            ),
        ),
    ]
    for name, about in report.devices.items():
        rows = [(key, value) for key, value in about.items() if key != "config"]
        config = ", ".join(f"{key}={value}" for key, value in about["config"].items())
        parts.append(section(name, pairs([*rows, ("configuration", config)])))
    return document(f"{report.network}: verification", parts)


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
        return f"{where}; {check.note}", "differs"
    return f"{check.values:,} values equal", "equal"
