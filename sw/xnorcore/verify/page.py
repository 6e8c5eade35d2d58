"""A verification report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .report import Report

__all__ = ["page"]

_STYLE = """
body { font: 16px/1.4 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { border: 1px solid #bbb; padding: .25em .7em; text-align: left; vertical-align: top }
.equal { background: #dff3df } .differs { background: #ffd9d6; font-weight: bold } .hidden { color: #777 }
code { overflow-wrap: anywhere }
"""


def page(report: Report) -> str:
    """Return the page: verdict, inputs, devices, and a table of all layers by all engines."""
    verdict = "All engines agree with the golden model." if report.equal else "An engine is wrong."
    mark = "equal" if report.equal else "differs"
    parts = [
        f"<h1>{_text(report.network)}: verification</h1>",
        f'<p class="{mark}">{verdict}</p>',
        *(f"<p>{_text(f'{name}, {line}')}</p>" for name, said in report.errors.items() for line in said),
        *(f"<p>{_text(check)}</p>" for check in report.differences),
        "<h2>Layers</h2>",
        _layers(report),
        "<h2>Network and inputs</h2>",
        _pairs(
            [("network", report.network), ("network sha256", report.network_sha256), *report.inputs.items()]
        ),
    ]
    for name, about in report.devices.items():
        rows = [(key, value) for key, value in about.items() if key != "config"]
        config = ", ".join(f"{key}={value}" for key, value in about["config"].items())
        parts += [f"<h2>{_text(name)}</h2>", _pairs([*rows, ("configuration", config)])]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(report.network)}: verification</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _text(value: object) -> str:
    return escape("none" if value is None else str(value))


def _row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _pairs(pairs: Sequence[tuple[str, object]]) -> str:
    rows = (_row([f"<th>{_text(key)}</th>", f"<td><code>{_text(v)}</code></td>"]) for key, v in pairs)
    return f"<table>{''.join(rows)}</table>"


def _layers(report: Report) -> str:
    engines = report.engines
    checks = {(check.index, check.engine): check for check in report.checks}
    titles = ("layer", "kind", "result", *engines)
    rows = [_row(f"<th>{_text(title)}</th>" for title in titles)]
    for index in sorted({check.index for check in report.checks}):
        some = checks[index, engines[0]]
        shape = " x ".join(map(str, some.shape))
        cells = [f"<td>{_text(text)}</td>" for text in (f"{index} {some.name}", some.kind, shape)]
        for engine in engines:
            check = checks.get((index, engine))
            if check is None or check.mismatches is None:
                note = check.note if check else ""
                cells.append(f'<td class="hidden">{_text(note)}</td>')
            elif check.mismatches:
                where = _text(f"{check.mismatches:,} of {check.values:,} values; first: {check.first}")
                cells.append(f'<td class="differs">{where}; {_text(check.note)}</td>')
            else:
                cells.append(f'<td class="equal">{check.values:,} values equal</td>')
        rows.append(_row(cells))
    return f"<table>{''.join(rows)}</table>"
