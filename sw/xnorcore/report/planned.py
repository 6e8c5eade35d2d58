"""The page of ``plan``: which boards run a network, how fast, and what bounds it on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..pages.diagram import diagram
from ..pages.html import Markup, document, figure, paragraph, section, tab
from .board import roofline_parts

__all__ = ["plan_page"]


def plan_page(
    value: Mapping[str, Any], graph: Sequence[Mapping[str, Any]], made_by: Mapping[str, Any]
) -> str:
    """Return the page.

    Parameters
    ----------
    value : mapping
        What ``plan --json`` prints.
    graph : sequence of mapping
        As `gather.graph` gives it.
    made_by : mapping
        As `gather.provenance`.
    """
    titles = ("board", "runs", "device images/s", "wire images/s", "images/s", "latency, us")
    rows = [
        (
            board["board"],
            f"{board['passes']} passes" if board["runs"] == "passes" else board["runs"],
            *(
                "" if board[key] is None else f"{board[key]:,.1f}"
                for key in ("device_images_per_s", "wire_images_per_s", "images_per_s", "latency_us")
            ),
        )
        for board in value["boards"]
    ]
    parts = [
        paragraph(f"{value['sizes']}, {value['input']['bits']}-bit inputs"),
        section("Boards", tab(titles, rows), paragraph("By computation, over the board's own UART.", "soft")),
        section("Network", figure(diagram(graph))),
        *(_board(number, board) for number, board in enumerate(value["boards"])),
    ]
    return document(f"{value['network']} on {len(value['boards'])} boards", parts, made_by)


def _board(number: int, board: Mapping[str, Any]) -> Markup:
    if board["missing"]:
        rows = [
            (lack["field"], lack["there"], lack["needed"], lack["reason"])
            if lack["field"]
            else ("", "", "", lack["reason"])
            for lack in board["missing"]
        ]
        return section(f"{board['board']}: lacks", tab(("field", "there", "needed", "why"), rows))
    return section(board["board"], *roofline_parts(board["roofline"], f"roofline{number}"))
