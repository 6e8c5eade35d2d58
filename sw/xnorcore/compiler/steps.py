"""What a device does for a network: a step for each layer with weights, and for what no other layer pools."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import CompileError
from ..model.layers import Conv2d, Dense, GlobalSum, InputScale, MaxPool2d
from ..model.network import Network
from .pooling import PoolPass, joins, pool_passes

__all__ = ["Step", "steps_of"]


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
    pool : MaxPool2d or None
        What pools the result on its way to memory.
    summed : bool
        It reads a sum over positions.
    whole : bool
        Its result is all of layer `index`.
    """

    index: int
    plan: int
    layer: Dense | Conv2d | PoolPass
    name: str
    macs: int
    pool: MaxPool2d | None = None
    summed: bool = False
    whole: bool = True


def steps_of(network: Network) -> list[Step]:
    """Return what a device does for a network, in order.

    Raises
    ------
    CompileError
        If the network has a layer that the device cannot run.
    """
    if any(reads != (index,) for index, reads in enumerate(network.reads)):
        raise CompileError("the network branches or joins, which no device runs yet; use golden or fast")
    steps: list[Step] = []
    summed = False
    for index, (layer, macs) in enumerate(zip(network.layers, network.layer_macs, strict=True)):
        name = layer.name or f"layer{index}"
        if isinstance(layer, GlobalSum):
            summed = True
        elif isinstance(layer, InputScale):
            raise CompileError(
                f"layer {name!r} is an InputScale, XNOR-Net's K, which depends on the image and the position "
                "and so is no threshold; the accelerator cannot run it; train without input_scale"
            )
        elif isinstance(layer, MaxPool2d):
            conv = steps[-1].layer
            if isinstance(conv, Conv2d) and joins(layer, conv):
                steps[-1] = replace(steps[-1], index=index, pool=layer)
                continue
            height, width, _ = network.shapes[index]
            parts = pool_passes(layer, (height, width))
            steps += [Step(index, index, part, name, 0, whole=part is parts[-1]) for part in parts]
        elif isinstance(layer, Dense | Conv2d):
            steps.append(Step(index, index, layer, name, macs, summed=summed))
        else:
            raise CompileError(f"layer {name!r} is a {type(layer).__name__}, which is not supported")
    return steps
