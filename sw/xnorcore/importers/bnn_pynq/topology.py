"""Which network a BNN-PYNQ folder holds, and the shape of each layer, found from the sizes of its files.

Two topologies exist. LFC is a chain of four dense layers, thresholds in each. CNV has six 3 x 3 convolutions
without padding, 2 x 2 pooling behind the second and the fourth, and three dense layers, the last without
thresholds.

A layer of n neurons and k inputs has n / pe * k / simd entries of simd bits in each of its pe files. All but
one of these follow from the files; the number of bits that words use must agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import ImportFailedError
from .files import Folder, RawLayer

CNV_LAYERS, CNV_CONVS, CNV_POOLED = 9, 6, (1, 3)
CNV_SIDE, CNV_CHANNELS = 32, 3
LFC_LAYERS = 4
LFC_INPUTS, LFC_PIXELS, LFC_SIDE = 832, 784, 28
"""LFC pads the 784 pixels of an image with 0 bits."""
_POPCOUNT_LIMIT, _FIRST_LIMIT = 1 << 15, 1 << 23
"""Thresholds fit 16 bits, those of CNV's first layer 24: more is no threshold of these accelerators."""


@dataclass(frozen=True)
class Shape:
    """Shape of one stored layer.

    Attributes
    ----------
    neurons, inputs : int
        Rows and columns of the weight matrix, padding included.
    simd : int
        Inputs per word.
    conv : bool
        A 3 x 3 convolution; then `inputs` are 9 times its channels.
    """

    neurons: int
    inputs: int
    simd: int
    conv: bool

    @property
    def steps(self) -> int:
        """Words per neuron."""
        return self.inputs // self.simd


@dataclass(frozen=True)
class Topology:
    """What a folder holds.

    Attributes
    ----------
    kind : str
        ``"LFC"`` or ``"CNV"``.
    shapes : tuple of Shape
    classes : int
        Neurons of the last layer that are not padding.
    """

    kind: str
    shapes: tuple[Shape, ...]
    classes: int


def find(folder: Folder) -> Topology:
    """Find the topology.

    Raises
    ------
    ImportFailedError
        If sizes, thresholds or ``classes.txt`` contradict each other; names the layer.
    """
    last = len(folder.layers) - 1
    for index, layer in enumerate(folder.layers):
        if layer.thresholds is None and index < last:
            raise ImportFailedError(
                f"{str(folder.path)!r}: layer {index} has no thresholds, but only the last may have none; "
                "copy the folder again"
            )
    scores = folder.layers[last].thresholds is None
    if last + 1 != (CNV_LAYERS if scores else LFC_LAYERS):
        raise ImportFailedError(
            f"{str(folder.path)!r}: {last + 1} layers, {'the last without' if scores else 'all with'} "
            f"thresholds, are neither LFC ({LFC_LAYERS}, all with) nor CNV ({CNV_LAYERS}, the last without); "
            "copy the folder again"
        )
    shapes: list[Shape] = []
    for index, layer in enumerate(folder.layers):
        conv = scores and index < CNV_CONVS
        inputs = shapes[-1].neurons if shapes else CNV_CHANNELS if scores else None
        shape = _shape(f"{str(folder.path)!r}: layer {index}", layer, inputs, conv)
        limit = _FIRST_LIMIT if scores and index == 0 else _POPCOUNT_LIMIT
        _thresholds(f"{str(folder.path)!r}: layer {index}", layer, limit)
        shapes.append(shape)
    return Topology("CNV" if scores else "LFC", tuple(shapes), _classes(folder, shapes[-1]))


def _shape(what: str, layer: RawLayer, sources: int | None, conv: bool) -> Shape:
    entries = layer.words.shape[1]
    used = int(layer.words.max()).bit_length()
    if not used:
        raise ImportFailedError(f"{what}: all weights are -1; copy the folder again")
    inputs = None if sources is None else sources * (9 if conv else 1)
    if layer.thresholds is None:
        assert inputs is not None
        # Here the words themselves must say how long they are.
        if inputs % used or entries % (inputs // used):
            raise ImportFailedError(
                f"{what}: {entries} words of {used} bits per file do not make rows of {inputs} inputs; "
                "copy the folder again"
            )
        return Shape(entries // (inputs // used) * layer.pe, inputs, used, conv)
    count = layer.thresholds.shape[1]
    if entries % count:
        raise ImportFailedError(
            f"{what}: {entries} words per file for {count} thresholds, but must be a multiple (networks with "
            "activations of more than one bit, W1A2 and W2A2, are not supported); copy the folder again"
        )
    steps = entries // count
    if inputs is None:
        inputs = steps * used
        if inputs not in (LFC_INPUTS, LFC_PIXELS):
            raise ImportFailedError(
                f"{what}: {steps} words of {used} bits per neuron are {inputs} inputs, but LFC reads "
                f"{LFC_PIXELS} pixels, or {LFC_INPUTS} with padding; copy the folder again"
            )
    if steps * used != inputs:
        raise ImportFailedError(
            f"{what}: {steps} words of {used} bits per neuron, but the layer before gives {inputs} values; "
            "copy the folder again"
        )
    return Shape(count * layer.pe, inputs, used, conv)


def _thresholds(what: str, layer: RawLayer, limit: int) -> None:
    if layer.thresholds is None:
        return
    low, high = int(layer.thresholds.min()), int(layer.thresholds.max())
    if low < -limit or high >= limit:
        bad = low if low < -limit else high
        raise ImportFailedError(
            f"{what}: a threshold is {bad}, but must be {-limit} to {limit - 1}; copy the folder again"
        )


def matrix(layer: RawLayer, shape: Shape) -> np.ndarray:
    """Return the weights of a layer, padding included: int8 -1 and +1, shape (neurons, inputs)."""
    octets = layer.words.astype("<u8").view(np.uint8).reshape(layer.pe, -1, shape.steps, 8)
    bits = np.unpackbits(octets, axis=3, count=shape.simd, bitorder="little")
    by_neuron = bits.transpose(1, 0, 2, 3).reshape(shape.neurons, shape.inputs)
    return 2 * by_neuron.astype(np.int8) - 1


def neuron_thresholds(layer: RawLayer) -> np.ndarray:
    """Return the thresholds of a layer by neuron: int64, shape (neurons,)."""
    assert layer.thresholds is not None
    return layer.thresholds.T.reshape(-1)


def _classes(folder: Folder, shape: Shape) -> int:
    layer = folder.layers[-1]
    real = (matrix(layer, shape) < 0).any(axis=1)
    if layer.thresholds is not None:
        real |= neuron_thresholds(layer) < shape.inputs
    count = int(np.flatnonzero(real)[-1]) + 1 if real.any() else 0
    if not count:
        raise ImportFailedError(f"{str(folder.path)!r}: the last layer is all padding; copy the folder again")
    if folder.classes is not None and len(folder.classes) != count:
        raise ImportFailedError(
            f"{str(folder.path)!r}: classes.txt names {len(folder.classes)} classes, but the last layer has "
            f"{count} neurons that are not padding; give the classes.txt of this network, or none"
        )
    return count
