"""The page as one file: scripts, style, device and networks inside, and a policy that lets nothing in."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from xnorcore import __version__

__all__ = ["STATIC", "page", "script"]

STATIC = Path(__file__).with_name("static")
_START = "app"
_IMPORT = re.compile(r"^import (\{[^}]*\}) from \"\./(\w+)\.js\";$", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


def script() -> str:
    """Return the page's modules as one classic script, which runs from a file as well as from a server.

    Raises
    ------
    ValueError
        If a module imports or exports in a form that this does not know, or in a circle.
    """
    texts: dict[str, str] = {}
    _gather(_START, texts, ())
    return '"use strict";\n(() => {\n' + "\n".join(texts.values()) + "\n})();\n"


def _gather(name: str, texts: dict[str, str], above: tuple[str, ...]) -> None:
    """Put a module, as a function of its own that gives what it exports, behind those that it imports."""
    if name in texts:
        return
    if name in above:
        raise ValueError(f"modules import each other: {', '.join([*above, name])}")
    text = (STATIC / f"{name}.js").read_text("utf-8")
    for _, other in _IMPORT.findall(text):
        _gather(other, texts, (*above, name))
    exported = [found[1] for found in _EXPORT.findall(text)]
    body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const \1 = $\2;", text))
    if left := re.search(r"^(?:import|export)\b.*", body, re.MULTILINE):
        raise ValueError(f"{name}.js has {left.group()!r}, which cannot be joined")
    texts[name] = f"const ${name} = (() => {{\n{body}return {{ {', '.join(exported)} }};\n}})();"


def page(
    wasm: bytes, clock_hz: int, config: Mapping[str, int], networks: Sequence[Mapping[str, Any]], made: str
) -> str:
    """Return the page.

    Parameters
    ----------
    wasm : bytes
        The simulated device.
    clock_hz : int
        Its clock.
    config : mapping of str to int
        Its configuration, flat.
    networks : sequence of mapping
        As `xnorcore_hw.web.bundle.bundle` gives them; the first is there when the page opens.
    made : str
        The command that makes the page.
    """
    about = {
        "version": __version__,
        "made": made,
        "clockHz": clock_hz,
        "config": dict(config),
        "wasm": base64.b64encode(wasm).decode(),
        "networks": list(networks),
    }
    code, style = script(), (STATIC / "style.css").read_text("utf-8")
    values = {
        "policy": escape(_policy([code], [style])),
        "style": style,
        "about": json.dumps(about, separators=(",", ":")).replace("<", "\\u003c"),
        "script": code,
    }
    text = (STATIC / "index.html").read_text("utf-8")
    # In one pass: what stands in a value is not looked at again.
    return re.sub(r"@(\w+)@", lambda match: values[match.group(1)], text)


def _policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """Content security policy: what is in the page may run, and nothing is fetched."""

    def hashes(texts: Iterable[str]) -> str:
        sums = (hashlib.sha256(text.encode()).digest() for text in texts)
        return " ".join(f"'sha256-{base64.b64encode(sum_).decode()}'" for sum_ in sums)

    rules = {
        "default-src": "'none'",
        "script-src": f"{hashes(scripts)} 'wasm-unsafe-eval'",
        "style-src": hashes(styles),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
