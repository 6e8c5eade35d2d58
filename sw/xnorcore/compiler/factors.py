"""Steps for XNOR-Net's K: signs and magnitudes, the sums of magnitudes, and the layer that these multiply.

An input scale is a step of its own for the layer in front of it, whose sums it turns into codes as
thresholds would; or two, if these sums are multiplied by a K themselves (`xnorcore.compiler.unary`). The
layer behind it has two: a convolution of ones over the magnitudes, at the same positions, and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import CapacityError, CompileError
from ..isa.codes import MAX_CODE_BITS
from ..isa.scaling import FACTOR_BITS, FACTOR_SHIFT, MAX_FACTOR, NEVER, Scaling, positions_of
from ..model.layers import Conv2d, Dense, InputScale
from ..model.limits import THRESHOLD_RANGE
from .lacking import name_of
from .nest import Lowered
from .plan import Join, Plan, Step
from .scaled import Scaled, Sent
from .unary import limits_of, magnitude_bits, sign_bits, turned

__all__ = ["check_positions", "check_resident", "check_rows", "multiplied_steps", "scale_steps"]

_MOST_SHIFT = 32
_WAY = "`golden` and `eval` compute it"


def _bound(plan: Plan, signal: int) -> int:
    """Return the largest magnitude of the values of an input scale, of which there is a plane at least."""
    return max(plan.network.values[signal].bound, 1)


def scale_steps(plan: Plan, step: Step, index: int) -> list[Step]:
    """Return the steps that give the signs and the magnitudes of an input scale.

    Parameters
    ----------
    plan : Plan
    step : Step
        Of the layer in front of it.
    index : int
        Of the input scale.

    Raises
    ------
    CompileError
        If a device cannot compute it.
    """
    network, giver, scale = plan.network, step.layer, plan.network.layers[index]
    assert isinstance(giver, Dense | Conv2d) and isinstance(scale, InputScale)
    name, bound = name_of(index, scale), _bound(plan, index + 1)
    if not plan.scale_depth:
        raise CompileError(
            f"layer {name!r} is an InputScale, XNOR-Net's K, for which the device has no memory, so that it "
            "cannot run it (scale_depth=0); build it with code_bits=8, result_lanes=1 and scale_depth=1024; "
            f"{_WAY}"
        )
    again = network.inputs(step.plan)[0].coding == "scaled"
    bits, most = bound.bit_length() + 1, MAX_CODE_BITS if again else min(plan.code_bits, MAX_CODE_BITS)
    if bits > most or not scale.bits:
        has = str(most) if again else f"the {plan.code_bits} that it has (code_bits, {MAX_CODE_BITS} at most)"
        raise CompileError(
            f"layer {name!r} is an InputScale, XNOR-Net's K, of values up to {bound}, {bits} bits with their "
            f"sign, bits={scale.bits}, but a device takes what saturates at {has}; use bits={most} "
            f"(scale_bits={most} in training); {_WAY}"
        )
    if not again:
        limits = limits_of(scale, range(1 - (1 << bits - 1), 1 << bits - 1), THRESHOLD_RANGE)
        folded = replace(step, layer=giver.with_arrays(turned(giver, scale), limits))
        return [
            replace(folded, index=index, gives=index + 1, whole=False, unit=Scaled(Scaling.FOLDED, bits=bits))
        ]
    sums = network.values[step.plan + 1].bound
    signs = replace(step, layer=sign_bits(giver, scale, sums), gives=index + 1, whole=False)
    *kept, signs = multiplied_steps(plan, replace(signs, index=index))
    plan.magnitudes[index + 1] = gives = plan.further(f"magnitudes of {name}")
    ones = magnitude_bits(giver, scale, bound, sums, name)
    return [*kept, signs, replace(signs, layer=ones, name=f"magnitudes of {name}", macs=0, gives=gives)]


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
    if layer.steps > 1:
        raise CompileError(
            f"layer {name!r} has {layer.steps} thresholds for K times its sums, but a device compares these "
            f"with one alone; give it one, and put a layer without K behind it; {_WAY}"
        )
    first = _magnitudes(plan, step, scale.mean_shift)
    if layer.thresholds is None:
        return _sent_steps(plan, first, step)
    taps, shift = layer.weights[0].size, scale.mean_shift
    most = taps * network.values[read].bound >> shift
    if shift > FACTOR_SHIFT:
        raise CompileError(
            f"layer {name!r} has a K that is shifted by {shift} (mean_shift), but a device shifts it by "
            f"at most {FACTOR_SHIFT}; use less; {_WAY}"
        )
    if most > MAX_FACTOR:
        needed = shift + most.bit_length() - FACTOR_BITS
        way = f"mean_shift={needed}, or " if needed <= FACTOR_SHIFT else ""
        raise CompileError(
            f"layer {name!r} has a K of up to {most} (mean_shift={shift}), but a device has {FACTOR_BITS} "
            f"bits for it, {MAX_FACTOR}; use {way}values of fewer bits; {_WAY}"
        )
    if most * layer.reach >= NEVER:
        raise CompileError(
            f"layer {name!r} has sums that reach {most * layer.reach} with their K, but a device compares "
            f"numbers of 32 bits, below {NEVER}; use a larger mean_shift, or values of fewer bits; {_WAY}"
        )
    return [first, replace(step, unit=Scaled(Scaling.MULTIPLIED))]


def _magnitudes(plan: Plan, step: Step, shift: int) -> Step:
    """Return the step that adds up the magnitudes which a layer with K reads, and keeps them as K."""
    layer = step.layer
    assert isinstance(layer, Dense | Conv2d)
    (read,) = plan.network.reads[step.plan]
    bound = _bound(plan, read)
    each = 2 * bound if read in plan.magnitudes else 1
    ones = np.ones((1, *layer.weights.shape[1:-1], each * layer.weights.shape[-1]), np.int8)
    if isinstance(layer, Conv2d):
        # Bits, and a single plane, of magnitudes are read as signs: what is not there is none.
        pad = -1 if each > 1 or bound == 1 else 0
        kept: Dense | Conv2d = Conv2d(
            ones, [0], stride=layer.stride, padding=layer.padding, pad_value=pad, name=layer.name
        )
    else:
        kept = Dense(ones, [0], layer.name)
    name = f"K of {step.name}"
    return replace(
        step, index=read - 1, layer=kept, name=name, macs=0, reads=plan.magnitudes.get(read, step.reads),
        gives=plan.further(name), whole=False, unit=Scaled(Scaling.KEPT, shift),
    )  # fmt: skip


def _sent_steps(plan: Plan, kept: Step, step: Step) -> list[Step]:
    """Return the steps of a last layer: sums of signs, and beside them those of magnitudes."""
    assert isinstance(kept.layer, Dense | Conv2d) and isinstance(kept.unit, Scaled)
    (read,) = plan.network.reads[step.plan]
    # Bits are counted as -1 and +1: half of that, and of all of them, are ones.
    bits = _bound(plan, read) == 1 or read in plan.magnitudes
    # No sum has more bits than an accumulator: what is shifted further is 0 all the same.
    sent = Sent(True, bits * kept.layer.weights[0].size, 1 << min(kept.unit.mean_shift, _MOST_SHIFT) + bits)
    sums = plan.further(f"sums of {step.name}")
    plan.joins[step.gives] = Join(step.index, step.gives, (sums, kept.gives))
    return [
        replace(step, gives=sums, whole=False, unit=Sent()),
        replace(kept, layer=kept.layer.with_arrays(bare=True), unit=sent),
    ]


def check_rows(plan: Plan, strips: int) -> None:
    """Refuse strips of one image where there is a K, whose positions are those of a whole image.

    Raises
    ------
    CapacityError
        As for what does not fit: the program with an image for each row is taken.
    """
    if strips > 1 and any(isinstance(step.unit, Scaled) for step in plan.steps):
        raise CapacityError(f"network {plan.network.name!r} has K, for which rows take an image each")


def check_positions(plan: Plan, lowered: Sequence[Lowered], depth: int) -> None:
    """Refuse more positions with a K than a device has a memory for, `scale_depth`.

    Raises
    ------
    CapacityError
        Names the layer.
    """
    for step, layer in zip(plan.steps, lowered, strict=True):
        if isinstance(step.unit, Scaled) and step.unit.kind == Scaling.KEPT:
            count = positions_of({loop: layer.nest.count(loop) for loop in ("x", "y", "win_x", "win_y")})
            if count > depth:
                raise CapacityError(
                    f"layer {step.name!r} keeps K of {count} positions, the device {depth} (scale_depth); "
                    f"build it with scale_depth={1 << (count - 1).bit_length()}"
                )


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
                f"weights take {passes}; give the buffers more words (weight_depth, threshold_depth), or the "
                "device a store; K right behind K takes fewer with fewer bits"
            )
