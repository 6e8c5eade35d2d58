"""Which layers of a network to narrow, and to what, for a device that does not run it as it is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ..compiler.compile import compile_network
from ..compiler.obstacles import Obstacle
from ..errors import XnorcoreError
from ..isa.device import DeviceConfig
from ..model.layers import has_weights
from ..model.narrower import narrower
from ..model.network import Network

__all__ = ["narrowing"]

_FIELDS = {"weight_depth", "threshold_depth", "act_depth"}
"""What a narrower network needs less of, whatever its weights will be."""
_PARTS = 64
"""Of their outputs that several layers keep, the steps."""


def narrowing(network: Network, config: DeviceConfig, lacking: Sequence[Obstacle]) -> dict[str, Any] | None:
    """Return the layers with which a device runs a network if they are narrower, found by compiling.

    One layer, if one suffices: the one that keeps the largest part of its outputs. Else all but the last,
    each of them by the same part.

    Parameters
    ----------
    network : Network
    config : DeviceConfig
    lacking : sequence of Obstacle
        What the device lacks: if it is more than memory, nothing is looked for.

    Returns
    -------
    dict or None
        ``layers``: for each, ``layer``, its name; ``outputs``, what it has; ``needed``, the most that it may
        have; and the ``passes`` that follow. None, if that does not help.
    """
    if not {lack.field for lack in lacking} <= _FIELDS:
        return None
    hidden = {index: layer.outputs for index, layer in enumerate(network.layers[:-1]) if has_weights(layer)}
    found: list[tuple[float, dict[int, int]]] = []
    for index, there in hidden.items():
        if needed := _most(network, config, [{index: outputs} for outputs in range(1, there)]):
            found.append((needed[index] / there, needed))
    if not found:
        parts = [
            {index: max(1, there * part // _PARTS) for index, there in hidden.items()}
            for part in range(1, _PARTS)
        ]
        if needed := _most(network, config, parts):
            found.append((0, needed))
    if not found:
        return None
    _, needed = max(found, key=lambda entry: entry[0])
    layers = [
        {"layer": network.layers[i].name or f"layer{i}", "outputs": hidden[i], "needed": outputs}
        for i, outputs in needed.items()
    ]
    return {"layers": layers, "passes": _passes(network, config, needed)}


def _most(network: Network, config: DeviceConfig, rising: list[dict[int, int]]) -> dict[int, int] | None:
    """Return the last of some outputs of layers with which a network runs; None if it never does."""
    # The more outputs, the more of everything: behind the first that does not run, none does.
    count = bisect_left(rising, True, key=lambda outputs: not _passes(network, config, outputs))
    return rising[count - 1] if count else None


def _passes(network: Network, config: DeviceConfig, outputs: Mapping[int, int]) -> int:
    """Return the passes of a network with so many outputs of layers; 0 if it does not run."""
    try:
        for index, number in outputs.items():
            network = narrower(network, index, number)
        return compile_network(network, config).passes
    except XnorcoreError:
        return 0
