"""What a network needs of an array's memories, and what it reaches there at the most: found by compiling."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.isa.device import MAX_DEPTH, DeviceConfig
from xnorcore.isa.program import Program
from xnorcore.model.layers import Dense
from xnorcore.model.network import Network
from xnorcore.runtime.rates import wire_bytes

__all__ = ["LEAST_DEPTH", "MOST_ACC", "Need", "alike", "convolves", "needs"]

LEAST_DEPTH = 64
"""The smallest weight buffer that is legal."""
MOST_ACC = 32


@dataclass(frozen=True)
class Need:
    """What a network needs of an array, its weights resident or in passes.

    Attributes
    ----------
    acc_width, weight_depth, threshold_depth, act_depth, program_depth, line_bytes : int
        With all weights in the buffers.
    passes_depth : int
        `act_depth` in passes; 0, if there is no use for them, one tile's weights are too many, or there is a
        store.
    beats : float
        Array cycles of an image, at least.
    image_bytes : float
        Of an image on the wire in one pass, in the slower direction.
    weight_bytes : int
        Of all weights and start values.
    """

    acc_width: int
    weight_depth: int
    threshold_depth: int
    act_depth: int
    program_depth: int
    line_bytes: int
    passes_depth: int
    beats: float
    image_bytes: float
    weight_bytes: int

    def fits(self, config: DeviceConfig) -> bool:
        """Return whether all weights and start values are in the buffers at once, or in the store."""
        if config.store_words:
            return self.weight_bytes <= 4 * config.store_words
        return self.weight_depth <= config.weight_depth and self.threshold_depth <= config.threshold_depth

    def runs(self, config: DeviceConfig) -> bool:
        """Return whether the network may run on this array with these depths, be it in passes."""
        act_depth = self.act_depth if self.fits(config) else self.passes_depth
        return self.acc_width <= config.acc_width and 0 < act_depth <= config.act_depth


def convolves(network: Network) -> bool:
    """Return whether a network needs more than what dense devices have."""
    return any(not isinstance(layer, Dense) or layer.weight_width > 1 for layer in network.layers)


def alike(network: Network, config: DeviceConfig) -> Hashable:
    """Return what a network's program depends on, but for depths, of what tells arrays apart."""
    kind = config.whole_windows, config.column_align, config.row_sums
    unit = config.code_bits, config.result_lanes, config.value_depth, config.scale_depth
    return config.geometry, config.store_words, unit, kind if convolves(network) else None


def needs(
    networks: Mapping[str, Network],
    array: DeviceConfig,
    known: dict[Hashable, Need | None] | None = None,
) -> dict[str, Need]:
    """Return what those networks need that run on an array with enough of everything.

    Parameters
    ----------
    networks : mapping of str to Network
    array : DeviceConfig
    known : dict, optional
        Holds what was found before, and gets what is found now.
    """
    known = {} if known is None else known
    found: dict[str, Need] = {}
    for name, network in networks.items():
        if convolves(network) and not array.convolution:
            continue
        key = name, alike(network, array)
        if key not in known:
            known[key] = _need(network, array)
        if need := known[key]:
            found[name] = need
    return found


def _need(network: Network, array: DeviceConfig) -> Need | None:
    try:
        whole = compile_network(network, replace(array, acc_width=MOST_ACC))
    except CompileError:
        return None
    header = whole.header
    return Need(
        max(layer.acc_bits for layer in whole.layers),
        **{field: whole.used[field] for field in whole.used if field != "store_words"},
        line_bytes=_lines(header, array) if header.get("interleaved") else 0,
        passes_depth=_passes_depth(network, array, whole),
        beats=whole.beats / whole.batch,
        image_bytes=wire_bytes(whole),
        weight_bytes=sum(len(block.data) for section in whole.sections for block in section.buffers),
    )


def _lines(header: Mapping[str, int], array: DeviceConfig) -> int:
    """Return the bytes of the line buffer that a network fills."""
    padded = array.whole_windows  # the buffer holds the rows' padding as well
    row = (header["row_step"] + header["run_last"]) & 0xFFFF if padded else header["row_values"]
    return (header["kernel_last"] + 1) * row


def _passes_depth(network: Network, array: DeviceConfig, whole: Program) -> int:
    """Return the activation memory that a network takes in passes: it does not depend on their number."""
    weights = min(whole.used["weight_depth"], MAX_DEPTH + 1) - 1
    if weights < LEAST_DEPTH or array.store_words:
        return 0
    config = replace(array, acc_width=MOST_ACC, weight_depth=weights)
    try:
        return compile_network(network, config).used["act_depth"]
    except CompileError:
        return 0
