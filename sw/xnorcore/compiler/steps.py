"""What a device does for a network: a step for each layer with weights, and for what no other layer does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..errors import CapacityError, CompileError
from ..isa.program import Program
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
from ..model.limits import THRESHOLD_RANGE
from ..model.network import Network
from .adding import Sums, joined_sums, most_times, shares, spread
from .chains import NO_CHAINS, Chains
from .factors import multiplied_steps, scale_steps
from .lacking import few_bits, name_of
from .plan import IMAGE, Join, Plan, Step
from .pooling import COPY, PoolPass, joins, pool_passes
from .scaled import Scaled

__all__ = ["STEPS", "SaturatingError", "plan_of", "several_passes"]


class SaturatingError(CompileError):
    """An addition saturates that does not run in place."""


def several_passes(program: Program) -> CapacityError:
    """Return why values in place do not run, where they would take a program of several passes."""
    has = [f"{program.used[key]} of {getattr(program.config, key)} ({key})" for key in _KEPT]
    return CapacityError(
        f"network {program.network.name!r} takes {program.passes} passes, between which no values in place "
        f"stay: it needs {has[0]} words of weights, {has[1]} of thresholds"
    )


_KEPT = ("weight_depth", "threshold_depth")


def plan_of(
    network: Network,
    code_bits: int = 1,
    *,
    copies: bool = False,
    chains: Chains = NO_CHAINS,
    scale_depth: int = 0,
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
    scale_depth : int
        `DeviceConfig.scale_depth`.

    Raises
    ------
    CompileError
        If the network has a layer that the device cannot run.
    """
    names = {number: value.name for number, value in enumerate(network.values)}
    plan = Plan(network, names=names, code_bits=code_bits, scale_depth=scale_depth)
    plan.times = most_times(network) if copies else 1
    for index, layer in enumerate(network.layers):
        if index in chains.absorbed:
            continue
        few_bits(network, index, layer, code_bits)
        STEPS[type(layer)](plan, index, layer)
        if (own := chains.steps.get(index)) is not None:
            step = plan.steps[-1]
            gives = plan.further(f"{step.name}, in place alone") if own.gives is None else own.gives
            at, whole = (index, False) if own.gives is None else (gives - 1, True)
            plan.steps[-1] = replace(step, index=at, gives=gives, whole=whole, unit=own)
    plan.steps = [
        replace(step, reads=chains.planes[step.reads], top=True) if step.reads in chains.planes else step
        for step in plan.steps
    ]
    if len(network.layers) in plan.added:
        raise CompileError(
            f"layer {name_of(len(network.layers) - 1, network.layers[-1])!r} ends the network with sums of "
            "codes, which are not in a device's memory; put a layer with weights behind it"
        )
    return plan


def _weighted(plan: Plan, index: int, layer: Weighted) -> None:
    if layer.thresholds is None and plan.network.readers[index + 1]:
        return  # Input scales have steps for it.
    step, scaled = _step(plan, index, layer), plan.network.inputs(index)[0].coding == "scaled"
    plan.steps += multiplied_steps(plan, step) if scaled else [step]


def _step(plan: Plan, index: int, layer: Weighted) -> Step:
    """Return the step of a layer with weights."""
    (read,) = plan.network.reads[index]
    reads = plan.summed.get(read, read)
    name, macs = layer.name or f"layer{index}", plan.network.layer_macs[index]
    if reads in plan.added:
        layer = spread(layer, plan.added[reads], name)
    return Step(index, index, layer, name, macs, reads, index + 1, summed=read in plan.summed)


def _global_sum(plan: Plan, index: int, layer: GlobalSum) -> None:
    plan.summed[index + 1] = plan.network.reads[index][0]


def _input_scale(plan: Plan, index: int, layer: InputScale) -> None:
    giver = plan.network.reads[index][0] - 1
    front = plan.network.layers[giver]
    assert isinstance(front, Dense | Conv2d)
    plan.steps += scale_steps(plan, _step(plan, giver, front), index)


def _pool(plan: Plan, index: int, layer: MaxPool2d) -> None:
    network, (read,) = plan.network, plan.network.reads[index]
    for number, step in enumerate(plan.steps):
        alone = step.gives == read and len(network.readers[read]) == 1
        if alone and isinstance(step.layer, Conv2d) and joins(layer, step.layer):
            plan.steps[number] = replace(step, index=index, gives=index + 1, pool=layer)
            if isinstance(step.unit, Scaled):
                plan.steps[number - 1] = replace(plan.steps[number - 1], pool=layer)
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
    most = layer.most if isinstance(layer, Add) else None
    saturates = most is not None
    if most is not None and plan.code_bits < _planes(most):
        raise SaturatingError(
            f"layer {name_of(index, layer)!r} is an Add that saturates at {most}, for which the device "
            f"lacks codes of {_planes(most)} bits: it has {plan.code_bits} (code_bits, and "
            "result_lanes for more than 3); `golden` and `eval` compute it"
        )
    bits = {bits for number in reads for bits in _bits(plan.network, number)}
    if len(bits) > 1:
        raise (SaturatingError if saturates else CompileError)(
            f"layer {name_of(index, layer)!r} joins values of {' and '.join(map(str, sorted(bits)))} bits, "
            "which a device cannot but for values in place (value_depth); give all as many "
            "thresholds; `golden` and `eval` compute it"
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
    gives = plan.further(f"{name_of(index, layer)}, all sums") if saturates else index + 1
    plan.joins[gives] = Join(index, gives, tuple(parts))
    if adds or any(number in plan.added for number in reads):
        plan.added[gives] = joined_sums([(sums[number], times) for number, times in found], adds)
    if isinstance(layer, Add) and saturates:
        plan.steps.append(_saturated(plan, index, layer, gives))


def _saturated(plan: Plan, index: int, layer: Add, reads: int) -> Step:
    """Return the step of an addition that saturates: weights of 1 for a channel itself, and its levels."""
    assert layer.most is not None
    name, shape = name_of(index, layer), plan.network.shapes[index + 1]
    # A single plane would be signs: the second one of 0 and 1 is always 0.
    levels = [
        *range(1 + layer.offset, layer.most + 1 + layer.offset),
        *[THRESHOLD_RANGE[1]] * (layer.most == 1),
    ]
    limits = np.tile(levels, (shape[-1], 1))
    weights = np.eye(shape[-1], dtype=np.int8)
    made = (
        Conv2d(weights[:, None, None], limits, name=name) if len(shape) == 3 else Dense(weights, limits, name)
    )
    return Step(index, index, spread(made, plan.added[reads], name), name, 0, reads, index + 1)


def _sums(plan: Plan, number: int) -> Sums:
    """Return what a value consists of."""
    return plan.added.get(number) or Sums.of(plan.network.shapes[number][-1])


def _planes(most: int) -> int:
    """Return the planes of sums that saturate at `most`, which are codes in memory."""
    return max(most.bit_length(), 2)


def _bits(network: Network, number: int) -> set[int]:
    """Return how many bits the codes have that a value consists of, or that are added to it."""
    layer = network.layers[number - 1] if number else None
    if isinstance(layer, Add) and layer.most is not None:
        return {_planes(layer.most)}
    if isinstance(layer, Concat | Add):
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
    if isinstance(first.unit, Scaled):
        before = plan.steps[plan.steps.index(first) - 1]
        name = f"{before.name} again"
        plan.steps.append(replace(before, plan=index, name=name, gives=plan.further(name)))
    plan.steps.append(
        replace(first, plan=index, name=f"{first.name} again", macs=0, gives=gives, whole=False)
    )
    return gives


STEPS: dict[type, Callable[..., None]] = {
    Dense: _weighted, Conv2d: _weighted, MaxPool2d: _pool, GlobalSum: _global_sum, InputScale: _input_scale,
    Concat: _join, Add: _join,
}  # fmt: skip
"""By kind of layer: what it adds to a plan."""
