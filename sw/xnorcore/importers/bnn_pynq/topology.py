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
from .files import CNV_LAST, Folder, RawLayer

CNV_CONVS, CNV_POOLED = 6, (1, 3)
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
    _two_bit(folder)
    last = len(folder.layers) - 1
    scores = last == CNV_LAST
    if not scores and last + 1 != LFC_LAYERS:
        raise ImportFailedError(
            f"{str(folder.path)!r}: {last + 1} layers are neither LFC ({LFC_LAYERS}) nor CNV "
            f"({CNV_LAST + 1}); only these two networks of BNN-PYNQ can be imported"
        )
    for index, layer in enumerate(folder.layers):
        if layer.thresholds is None and not (scores and index == last):
            raise ImportFailedError(
                f"{str(folder.path)!r}: layer {index} has no thresholds, but only the last of CNV's "
                f"{CNV_LAST + 1} layers may have none; add {index}-0-thres.bin and so on"
            )
    shapes: list[Shape] = []
    for index, layer in enumerate(folder.layers):
        conv = scores and index < CNV_CONVS
        inputs = shapes[-1].neurons if shapes else CNV_CHANNELS if scores else None
        shapes.append(_shape(f"{str(folder.path)!r}: layer {index}", layer, inputs, conv))
    classes = _classes(folder, shapes[-1])
    for index, (layer, shape) in enumerate(zip(folder.layers, shapes, strict=True)):
        limit = _FIRST_LIMIT if scores and index == 0 else _POPCOUNT_LIMIT
        # What stands behind the classes is never read.
        count = classes if index == last else shape.neurons
        _thresholds(f"{str(folder.path)!r}: layer {index}", layer, count, limit)
    return Topology("CNV" if scores else "LFC", tuple(shapes), classes)


def _two_bit(folder: Folder) -> None:
    """Refuse networks with activations of two bits, which have three thresholds per neuron, by their name."""
    layer = folder.layers[0]
    if layer.thresholds is None or layer.thresholds.shape[1] % 3:
        return
    entries, neurons = layer.words.shape[1], layer.thresholds.shape[1] // 3
    used = int(layer.words.max()).bit_length()
    known = (9 * CNV_CHANNELS,) if len(folder.layers) > CNV_LAST else (LFC_INPUTS, LFC_PIXELS)
    for bits in (1, 2):
        if not entries % neurons and entries // neurons * used in [bits * inputs for inputs in known]:
            raise ImportFailedError(
                f"{str(folder.path)!r} is a W{bits}A2 network: layer 0 has three thresholds per neuron, for "
                "activations of two bits; only W1A1, of one bit each, can be imported"
            )


def _shape(what: str, layer: RawLayer, sources: int | None, conv: bool) -> Shape:
    entries = layer.words.shape[1]
    used = int(layer.words.max()).bit_length()
    if not used:
        raise ImportFailedError(f"{what}: all weights are -1; no trained layer is like that")
    inputs = None if sources is None else sources * (9 if conv else 1)
    if layer.thresholds is None:
        assert inputs is not None
        # Here the words themselves must say how long they are.
        if inputs % used or entries % (inputs // used):
            raise ImportFailedError(
                f"{what}: {entries} words of {used} bits per file do not make rows of {inputs} inputs, "
                "which the layer before gives"
            )
        return Shape(entries // (inputs // used) * layer.pe, inputs, used, conv)
    count = layer.thresholds.shape[1]
    if entries % count:
        raise ImportFailedError(
            f"{what}: {entries} words per file for {count} thresholds, but must be a multiple: each neuron "
            "has one threshold and a row of words"
        )
    steps = entries // count
    if inputs is None:
        inputs = steps * used
        if inputs not in (LFC_INPUTS, LFC_PIXELS):
            raise ImportFailedError(
                f"{what}: {steps} words of {used} bits per neuron are {inputs} inputs, but LFC reads "
                f"{LFC_PIXELS} pixels, or {LFC_INPUTS} with padding; other inputs cannot be imported"
            )
    if steps * used != inputs:
        raise ImportFailedError(
            f"{what}: {steps} words of {used} bits per neuron, but the layer before gives {inputs} values: "
            "its files are of another network"
        )
    return Shape(count * layer.pe, inputs, used, conv)


def _thresholds(what: str, layer: RawLayer, count: int, limit: int) -> None:
    if layer.thresholds is None:
        return
    values = neuron_thresholds(layer)[:count]
    low, high = int(values.min()), int(values.max())
    if low < -limit or high >= limit:
        bad = low if low < -limit else high
        raise ImportFailedError(
            f"{what}: a threshold is {bad}, but must be {-limit} to {limit - 1}, which "
            "is what the accelerator stores"
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
        raise ImportFailedError(f"{str(folder.path)!r}: the last layer is all padding and has no class")
    named = count if folder.classes is None else len(folder.classes)
    never = np.zeros(0) if layer.thresholds is None else neuron_thresholds(layer) >= shape.inputs
    # Behind the classes that have names, a neuron that never fires is padding whatever its weights.
    if named < count and never.size and never[named:].all():
        count = named
    if folder.classes is not None and named != count:
        raise ImportFailedError(
            f"{str(folder.path)!r}: classes.txt names {len(folder.classes)} classes, but the last layer has "
            f"{count} neurons that are not padding; give the classes.txt of this network, or none"
        )
    return count
