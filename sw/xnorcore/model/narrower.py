"""Networks with fewer outputs of a layer: the rest of the network is cut to fit."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..errors import NetworkError, UsageError
from .layers import Layer, has_weights, is_dense
from .network import Network
from .values import Shape

__all__ = ["fitted", "narrower"]


def fitted(layers: Sequence[Layer], reads: Sequence[Sequence[int]], shape: Shape) -> list[Layer]:
    """Cut weights that read more than the layers before still give.

    Parameters
    ----------
    layers, reads
        As of `Network`.
    shape : tuple of int
        Of the image.
    """
    found: list[Layer] = []
    shapes = [shape]
    for layer, numbers in zip(layers, reads, strict=True):
        mine = [shapes[number] for number in numbers]
        if has_weights(layer):
            size = prod(mine[0]) if is_dense(layer) else mine[0][2]
            layer = layer.with_arrays(layer.weights[..., :size])
        found.append(layer)
        shapes.append(layer.output_shape(*mine))
    return found


def narrower(network: Network, index: int, outputs: int) -> Network:
    """Return a network whose layer `index` keeps its first `outputs` outputs.

    Which weights it keeps is of no meaning: it has the form of one that is yet to be trained.

    Raises
    ------
    UsageError
        If the layer has no such outputs, or others need as many as it has.
    """
    layer = network.layers[index]
    if not has_weights(layer) or index == len(network.layers) - 1 or not 0 < outputs <= layer.outputs:
        raise UsageError(f"layer {index} of network {network.name!r} cannot have {outputs} outputs")
    limits = layer.thresholds
    cut = layer.with_arrays(layer.weights[:outputs], None if limits is None else limits[:outputs])
    layers = [*network.layers[:index], cut, *network.layers[index + 1 :]]
    try:
        layers = fitted(layers, network.reads, network.input.shape)
        return Network(network.name, network.input, layers, network.classes, reads=network.reads)
    except (NetworkError, IndexError, ValueError) as error:
        raise UsageError(
            f"network {network.name!r} with {outputs} outputs of layer {index}: {error}"
        ) from None
