"""How the shape of a network is written, and what of it the host computes."""

from __future__ import annotations

from typing import Any

from ..model.layers import is_dense
from ..model.network import Network

__all__ = ["host_facts", "host_lines", "sizes"]


def sizes(network: Network) -> str:
    """Return the shape of a network in one word, as ``64-256-128-10`` or ``8x8x1-6x6x16-10``."""
    maps = not all(is_dense(network.layers[reader]) for reader in network.readers[0])
    first = network.input.shape if maps else (network.input.size,)
    return "-".join("x".join(map(str, shape)) for shape in [first, *network.shapes[1:]])


def host_facts(network: Network) -> dict[str, Any] | None:
    """Return what the host computes of a network, in the form of ``--json``; None if nothing."""
    parts = {"head": network.head, "tail": network.tail}
    if not any(parts.values()):
        return None
    return {
        end: part and {
            "reads": list(part.shape),
            "gives": list(part.shapes[-1]),
            "layers": [layer.kind for layer in part.layers],
            "macs": part.work,
        }
        for end, part in parts.items()
    }  # fmt: skip


def host_lines(host: dict[str, Any] | None) -> list[str]:
    """Return the same as text, a line for each end."""
    lines = []
    for end, part in (host or {}).items():
        if part:
            sizes = " to ".join(" x ".join(map(str, part[key])) for key in ("reads", "gives"))
            layers = ", ".join(part["layers"]) or "no layers"
            lines.append(f"on the host, {end}: {sizes} values by {layers}; {part['macs']:,} MACs per image")
    return lines
