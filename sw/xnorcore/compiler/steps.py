"""What a device does for a network: a step for each layer with weights, and for what no other layer does.

Steps read and give **signals**: those of the network's values, by their numbers, and further ones that only
the device has, between the passes of a pooling, or as copies. A `Join` is a signal that several steps write
together, each its own part of every position.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..errors import CompileError
from ..model.layers import (
    Add,
    Concat,
    Conv2d,
    Dense,
    GlobalSum,
    InputScale,
    MaxPool2d,
    Weighted,
)
from ..model.network import Network
from .adding import Sums, joined_sums, most_times, shares, spread
from .chains import NO_CHAINS, Chains, InPlace
from .lacking import few_bits, name_of
from .pooling import COPY, PoolPass, joins, pool_passes

__all__ = ["STEPS", "Join", "Plan", "Step", "plan_of"]

IMAGE = 0
"""The signal of the image."""


@dataclass(frozen=True)
class Step:
    """What the device runs at once: a layer with weights, or a pass of a pooling.

    Attributes
    ----------
    index : int
        Layer of the network that gives the step's result.
    plan : int
        Layer that the step's cost belongs to.
    layer : Dense, Conv2d or PoolPass
    name : str
    macs : int
    reads, gives : int
        Signals.
    pool : MaxPool2d or None
        What pools the result on its way to memory.
    summed : bool
        It reads a sum over positions.
    whole : bool
        Its result is all of layer `index`, and is there for the first time.
    in_place : InPlace or None
        Its codes are added to values that are in no memory that steps read.
    """

    index: int
    plan: int
    layer: Weighted | PoolPass
    name: str
    macs: int
    reads: int
    gives: int
    pool: MaxPool2d | None = None
    summed: bool = False
    whole: bool = True
    in_place: InPlace | None = None


@dataclass(frozen=True)
class Join:
    """Signals that lie beside each other, as the parts of one.

    Attributes
    ----------
    index : int
        Layer of the network, a `Concat` or an `Add`.
    gives : int
    parts : tuple of int
        Signals, in the order of their channels; each is part of one join, and nothing else reads it.
    """

    index: int
    gives: int
    parts: tuple[int, ...]


@dataclass
class Plan:
    """Steps in order, and joins; and what is known while they are made.

    Attributes
    ----------
    network : Network
    steps : list of Step
    joins : dict of int to Join
        By the signal that they give.
    inner : list of Join
        Those whose parts are parts of another one, which alone reads them.
    names : dict of int to str
        What signals are called, no two alike.
    summed : dict of int to int
        Signals of global sums, which are in no memory, and the maps that they are of.
    added : dict of int to Sums
        Signals whose values are sums of what lies in memory.
    times : int
        Most times that what lies there once may count in a sum.
    """

    network: Network
    steps: list[Step] = field(default_factory=list)
    joins: dict[int, Join] = field(default_factory=dict)
    inner: list[Join] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    summed: dict[int, int] = field(default_factory=dict)
    added: dict[int, Sums] = field(default_factory=dict)
    times: int = 1

    def further(self, name: str) -> int:
        """Return a signal that the network does not have."""
        signal = max(self.names) + 1
        while name in self.names.values():
            name += "'"
        self.names[signal] = name
        return signal


def plan_of(
    network: Network, code_bits: int = 1, *, copies: bool = False, chains: Chains = NO_CHAINS
) -> Plan:
    """Return what a device does for a network, in order.

    Parameters
    ----------
    network : Network
    code_bits : int
        `DeviceConfig.code_bits`.
    copies : bool
        It has the loop of weights of several bits.
    chains : Chains
        What of it runs in place.

    Raises
    ------
    CompileError
        If the network has a layer that the device cannot run.
    """
    plan = Plan(network, names={number: value.name for number, value in enumerate(network.values)})
    plan.times = most_times(network) if copies else 1
    for index, layer in enumerate(network.layers):
        if index in chains.absorbed:
            continue
        few_bits(network, index, layer, code_bits)
        STEPS[type(layer)](plan, index, layer)
        if (own := chains.steps.get(index)) is not None:
            plan.steps[-1] = replace(plan.steps[-1], index=own.gives - 1, gives=own.gives, in_place=own)
    if len(network.layers) in plan.added:
        raise CompileError(
            f"layer {name_of(len(network.layers) - 1, network.layers[-1])!r} ends the network with sums of "
            "codes, which are not in a device's memory; put a layer with weights behind it"
        )
    return plan


def _weighted(plan: Plan, index: int, layer: Weighted) -> None:
    (read,) = plan.network.reads[index]
    reads = plan.summed.get(read, read)
    name, macs = layer.name or f"layer{index}", plan.network.layer_macs[index]
    if reads in plan.added:
        layer = spread(layer, plan.added[reads], name)
    step = Step(index, index, layer, name, macs, reads, index + 1, summed=read in plan.summed)
    plan.steps.append(step)


def _global_sum(plan: Plan, index: int, layer: GlobalSum) -> None:
    plan.summed[index + 1] = plan.network.reads[index][0]


def _input_scale(plan: Plan, index: int, layer: InputScale) -> None:
    raise CompileError(
        f"layer {name_of(index, layer)!r} is an InputScale, XNOR-Net's K, which depends on the image and the "
        "position and so is no threshold; the accelerator cannot run it; train without input_scale"
    )


def _pool(plan: Plan, index: int, layer: MaxPool2d) -> None:
    network, (read,) = plan.network, plan.network.reads[index]
    for number, step in enumerate(plan.steps):
        alone = step.gives == read and len(network.readers[read]) == 1
        if alone and isinstance(step.layer, Conv2d) and joins(layer, step.layer):
            plan.steps[number] = replace(step, index=index, gives=index + 1, pool=layer)
            return
    height, width, _ = network.values[read].shape
    name = name_of(index, layer)
    if read in plan.added:
        raise CompileError(
            f"layer {name!r} pools sums of codes, which a device cannot; put a layer with weights between"
        )
    if network.values[read].coding == "unsigned":
        raise CompileError(
            f"layer {name!r} pools codes in a layer of its own (padding, more than 4 rows or columns, "
            "windows that overlap, or a map that others read), which a device does with bits alone; `golden` "
            "and `eval` compute it"
        )
    parts = pool_passes(layer, (height, width))
    for part in parts:
        last = part is parts[-1]
        gives = index + 1 if last else plan.further(f"{name}, first pass")
        plan.steps.append(Step(index, index, part, name, 0, read, gives, whole=last))
        read = gives


def _join(plan: Plan, index: int, layer: Concat | Add) -> None:
    reads = plan.network.reads[index]
    parts: list[int] = []
    bits = {bits for number in reads for bits in _bits(plan.network, number)}
    if len(bits) > 1:
        raise CompileError(
            f"layer {name_of(index, layer)!r} joins values of {' and '.join(map(str, sorted(bits)))} bits, "
            "which a device cannot but for values in place (value_depth); give all as many thresholds"
        )
    adds = isinstance(layer, Add)
    if IMAGE in reads:
        raise CompileError(
            f"layer {name_of(index, layer)!r} {'adds' if adds else 'concatenates'} the image, which lies in "
            "memory in a form of its own; put a layer between"
        )
    sums = {number: _sums(plan, number) for number in reads}
    found = [(number, 1) for number in reads]
    if adds:
        found = [
            (number, share)
            for number, times in Counter(reads).items()
            for share in shares(times, plan.times // sums[number].most)
        ]
    for number, _ in found:
        alone = sum(number == other for other, _ in found) == 1 and plan.network.readers[number] == (index,)
        parts += _parts(plan, number) if alone else _copies(plan, index, number)
    plan.joins[index + 1] = Join(index, index + 1, tuple(parts))
    if adds or any(number in plan.added for number in reads):
        plan.added[index + 1] = joined_sums([(sums[number], times) for number, times in found], adds)


def _sums(plan: Plan, number: int) -> Sums:
    """Return what a value consists of."""
    return plan.added.get(number) or Sums.of(plan.network.shapes[number][-1])


def _bits(network: Network, number: int) -> set[int]:
    """Return how many bits the codes have that a value consists of, or that are added to it."""
    if number and isinstance(network.layers[number - 1], Concat | Add):
        return {bits for part in network.reads[number - 1] for bits in _bits(network, part)}
    return {network.values[number].bits}


def _parts(plan: Plan, signal: int) -> tuple[int, ...]:
    """Return the signals that a signal consists of: a join's parts become those of the join that takes it."""
    if signal not in plan.joins:
        return (signal,)
    inner = plan.joins.pop(signal)
    plan.inner.append(inner)
    return inner.parts


def _copies(plan: Plan, index: int, number: int) -> list[int]:
    """Add steps that give a value once more, for a join of its own; return their signals.

    A map is copied. A vector is computed again, for which a device needs no loops but those of dense layers.
    """
    value = plan.network.values[number]
    if len(value.shape) == 3:
        gives = plan.further(f"{value.name}, copied")
        copy = PoolPass(*COPY, value.shape[:2])
        plan.steps.append(Step(index, index, copy, f"copy of {value.name}", 0, number, gives, whole=False))
        return [gives]
    parts = plan.joins[number].parts if number in plan.joins else (number,)
    return [_again(plan, index, part) for part in parts]


def _again(plan: Plan, index: int, signal: int) -> int:
    """Add a step that computes a vector again, which may be one that was; return its signal."""
    layer = next(step.index for step in plan.steps if step.gives == signal)
    first = next(step for step in plan.steps if step.index == layer)
    gives = plan.further(f"{plan.names[first.gives]}, again")
    plan.steps.append(
        replace(first, plan=index, name=f"{first.name} again", macs=0, gives=gives, whole=False)
    )
    return gives


STEPS: dict[type, Callable[..., None]] = {
    Dense: _weighted, Conv2d: _weighted, MaxPool2d: _pool, GlobalSum: _global_sum, InputScale: _input_scale,
    Concat: _join, Add: _join,
}  # fmt: skip
"""By kind of layer: what it adds to a plan."""
