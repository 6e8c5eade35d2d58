"""Plots as SVG inside of a page, by Matplotlib; the same values give the same text."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import MissingDependencyError
from ..extras import install_extra
from .html import Markup, shown

__all__ = ["bars", "confusion", "curves", "grid", "require", "roofline", "spans"]

COLOURS = {
    "busy": "#2f6fb5", "drain": "#74a9d8", "fetch": "#e0a32e", "hazard": "#c7502f", "port": "#8d5fb0",
    "wait_output": "#7b7b7b", "tail": "#b5b5b5", "wait_input": "#d8d8d8",
}  # fmt: skip
_OTHERS = ("#2f6fb5", "#c7502f", "#3d8f5f", "#8d5fb0", "#e0a32e", "#5aa8b0", "#a05a3c", "#7b7b7b")

_TOGETHER = 0.2
"""Points of a roofline that are no further apart, in powers of ten, share a label."""
_SQUARE = 0.46 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])


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


@contextmanager
def _figure(name: str, says: str, width: float, height: float, found: list[Markup]) -> Iterator[Any]:
    import matplotlib  # pyright: ignore[reportMissingImports]

    rules: Any = {
        "svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9,
        "text.parse_math": False, "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    with matplotlib.rc_context(rules):
        figure = require()(figsize=(width, height), layout="constrained")
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
    text = text.replace("<svg ", f'<svg role="img" aria-label="{shown(says)}" ', 1)
    found.append(Markup(text))


def _attributes(match: re.Match[str]) -> str:
    kept = []
    for item in match.group(1).split(";"):
        key, colon, value = (part.strip() for part in item.partition(":"))
        if colon and key == "font":
            size = re.search(r"([\d.]+)px", value)
            kept.append(f'font-size="{size.group(1) if size else 9}px" font-family="sans-serif"')
        elif colon:
            kept.append(f'{key}="{value}"')
    return "".join(f" {item}" for item in kept)


def bars(
    name: str, says: str, rows: Sequence[str], parts: Mapping[str, Sequence[float]], unit: str
) -> Markup:
    """Return lying bars, each of parts that add up.

    Parameters
    ----------
    name : str
        Of the plot, once in a page.
    says : str
        What it shows, in words.
    rows : sequence of str
    parts : mapping of str to sequence of float
        A value for each row.
    unit : str
    """
    found: list[Markup] = []
    with _figure(name, says, 7.4, 0.9 + 0.32 * len(rows), found) as figure:
        axes = figure.subplots()
        left = np.zeros(len(rows))
        for number, (part, values) in enumerate(parts.items()):
            colour = COLOURS.get(part, _OTHERS[number % len(_OTHERS)])
            axes.barh(
                range(len(rows)),
                values,
                left=left,
                label=_short(part.replace("_", " ")),
                color=colour,
                height=0.7,
            )
            left += np.asarray(values, float)
        axes.set_yticks(range(len(rows)), [_short(row) for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel(_short(unit))
        if len(parts) > 1:
            figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return found[0]


def roofline(
    name: str, says: str, peak: float, slopes: Mapping[str, float], points: Sequence[tuple[str, float, float]]
) -> Markup:
    """Return a roofline: what bounds each point, on logarithmic axes.

    Parameters
    ----------
    name, says : str
    peak : float
        MACs per cycle.
    slopes : mapping of str to float
        Bytes per cycle of what feeds the array.
    points : sequence of (str, float, float)
        Name, MACs per byte, MACs per cycle.
    """
    found: list[Markup] = []
    with _figure(name, says, 7.4, 4.2, found) as figure:
        axes = figure.subplots()
        corners = [peak / slope for slope in slopes.values()]
        across = [x for _, x, _ in points] + corners
        low, high = min(across) / 4, max(across) * 4
        x = np.geomspace(low, high, 200)
        axes.axhline(peak, color="#1d2129", linewidth=1)
        axes.annotate(f"array {peak:,.0f} MACs/cycle", (high, peak), ha="right", va="bottom")
        for number, (what, slope) in enumerate(slopes.items()):
            colour = _OTHERS[number]
            axes.plot(
                x,
                np.minimum(slope * x, peak),
                color=colour,
                label=f"{_short(what)}: {slope:,.3g} bytes/cycle",
            )
        for names, at, done in _groups(points):
            axes.annotate(names, (at, done), xytext=(6, -9), textcoords="offset points")
        axes.plot([x for _, x, _ in points], [y for *_, y in points], "o", color="#3d8f5f", markersize=5)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
            axis.set_minor_formatter(lambda value, _: "")
        axes.set_ylim(top=peak * 3, bottom=max(min([done for *_, done in points] + [peak]) / 5, 1e-3))
        axes.set_xlabel("MACs per byte")
        axes.set_ylabel("MACs per cycle")
        axes.legend(loc="lower right", frameon=False)
    return found[0]


def _groups(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """Return points with names for all that lie together: names, and the place of the lowest of them."""
    groups: list[list[tuple[str, float, float]]] = []
    for point in points:
        for group in groups:
            apart = np.log10(np.array(point[1:]) / np.array(group[0][1:]))
            if (abs(apart) < _TOGETHER).all():
                group.append(point)
                break
        else:
            groups.append([point])
    found = []
    for group in groups:
        names = ", ".join(_short(what) for what, *_ in group[:3])
        rest = f" and {len(group) - 3} more" if len(group) > 3 else ""
        _, x, y = min(group, key=lambda point: point[2])
        found.append((names + rest, x, y))
    return found


def confusion(name: str, says: str, counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """Return a matrix of counts: rows are what images are, columns what the network says."""
    found: list[Markup] = []
    size = len(classes)
    side = min(max(2.6, 0.5 * size + 1.2), 9)
    with _figure(name, says, side + 0.6, side, found) as figure:
        axes = figure.subplots()
        values = np.asarray(counts, float)
        share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
        axes.pcolormesh(
            np.arange(size + 1) - 0.5, np.arange(size + 1) - 0.5, share, cmap="Blues", vmin=0, vmax=1
        )
        if size <= 20:
            for (row, column), count in np.ndenumerate(np.asarray(counts)):
                colour = "white" if share[row, column] > 0.5 else "#1d2129"
                if count:
                    axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=8)
            names = [_short(each, 12) for each in classes]
            turned = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 2 else {}
            axes.set_xticks(range(size), names, **turned)
            axes.set_yticks(range(size), names)
        axes.invert_yaxis()
        axes.set_xlabel("the network says")
        axes.set_ylabel("the image is")
    return found[0]


def curves(
    name: str, says: str, epochs: Sequence[int], lines: Mapping[str, Sequence[float]], unit: str
) -> Markup:
    """Return curves over epochs."""
    found: list[Markup] = []
    with _figure(name, says, 7.4, 2.4, found) as figure:
        axes = figure.subplots()
        for number, (what, values) in enumerate(lines.items()):
            colour = _OTHERS[number % len(_OTHERS)]
            axes.plot(epochs, values, label=_short(what), color=colour, marker="." if len(epochs) < 3 else "")
        highest = max((value for values in lines.values() for value in values), default=0)
        axes.set_ylim(0, 1.05 * highest if highest > 0 else 1)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(_short(unit, 40))
        if len(lines) > 1:
            figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return found[0]


def spans(name: str, says: str, spans: Sequence[tuple[str, int, int]], unit: str) -> Markup:
    """Return what lies where on a line: name, first place, length of each."""
    found: list[Markup] = []
    with _figure(name, says, 7.4, 0.7 + 0.28 * len(spans), found) as figure:
        axes = figure.subplots()
        for number, (_, first, length) in enumerate(spans):
            axes.barh([number], [length], left=[first], color=_OTHERS[number % len(_OTHERS)], height=0.7)
        axes.set_yticks(range(len(spans)), [_short(what) for what, *_ in spans])
        axes.invert_yaxis()
        axes.set_xlabel(_short(unit))
    return found[0]


def grid(name: str, says: str, cells: Sequence[tuple[int, int, int]], kinds: Sequence[str]) -> Markup:
    """Return a floorplan: cells (x, y, kind) as squares of a chip."""
    require()
    from matplotlib.collections import PolyCollection  # pyright: ignore[reportMissingImports]

    found: list[Markup] = []
    xs, ys = [x for x, _, _ in cells], [y for _, y, _ in cells]
    tall = (max(ys) - min(ys) + 2) / (max(xs) - min(xs) + 2)
    with _figure(name, says, 7.0, min(max(6.2 * tall, 2.5), 8) + 0.6, found) as figure:
        axes, colours = figure.subplots(), (*_OTHERS, "#cdd2da")
        for number, kind in enumerate(kinds):
            own = [(x, y) for x, y, which in cells if which == number]
            if not own:
                continue
            squares = np.array(own)[:, np.newaxis] + _SQUARE
            axes.add_collection(
                PolyCollection(list(squares), color=colours[number % len(colours)], label=_short(kind))
            )
        axes.set_xlim(min(xs) - 1, max(xs) + 1)
        axes.set_ylim(min(ys) - 1, max(ys) + 1)
        axes.set_aspect("equal")
        figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return found[0]


def _short(text: str, most: int = 24) -> str:
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    text = f" {text}" if text.startswith("_") else text  # else it gets no legend
    return text if len(text) <= most else text[: most - 1] + "\u2026"
