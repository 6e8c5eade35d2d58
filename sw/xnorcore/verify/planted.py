"""Faults planted on purpose, so that one can see that `xnorcore verify` finds them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..compiler.compile import compile_network
from ..errors import UsageError
from ..folding.fold import ALWAYS, NEVER
from ..isa.program import Block, Program
from ..isa.protocol import Space
from ..model.layers import Conv2d, Weighted, has_weights
from ..model.network import Network
from .compare import LayerCheck

__all__ = ["FORMS", "Fault", "plant", "random_fault"]

FORMS = "weight:LAYER:CHANNEL:TAP, threshold:LAYER:CHANNEL:CHANGE or output:COLUMN:0|1"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a device's memories.

    Attributes
    ----------
    kind : str
        ``weight``: one stored weight bit is the other one. ``threshold``: a channel's start values are those
        of a threshold that is off by `value`. ``output``: whatever an array column compares with a
        threshold gives the bit `value`.
    layer, channel : int
        Layer of the network and output channel; of ``output``, 0 and the array's column.
    value : int
        Tap, in the order of docs/numerics.md; change of the threshold; or stuck bit.
    """

    kind: str
    layer: int
    channel: int
    value: int

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read one of `FORMS`.

        Raises
        ------
        UsageError
            If it is none of them.
        """
        kind, *rest = text.split(":")
        wanted = {"weight": 3, "threshold": 3, "output": 2}.get(kind)
        numeric = all(item.removeprefix("-").isdecimal() and len(item) < 12 for item in rest)
        if wanted != len(rest) or not text.isascii() or not numeric:
            raise UsageError(f"fault {text!r} is not {FORMS}")
        numbers = [int(item) for item in rest]
        if kind == "output":
            numbers = [0, *numbers]
        if kind == "output" and numbers[2] not in (0, 1):
            raise UsageError(f"fault {text!r}: an output sticks at 0 or 1, not at {numbers[2]}")
        return cls(kind, *numbers)

    def named_by(self, check: LayerCheck, columns: int, network: Network) -> bool:
        """Return whether a difference is where this fault is.

        Parameters
        ----------
        check : LayerCheck
            The first of an engine that differs.
        columns : int
            Of the array.
        network : Network
        """
        if self.kind == "output":
            return {channel % columns for channel in check.channels} == {self.channel}
        # The bits of a pooled layer are seen behind the pooling.
        places = {self.layer}
        if network.pooled_by(self.layer) is not None:
            places |= set(network.readers[self.layer + 1])
        return check.index in places and check.channels == (self.channel,)

    def __str__(self) -> str:
        parts = [self.channel] if self.kind == "output" else [self.layer, self.channel]
        return ":".join(map(str, [self.kind, *parts, self.value]))


def plant(program: Program, fault: Fault) -> Program:
    """Return `program` with one wrong spot in what is written to the device; its identifier stays.

    Parameters
    ----------
    program : Program
    fault : Fault

    Raises
    ------
    UsageError
        If there is no such place.
    """
    network = program.network
    if fault.kind == "output":
        space, changed = Space.THRESHOLDS, _stuck(network, fault, program.config.geometry.columns)
    elif fault.kind == "threshold":
        space, changed = Space.THRESHOLDS, _threshold(network, fault)
    else:
        space, changed = Space.WEIGHTS, _weight(network, fault)
    # Where a bit lies in the memories is the compiler's business: that space of another network's program.
    at_once = 1 if program.spread else None
    other = compile_network(changed, program.config, at_once)
    sections = (
        replace(mine, buffers=_mixed(mine.buffers, theirs.buffers, space))
        for mine, theirs in zip(program.sections, other.sections, strict=True)
    )
    return replace(program, sections=tuple(sections))


def random_fault(rng: np.random.Generator, program: Program) -> Fault | None:
    """Return a fault that changes what a device holds and may compute, or None if none is found."""
    network, columns = program.network, program.config.geometry.columns
    layers = {i: one for i, one in enumerate(network.layers) if has_weights(one)}
    for _ in range(20):
        index = int(rng.choice(list(layers)))
        layer = layers[index]
        channel = int(rng.integers(layer.outputs))
        kind = str(rng.choice(["weight", "threshold", "output"]))
        if kind == "weight":
            fault = Fault(kind, index, channel, int(rng.integers(layer.weights[0].size)))
            if not _meets_values(network, fault):
                continue
        elif kind == "output":
            fault = Fault(kind, 0, channel % columns, int(rng.integers(2)))
        elif layer.thresholds is not None:
            fault = Fault(kind, index, channel, int(rng.choice([-100, -2, -1, 1, 2, 100])))
        else:
            continue
        other = plant(program, fault)
        if (other.blocks, other.later) != (program.blocks, program.later):
            return fault
    return None


def _meets_values(network: Network, fault: Fault) -> bool:
    """Return whether a tap meets anything: beyond the edge of a small map there may be zeros only."""
    layer = network.layers[fault.layer]
    if not isinstance(layer, Conv2d) or layer.pad_value:
        return True
    row, column = divmod(fault.value // layer.inputs, layer.kernel[1])
    rows, columns = layer.valid(network.inputs(fault.layer)[0].shape)
    return bool(rows[:, row].any() and columns[:, column].any())


def _mixed(mine: tuple[Block, ...], theirs: tuple[Block, ...], space: Space) -> tuple[Block, ...]:
    return tuple(b if a.space == space else a for a, b in zip(mine, theirs, strict=True))


def _place(network: Network, fault: Fault) -> Weighted:
    """Return the layer of a fault, which has that channel."""
    count = len(network.layers)
    layer = network.layers[fault.layer] if 0 <= fault.layer < count else None
    if not has_weights(layer):
        known = ", ".join(str(i) for i, layer in enumerate(network.layers) if layer.weight_bits)
        raise UsageError(f"fault {fault}: layer {fault.layer} has no weights; layers that have: {known}")
    if not 0 <= fault.channel < layer.outputs:
        raise UsageError(f"fault {fault}: channel {fault.channel} is not 0 to {layer.outputs - 1}")
    return layer


def _weight(network: Network, fault: Fault) -> Network:
    layer = _place(network, fault)
    weights = layer.weights.copy()
    row = weights.reshape(layer.outputs, -1)[fault.channel]
    if not 0 <= fault.value < len(row):
        raise UsageError(f"fault {fault}: tap {fault.value} is not 0 to {len(row) - 1}")
    row[fault.value] *= -1
    return network.with_layer(fault.layer, layer.with_arrays(weights=weights))


def _threshold(network: Network, fault: Fault) -> Network:
    layer = _place(network, fault)
    if layer.thresholds is None:
        raise UsageError(f"fault {fault}: layer {fault.layer} gives scores and has no thresholds")
    thresholds = layer.thresholds.copy()
    thresholds[fault.channel] = np.clip(thresholds[fault.channel] + fault.value, ALWAYS, NEVER)
    return network.with_layer(fault.layer, layer.with_arrays(thresholds=thresholds))


def _stuck(network: Network, fault: Fault, columns: int) -> Network:
    if not 0 <= fault.channel < columns:
        raise UsageError(f"fault {fault}: column {fault.channel} is not 0 to {columns - 1}")
    for index, layer in enumerate(network.layers):
        if has_weights(layer) and layer.thresholds is not None:
            thresholds = layer.thresholds.copy()
            thresholds[fault.channel :: columns] = ALWAYS if fault.value else NEVER
            network = network.with_layer(index, layer.with_arrays(thresholds=thresholds))
    return network
