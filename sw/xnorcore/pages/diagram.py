"""A network as a drawing: its values in rows, what they are read by below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .html import Markup, shown
from .svg import COLOURS, INK, colour

__all__ = ["diagram"]

_BOX, _HIGH, _GAP, _DOWN = 210, 62, 24, 34
_GROUND, _ARROW = "#f2f4f7", "#5a6372"
_MOST = 500
"""Width from which the drawing is scrolled on a telephone, and not made smaller."""


def diagram(nodes: Sequence[Mapping[str, Any]]) -> Markup:
    """Return the drawing.

    Parameters
    ----------
    nodes : sequence of mapping
        ``name``; ``lines``, two texts; ``reads``, indices of nodes before it.
    """
    depth: list[int] = []
    for node in nodes:
        depth.append(1 + max((depth[index] for index in node["reads"]), default=-1))
    rows: dict[int, list[int]] = {}
    for index, level in enumerate(depth):
        rows.setdefault(level, []).append(index)
    widest = max(map(len, rows.values()))
    width = widest * (_BOX + _GAP) + _GAP
    height = len(rows) * (_HIGH + _DOWN)
    place: dict[int, tuple[float, float]] = {}
    for level, members in rows.items():
        left = (width - len(members) * (_BOX + _GAP) + _GAP) / 2
        for at, index in enumerate(members):
            place[index] = left + at * (_BOX + _GAP), level * (_HIGH + _DOWN) + 4
    parts = []
    for index, node in enumerate(nodes):
        x, y = place[index]
        for reader in node["reads"]:
            over, above = place[reader]
            x0, y0, x1 = over + _BOX / 2, above + _HIGH, x + _BOX / 2
            path = f"M{x0:g} {y0:g}C{x0:g} {(y0 + y) / 2:g} {x1:g} {(y0 + y) / 2:g} {x1:g} {y:g}"
            parts.append(f'<path d="{path}" fill="none" stroke="{colour(_ARROW)}" stroke-width="1.5"/>')
    for index, node in enumerate(nodes):
        x, y = place[index]
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{_BOX}" height="{_HIGH}" rx="6" '
            f'fill="{colour(_GROUND)}" stroke="{colour(COLOURS[0])}"/>'
        )
        for line, text in enumerate([node["name"], *node["lines"]]):
            weight = ' font-weight="bold"' if line == 0 else ""
            at = f'x="{x + _BOX / 2:g}" y="{y + 19 + 17 * line:g}"'
            cut = text if len(text) <= 32 else text[:31] + "\u2026"
            parts.append(f'<text {at}{weight} text-anchor="middle" fill="{colour(INK)}">{shown(cut)}</text>')
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    kind = ' class="natural"' if width > _MOST else ""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}{kind}'
    label = f'role="img" aria-label="{len(nodes)} values of the network and what reads them"'
    return Markup(f'{head} {label} font-family="sans-serif" font-size="12">{"".join(parts)}</svg>')
