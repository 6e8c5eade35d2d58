"""What a training came to, as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.4 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { border: 1px solid #bbb; padding: .25em .7em; text-align: left }
td.right { background: #dff3df } td.wrong { background: #ffd9d6 } td code { overflow-wrap: anywhere }
"""


def page(value: dict[str, Any], classes: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """Return the page: what was measured, and which class was taken for which.

    Parameters
    ----------
    value : dict
        As of ``train --json``.
    classes : sequence of str
    confusion : sequence of sequences of int
        Held-out images, by class and by what the network says.
    """
    facts = "".join(
        f"<tr><th>{escape(key.replace('_', ' '))}</th><td><code>{escape(_text(found))}</code></td></tr>"
        for key, found in value.items()
        if key not in ("command", "network")
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in classes)
    rows = ""
    for number, (name, row) in enumerate(zip(classes, confusion, strict=True)):
        cells = "".join(
            f'<td class="{"right" if at == number else "wrong" if count else ""}">{count}</td>'
            for at, count in enumerate(row)
        )
        rows += f"<tr><th>{escape(name)}</th>{cells}</tr>"
    title = f"{escape(value['network'])}: training"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n"
        f"<p>{value['accuracy']:.2%} of {value['held_out_images']} held-out images right; "
        f"{value['mismatches']} differences on the simulated device.</p>\n"
        f"<h2>Is, and what the network says</h2>\n<table><tr><th></th>{head}</tr>{rows}</table>\n"
        f"<h2>Everything</h2>\n<table>{facts}</table>\n</body></html>\n"
    )


def _text(found: Any) -> str:
    if isinstance(found, dict):
        return ", ".join(f"{key}: {item}" for key, item in found.items())
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)
