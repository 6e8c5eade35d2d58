"""Steps for XNOR-Net's K: signs and magnitudes, the sums of magnitudes, and the layer that these multiply.

An input scale is a step of its own for the layer in front of it, whose sums it turns into codes as
thresholds would. The layer behind it has two: a convolution of ones over the magnitudes, at the same
positions, and itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..errors import CapacityError, CompileError
from ..isa.codes import MAX_CODE_BITS
from ..isa.scaling import FACTOR_BITS, FACTOR_SHIFT, MAX_FACTOR, NEVER, Scaling
from ..model.layers import Conv2d, Dense, InputScale
from ..model.limits import THRESHOLD_RANGE
from .lacking import name_of
from .plan import Plan, Step
from .scaled import Scaled

__all__ = ["check_resident", "check_rows", "folded_layer", "folded_step", "multiplied_steps"]

_WAY = "`golden` and `eval` compute it"


def folded_layer(plan: Plan, index: int, layer: InputScale) -> Dense | Conv2d:
    """Return the layer in front of an input scale, with thresholds for its codes.

    Parameters
    ----------
    plan : Plan
    index : int
        Of the input scale.
    layer : InputScale

    Raises
    ------
    CompileError
        If a device cannot compute it.
    """
    network, name = plan.network, name_of(index, layer)
    (read,) = network.reads[index]
    giver, bound = network.layers[read - 1], network.values[index + 1].bound
    assert isinstance(giver, Dense | Conv2d)
    what = f"layer {name!r} is an InputScale, XNOR-Net's K"
    if not plan.scale_depth:
        raise CompileError(
            f"{what}, for which the device has no memory, so that it cannot run it (scale_depth=0); build it "
            f"with code_bits=8, result_lanes=1 and scale_depth=1024; {_WAY}"
        )
    if network.inputs(read - 1)[0].coding == "scaled":
        raise CompileError(
            f"{what}, of sums that are multiplied by a K already, which a device compares with one threshold "
            f"alone; put a layer without K between (every second one has K); {_WAY}"
        )
    bits, most = bound.bit_length() + 1, min(plan.code_bits, MAX_CODE_BITS)
    if bits > most or not layer.bits:
        raise CompileError(
            f"{what}, of values up to {bound}, {bits} bits with their sign, bits={layer.bits}, but a device "
            f"takes what saturates at the {plan.code_bits} that it has (code_bits, {MAX_CODE_BITS} at most); "
            f"use bits={most} (scale_bits={most} in training); {_WAY}"
        )
    weights = giver.weights.astype(np.int64)
    weights[layer.multiplier < 0] *= -1
    return giver.with_arrays(weights, _thresholds(layer, bits))


def _thresholds(layer: InputScale, bits: int) -> NDArray[np.int64]:
    """Return from which sums on values are 1 - 2^(bits - 1) and more, of multipliers without their signs."""
    half, (low, high) = 1 << bits - 1, THRESHOLD_RANGE
    found = []
    for multiplier, offset in zip(layer.multiplier.tolist(), layer.offset.tolist(), strict=True):
        wanted = [(number << layer.shift) - offset for number in range(1 - half, half)]
        if multiplier:
            limits = [-(-one // abs(multiplier)) for one in wanted]
        else:
            limits = [low if one <= 0 else high for one in wanted]
        found.append([min(max(limit, low), high) for limit in limits])
    return np.array(found, np.int64)


def folded_step(step: Step, index: int) -> Step:
    """Return the step of a layer in front of an input scale as it gives that scale's signs and magnitudes."""
    assert isinstance(step.layer, Dense | Conv2d)
    bits = step.layer.steps.bit_length()
    return replace(step, index=index, gives=index + 1, whole=False, unit=Scaled(Scaling.FOLDED, bits=bits))


def multiplied_steps(plan: Plan, step: Step) -> list[Step]:
    """Return the step of a layer behind an input scale, and in front of it the one that keeps its K.

    Raises
    ------
    CompileError
        If its sums, or K, are more than a device has bits for, or it compares with more than one threshold.
    """
    network, layer, name = plan.network, step.layer, step.name
    assert isinstance(layer, Dense | Conv2d)
    (read,) = network.reads[step.plan]
    scale = network.layers[read - 1]
    assert isinstance(scale, InputScale)
    if layer.steps != 1:
        given = f"{layer.steps} thresholds" if layer.steps else "no thresholds"
        raise CompileError(
            f"layer {name!r} has {given} for K times its sums, but a device compares these with one alone; "
            f"give it one, and put a layer without K behind it; {_WAY}"
        )
    taps, shift = layer.weights[0].size, scale.mean_shift
    most = taps * network.values[read].bound >> shift
    needed = max(shift + most.bit_length() - FACTOR_BITS, 0)
    if most > MAX_FACTOR or shift > FACTOR_SHIFT:
        raise CompileError(
            f"layer {name!r} has a K of up to {most} (mean_shift={shift}), but a device has {FACTOR_BITS} "
            f"bits for it, {MAX_FACTOR}, and a mean_shift of at most {FACTOR_SHIFT}; use "
            f"mean_shift={needed}, or values of fewer bits; {_WAY}"
        )
    if most * layer.reach >= NEVER:
        raise CompileError(
            f"layer {name!r} has sums that reach {most * layer.reach} with their K, but a device compares "
            f"numbers of 32 bits, below {NEVER}; use a larger mean_shift, or values of fewer bits; {_WAY}"
        )
    ones = np.ones((1, *layer.weights.shape[1:]), np.int8)
    # A single plane of magnitudes is read as signs: what is not there is none.
    alone = network.values[read].bound == 1
    if isinstance(layer, Conv2d):
        pad = -1 if alone else 0
        kept: Dense | Conv2d = Conv2d(
            ones, [0], stride=layer.stride, padding=layer.padding, pad_value=pad, name=layer.name
        )
    else:
        kept = Dense(ones, [0], layer.name)
    gives = plan.further(f"K of {name}")
    first = replace(
        step, index=read - 1, layer=kept, name=f"K of {name}", macs=0, gives=gives, whole=False,
        unit=Scaled(Scaling.KEPT, shift),
    )  # fmt: skip
    return [first, replace(step, unit=Scaled(Scaling.MULTIPLIED))]


def check_rows(plan: Plan, strips: int) -> None:
    """Refuse strips of one image where there is a K, whose positions are those of a whole image.

    Raises
    ------
    CapacityError
        As for what does not fit: the program with an image for each row is taken.
    """
    if strips > 1 and any(isinstance(step.unit, Scaled) for step in plan.steps):
        raise CapacityError(f"network {plan.network.name!r} has K, for which rows take an image each")


def check_resident(plan: Plan, passes: int) -> None:
    """Refuse several passes where there is a K, which is not there any more when the next pass runs.

    Raises
    ------
    CapacityError
        Names the layer.
    """
    for step in plan.steps if passes > 1 else ():
        if isinstance(step.unit, Scaled):
            raise CapacityError(
                f"layer {step.name!r} has to do with K, which a device keeps no longer than a pass, but the "
                f"weights take {passes}; give the buffers more words (weight_depth, threshold_depth)"
            )
