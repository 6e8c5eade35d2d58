"""A Matplotlib figure as SVG inside of a page: it takes the page's colours, and as much width as there is."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import MissingDependencyError
from ..extras import install_extra
from .html import Markup, shown

__all__ = ["CAUSE_COLOURS", "COLOURS", "INK", "REST", "WIDTH", "colour", "drawn", "require"]

INK = "#1d2129"
"""Of what is written, and of lines that are no data: the page's own."""
_NAMES = {
    "#2f6fb5": "blue", "#74a9d8": "sky", "#e0a32e": "amber", "#c7502f": "red", "#8d5fb0": "violet",
    "#7b7b7b": "grey", "#b5b5b5": "silver", "#d8d8d8": "mist", "#3d8f5f": "green", "#5aa8b0": "teal",
    "#a05a3c": "brown", "#f2f4f7": "head", "#5a6372": "soft",
}  # fmt: skip
"""Colours by what the page's style calls them; there they have other values on a dark page."""
COLOURS = ("#2f6fb5", "#c7502f", "#3d8f5f", "#8d5fb0", "#e0a32e", "#5aa8b0", "#a05a3c", "#7b7b7b")
REST = "#d8d8d8"
"""Of what has no colour of its own."""
CAUSE_COLOURS = {
    "busy": "#2f6fb5", "drain": "#74a9d8", "fetch": "#e0a32e", "hazard": "#c7502f", "port": "#8d5fb0",
    "wait_output": "#7b7b7b", "tail": "#b5b5b5", "wait_input": "#d8d8d8",
}  # fmt: skip

WIDTH = 5.0
"""Inches of a plot: on a telephone its letters stay large enough to be read."""
_LARGER = 1.75
"""Points of the page for one of the drawing, where there is room."""
_BROAD = 5.4
"""Inches from which a drawing is scrolled on a telephone, and not made smaller."""


def require() -> Any:
    """Return Matplotlib's class of figures.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        from matplotlib.figure import Figure  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise MissingDependencyError(
            f"pages with plots need Matplotlib, which is not installed: {install_extra('report')}"
        ) from None
    return Figure


def colour(value: str) -> str:
    """Return a colour of this module as an attribute of a drawing: the page's style says what it is."""
    return "currentColor" if value == INK else f"var(--{_NAMES[value]},{value})"


@contextmanager
def drawn(name: str, says: str, width: float, height: float, found: list[Markup]) -> Iterator[Any]:
    """Give a figure to draw on; at the end its SVG is added to `found`.

    Parameters
    ----------
    name : str
        Of the drawing, once in a page.
    says : str
        What it shows, in words.
    width, height : float
        Inches.
    found : list of Markup
    """
    figures = require()
    import matplotlib  # pyright: ignore[reportMissingImports]

    rules: Any = {
        "svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9.5,
        "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False,
        "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    } | dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"),
        INK,
    )  # fmt: skip
    with matplotlib.rc_context(rules):
        figure = figures(figsize=(width, height), layout="constrained")
        file = io.StringIO()
        with warnings.catch_warnings():
            # Text stays text: the browser has the letters that Matplotlib's own font lacks.
            warnings.filterwarnings("ignore", "Glyph ")
            yield figure
            figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # A page's policy knows no styles but its own.
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r' style="([^"]*)"', _attributes, text)
    # Several plots in one page must not share names.
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    size = f'width="{72 * width * _LARGER:.0f}"'
    kind = ' class="broad"' if width > _BROAD else ""
    text = re.sub(r'^<svg([^>]*?) width="[^"]*"', rf"<svg\1 {size}", text, count=1)
    text = re.sub(r'^<svg([^>]*?) height="[^"]*"', r"<svg\1", text, count=1)
    found.append(Markup(text.replace("<svg ", f'<svg role="img" aria-label="{shown(says)}"{kind} ', 1)))


def _attributes(match: re.Match[str]) -> str:
    kept = []
    for item in match.group(1).split(";"):
        key, colon, value = (part.strip() for part in item.partition(":"))
        if colon and key == "font":
            size = re.search(r"([\d.]+)px", value)
            kept.append(f'font-size="{size.group(1) if size else 9}px" font-family="sans-serif"')
        elif colon:
            known = key in ("fill", "stroke") and (value in _NAMES or value == INK)
            kept.append(f'{key}="{colour(value) if known else value}"')
    return "".join(f" {item}" for item in kept)
