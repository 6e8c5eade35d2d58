"""HTML out of values: whatever is not made here is text, and never markup."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

__all__ = ["Markup", "document", "figure", "join", "pairs", "paragraph", "section", "shown", "tab"]

_STYLE = Path(__file__).with_name("style.css").read_text(encoding="utf-8")


class Markup(str):
    """Text that is markup already; made by this package only."""

    __slots__ = ()


def shown(value: object) -> Markup:
    """Return a value as markup; text of any kind is escaped, None is ``none``."""
    if isinstance(value, Markup):
        return value
    if isinstance(value, bool):
        return Markup("yes" if value else "no")
    if isinstance(value, int):
        return Markup(f"{value:,}")
    text = "none" if value is None else str(value)
    return Markup(escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)))


def join(parts: Iterable[Markup]) -> Markup:
    """Put markup together, a line each."""
    return Markup("\n".join(parts))


def paragraph(value: object, kind: str = "") -> Markup:
    """Return a paragraph, of a class of the style if there is one."""
    mark = f' class="{kind}"' if kind else ""
    return Markup(f"<p{mark}>{shown(value)}</p>")


def section(title: str, *parts: Markup) -> Markup:
    """Return parts under a heading; nothing if there are none."""
    kept = [part for part in parts if part]
    return (
        join([Markup(f"<section><h2>{shown(title)}</h2>"), *kept, Markup("</section>")]) if kept else Markup()
    )


def figure(content: Markup, caption: object = "") -> Markup:
    """Return a drawing or picture with what it shows; a drawing that is too wide can be scrolled."""
    below = f"<figcaption>{shown(caption)}</figcaption>" if caption else ""
    # What can be scrolled is reached by the keyboard.
    head = content[: content.find(">")]
    wide = ' tabindex="0"' if 'class="broad"' in head or 'class="natural"' in head else ""
    return Markup(f"<figure{wide}>{content}{below}</figure>")


def pairs(rows: Iterable[tuple[str, object]]) -> Markup:
    """Return a table of names and values."""
    lines = (
        f'<tr><th scope="row">{shown(key)}</th><td><code>{shown(value)}</code></td></tr>'
        for key, value in rows
    )
    return _wide(f"<tbody>{''.join(lines)}</tbody>")


def tab(titles: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Markup:
    """Return a table; numbers stand to the right, cells that are ``(text, class)`` have that class."""
    head = "".join(f'<th scope="col">{shown(title)}</th>' for title in titles)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    above = f"<caption>{shown(caption)}</caption>" if caption else ""
    return _wide(f"{above}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")


def _wide(rows: str) -> Markup:
    return Markup(f'<div class="wide" tabindex="0"><table>{rows}</table></div>')


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        text, kind = value
        return f'<td class="{shown(kind)}">{shown(text)}</td>'
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(value, str) and not isinstance(value, Markup):
        number = bool(value) and set(value) <= set("0123456789.,%-")
    return f"<td{' class=n' if number else ''}>{shown(value)}</td>"


def document(title: str, parts: Iterable[Markup], about: Mapping[str, object] | None = None) -> str:
    """Return a page that needs no other file and asks no other host.

    Parameters
    ----------
    title : str
    parts : iterable of Markup
    about : mapping, optional
        What stands at the end: versions, hashes, the command.
    """
    policy = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    rules = f"default-src 'none'; img-src data:; style-src 'sha256-{policy}'"
    foot = section("Made by", pairs(about.items())) if about else Markup()
    body = join([Markup(f"<h1>{shown(title)}</h1>"), *(part for part in parts if part), foot])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{shown(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )
