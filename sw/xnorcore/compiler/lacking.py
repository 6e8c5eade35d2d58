"""What a device has not: layers of a network that it cannot run, by name, with the way out."""

from __future__ import annotations

from ..errors import CompileError
from ..isa.codes import MAX_COMPARED_BITS
from ..model.layers import Add, Concat, Conv2d, Layer, has_weights, is_dense
from ..model.network import Network

__all__ = ["bits_needed", "few_bits", "name_of", "only_dense"]


def name_of(index: int, layer: Layer) -> str:
    """Return what a layer is called in messages."""
    return layer.name or f"layer{index}"


def bits_needed(network: Network) -> int:
    """Return the `DeviceConfig.code_bits` that a network's values need, and its weights of several bits."""
    layers = [(layer, value) for layer, value in zip(network.layers, network.values[1:], strict=True)]
    weighted = [(layer, value) for layer, value in layers if has_weights(layer)]
    codes = [value.bits for _, value in weighted if value.coding == "unsigned"]
    return max([1, *codes, *(2 for layer, _ in weighted if layer.weight_width > 1)])


def few_bits(network: Network, index: int, layer: Layer, code_bits: int) -> None:
    """Refuse values of more bits behind the image than the device has, and weights where it has no codes.

    Parameters
    ----------
    network : Network
    index : int
    layer : Layer
        The network's, of that number.
    code_bits : int
        `DeviceConfig.code_bits`.

    Raises
    ------
    CompileError
        Names the layer.
    """
    name, value = name_of(index, layer), network.values[index + 1]
    way = "`golden` and `eval` compute them; one bit (a sign, weights of -1 and +1) runs"
    if has_weights(layer) and layer.weight_width > 1 and code_bits == 1:
        raise CompileError(
            f"layer {name!r} has weights of {layer.weight_width} bits, but the device has 1 (code_bits); "
            f"build it with code_bits={bits_needed(network)}; {way}"
        )
    if has_weights(layer) and value.coding == "unsigned" and value.bits > code_bits:
        there = f"the device has {code_bits} (code_bits)"
        lanes = " and result_lanes=1" if value.bits > MAX_COMPARED_BITS else ""
        way = f"build it with code_bits={value.bits}{lanes}; {way}"
        raise CompileError(f"layer {name!r} gives values of {value.bits} bits, {there}; {way}")
    image = network.inputs(index)[0]
    if (
        network.reads[index] == (0,)
        and isinstance(layer, Conv2d)
        and image.coding == "unsigned"
        and layer.pad_value
        and any(layer.padding)
    ):
        raise CompileError(
            f"layer {name!r} pads {image.bits}-bit values with {layer.pad_value}: a device pads them with 0 "
            "alone; pad the image, quantise so that the value 0 is 0, or import it with --inputs if no pixel "
            "is below 0; `golden` and `eval` compute it"
        )


def only_dense(network: Network) -> None:
    """Refuse a network that has more than dense layers, for devices without the loops of others.

    Raises
    ------
    CompileError
        Names the layer.
    """
    for index, layer in enumerate(network.layers):
        if not is_dense(layer) and not isinstance(layer, Concat | Add):
            raise CompileError(
                f"layer {name_of(index, layer)!r} is a {type(layer).__name__}, but the device has dense "
                "layers only (convolution=0); build it with convolution=1"
            )
        if has_weights(layer) and layer.weight_width > 1:
            raise CompileError(
                f"layer {name_of(index, layer)!r} has weights of {layer.weight_width} bits, for which the "
                "device lacks a loop (convolution=0); build it with convolution=1 and code_bits=2"
            )
