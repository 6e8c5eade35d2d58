"""Plots as SVG inside of a page, by Matplotlib; the same values give the same text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from .html import Markup
from .svg import CAUSE_COLOURS, COLOURS, INK, REST, WIDTH, drawn, require

__all__ = ["bars", "confusion", "curves", "grid", "require", "roofline", "spans"]

_TOGETHER = 0.2
"""Points of a roofline that are no further apart, in powers of ten, share a label."""
_SQUARE = 0.46 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
_WHOLE_CELL = 0.5 * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
_HEAT = "#2f6fb5"
_ROOF_HIGH = 3.9
"""Inches of a roofline."""
_LINE = 11
"""Points from one line of text to the next."""
_MOST_COUNTS = 20
"""Classes up to which a confusion matrix has its counts and names."""


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
    with drawn(name, says, WIDTH, 0.9 + 0.32 * len(rows), found) as figure:
        axes = figure.subplots()
        left = np.zeros(len(rows))
        for number, (part, values) in enumerate(parts.items()):
            colour = CAUSE_COLOURS.get(part, COLOURS[number % len(COLOURS)])
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
            figure.legend(loc="outside upper center", ncols=_beside(parts), frameon=False)
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
    with drawn(name, says, WIDTH, _ROOF_HIGH, found) as figure:
        axes = figure.subplots()
        corners = [peak / slope for slope in slopes.values()]
        across = [x for _, x, _ in points] + corners
        low, high = min(across) / 4, max(across) * 4
        x = np.geomspace(low, high, 200)
        axes.axhline(peak, color=INK, linewidth=1)
        axes.annotate(f"array {peak:,.0f} MACs/cycle", (high, peak), ha="right", va="bottom")
        for number, (what, slope) in enumerate(slopes.items()):
            colour = COLOURS[number]
            axes.plot(
                x,
                np.minimum(slope * x, peak),
                color=colour,
                label=f"{_short(what)}: {slope:,.3g} bytes/cycle",
            )
        axes.plot([x for _, x, _ in points], [y for *_, y in points], "o", color=COLOURS[2], markersize=5)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: _decade(value))
            axis.set_minor_formatter(lambda value, _: "")
        bottom, top = max(min([done for *_, done in points] + [peak]) / 5, 1e-3), peak * 3
        axes.set_ylim(top=top, bottom=bottom)
        for (names, at, done), down in _apart(_groups(points), (low, high), (bottom, top)):
            axes.annotate(names, (at, done), xytext=(6, -down), textcoords="offset points")
        axes.set_xlabel("MACs per byte")
        axes.set_ylabel("MACs per cycle")
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return found[0]


_Label = tuple[str, float, float]


def _apart(
    labels: Sequence[_Label], across: tuple[float, float], up: tuple[float, float]
) -> list[tuple[_Label, float]]:
    """Return labels of points on logarithmic axes, each with how far below its point it stands.

    In points of the drawing: further down where it would stand on another one.
    """
    sizes = 72 * (WIDTH - 0.8), 72 * (_ROOF_HIGH - 0.9)
    placed: list[tuple[float, float, float]] = []
    found = []
    for label in sorted(labels, key=lambda label: -label[2]):
        text, *values = label
        x, y = (
            size * np.log10(value / least) / np.log10(most / least)
            for value, size, (least, most) in zip(values, sizes, (across, up), strict=True)
        )
        begin, end, line = x, x + 5.3 * len(text), y - 9
        for other_begin, other_end, other in sorted(placed, key=lambda box: -box[2]):
            if begin < other_end and other_begin < end and abs(line - other) < _LINE:
                line = other - _LINE
        placed.append((begin, end, line))
        found.append((label, float(y - line)))
    return found


def _decade(value: float) -> str:
    for least, sign in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= least:
            return f"{value / least:g}{sign}"
    return f"{value:g}"


def _groups(points: Sequence[_Label]) -> list[_Label]:
    """Return points with names for all that lie together: names, and the place of the lowest of them."""
    groups: list[list[_Label]] = []
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
    require()
    from matplotlib.collections import PolyCollection  # pyright: ignore[reportMissingImports]
    from matplotlib.colors import to_rgba  # pyright: ignore[reportMissingImports]

    size = len(classes)
    told = size <= _MOST_COUNTS
    side = max(1.8, 0.36 * size) if told else WIDTH - 1
    with drawn(name, says, side + (1.3 if told else 1), side + 1, found) as figure:
        axes = figure.subplots()
        values = np.asarray(counts, float)
        share = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
        cells = [((column, row), part) for (row, column), part in np.ndenumerate(share) if part]
        axes.add_collection(
            PolyCollection(
                [np.array(at) + _WHOLE_CELL for at, _ in cells],
                facecolors=[to_rgba(_HEAT, part) for _, part in cells],
                edgecolors="none",
            )
        )
        if told:
            for (row, column), count in np.ndenumerate(np.asarray(counts)):
                # Ink on a light ground, light on a dark one; both are to be read on the full colour.
                ink = "white" if share[row, column] > 0.8 else INK
                if count:
                    axes.text(column, row, f"{count}", ha="center", va="center", color=ink, fontsize=8)
            names = [_short(each, 12) for each in classes]
            turned = {"rotation": 45, "ha": "right"} if max(map(len, names)) > 2 else {}
            axes.set_xticks(range(size), names, **turned)
            axes.set_yticks(range(size), names)
        axes.set_xlim(-0.5, size - 0.5)
        axes.set_ylim(-0.5, size - 0.5)
        axes.invert_yaxis()
        axes.set_xlabel("the network says")
        axes.set_ylabel("the image is")
    return found[0]


def curves(
    name: str, says: str, epochs: Sequence[int], lines: Mapping[str, Sequence[float]], unit: str
) -> Markup:
    """Return curves over epochs."""
    found: list[Markup] = []
    with drawn(name, says, WIDTH, 2.4, found) as figure:
        axes = figure.subplots()
        for number, (what, values) in enumerate(lines.items()):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(epochs, values, label=_short(what), color=colour, marker="." if len(epochs) < 3 else "")
        highest = max((value for values in lines.values() for value in values), default=0)
        axes.set_ylim(0, 1.05 * highest if highest > 0 else 1)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(_short(unit, 40))
        if len(lines) > 1:
            figure.legend(loc="outside upper center", ncols=_beside(lines), frameon=False)
    return found[0]


def spans(name: str, says: str, spans: Sequence[tuple[str, int, int]], unit: str) -> Markup:
    """Return what lies where on a line: name, first place, length of each."""
    found: list[Markup] = []
    with drawn(name, says, WIDTH, 0.7 + 0.28 * len(spans), found) as figure:
        axes = figure.subplots()
        for number, (_, first, length) in enumerate(spans):
            axes.barh([number], [length], left=[first], color=COLOURS[number % len(COLOURS)], height=0.7)
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
    with drawn(name, says, WIDTH, min(max(4.4 * tall, 1.8), 6) + 0.8, found) as figure:
        axes, colours = figure.subplots(), (*COLOURS, REST)
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
        figure.legend(loc="outside upper center", ncols=_beside(kinds), frameon=False)
    return found[0]


def _beside(names: Iterable[str]) -> int:
    """Return how many names of a legend fit beside each other."""
    longest = max((len(_short(name)) for name in names), default=1)
    return max(1, min(4, 56 // (longest + 6)))


def _short(text: str, most: int = 24) -> str:
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    text = f" {text}" if text.startswith("_") else text  # else it gets no legend
    return text if len(text) <= most else text[: most - 1] + "\u2026"
