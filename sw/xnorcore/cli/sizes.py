"""How the shape of a network is written."""

from __future__ import annotations

from ..model.layers import is_dense
from ..model.network import Network

__all__ = ["sizes"]


def sizes(network: Network) -> str:
    """Return the shape of a network in one word, as ``64-256-128-10`` or ``8x8x1-6x6x16-10``."""
    maps = not all(is_dense(network.layers[reader]) for reader in network.readers[0])
    first = network.input.shape if maps else (network.input.size,)
    return "-".join("x".join(map(str, shape)) for shape in [first, *network.shapes[1:]])
