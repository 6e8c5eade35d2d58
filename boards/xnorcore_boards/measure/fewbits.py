"""What of a device is for values and weights of several bits, where a search has networks of such."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from xnorcore.compiler.chains import chains
from xnorcore.compiler.lacking import bits_needed
from xnorcore.isa.codes import MAX_CODE_BITS, MAX_COMPARED_BITS
from xnorcore.isa.device import MAX_DEPTH, DeviceConfig
from xnorcore.model.layers import InputScale
from xnorcore.model.network import Add, Network

__all__ = ["codes", "with_memories"]

_LANES = (1, 2, 4)
_LEAST = 64
"""The smallest memory beside a results unit that is legal."""


def codes(networks: Iterable[Network]) -> list[dict[str, int]]:
    """Return what makes codes of as many bits as networks need.

    Nothing besides, or sums of rows, where codes are compared with all their thresholds; a results unit; one
    with memories, whose depths come later, where a network adds to values in place, or has numbers K.
    """
    networks = list(networks)
    bits = max(map(bits_needed, networks), default=1)
    scaled = any(_positions(network) for network in networks)
    if bits == 1 and not scaled:
        return [{}]
    lanes = [{"result_lanes": lanes} for lanes in _LANES]
    found = [{"code_bits": bits, **more} for more in lanes]
    if bits <= MAX_COMPARED_BITS:
        found = [{"code_bits": bits}, {"code_bits": bits, "row_sums": 1}, *found]
    if not scaled and not any(isinstance(layer, Add) for network in networks for layer in network.layers):
        return found
    memories = {"code_bits": MAX_CODE_BITS, "value_depth": MAX_DEPTH, "scale_depth": MAX_DEPTH * scaled}
    return [*found, *({**memories, **more} for more in lanes)]


def with_memories(config: DeviceConfig, networks: Iterable[Network]) -> DeviceConfig:
    """Return a configuration whose memories beside the results unit are as large as networks need them."""
    if not config.value_depth:
        return config
    networks = list(networks)
    values = max((_values(network, config) for network in networks), default=0)
    scales = max(map(_positions, networks), default=0)
    depth = max(1 << (scales - 1).bit_length(), _LEAST) if scales else 0
    return replace(config, value_depth=values, scale_depth=depth)


def _values(network: Network, config: DeviceConfig) -> int:
    """Return the least `value_depth` with which a network's additions are in place; 0, if it has no such."""
    most = chains(network, config).steps.keys()
    depth = config.value_depth if most else 0
    while depth > _LEAST and chains(network, replace(config, value_depth=depth // 2)).steps.keys() == most:
        depth //= 2
    return depth


def _positions(network: Network) -> int:
    """Return the positions of the largest map that has numbers K, or 0."""
    found = 0
    for index, layer in enumerate(network.layers):
        if isinstance(layer, InputScale):
            *sizes, _ = network.shapes[index + 1]
            found = max(found, sizes[0] * sizes[1] if sizes else 1)
    return found
