"""Which network a BNN-PYNQ folder holds, and the shape of each layer, found from the sizes of its files.

Two topologies exist. LFC is a chain of four dense layers, thresholds in each. CNV has six 3 x 3 convolutions
without padding, 2 x 2 pooling behind the second and the fourth, and three dense layers, the last without
thresholds. Weights have one or two bits, and so have activations: of two bits they are -1, 0 and 1, and a
neuron has two thresholds.

A layer of n neurons and k inputs has n / pe * k / simd entries of simd weights in each of its pe files. All
but one of these follow from the files; the number of bits that words use must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...errors import ImportFailedError
from .files import CNV_LAST, Folder, RawLayer

CNV_CONVS, CNV_POOLED = 6, (1, 3)
CNV_SIDE, CNV_CHANNELS = 32, 3
LFC_LAYERS = 4
LFC_INPUTS, LFC_PIXELS, LFC_SIDE = 832, 784, 28
"""LFC pads the 784 pixels of an image with 0 bits."""
PRECISIONS = ((1, 1), (1, 2), (2, 2))
"""Bits of weights and of activations that these accelerators have."""
_POPCOUNT_LIMIT, _FIRST_LIMIT = 1 << 15, 1 << 23
"""Thresholds fit 16 bits, those of CNV's first layer 24: more is no threshold of these accelerators."""

Reads = Literal["pixels", "bits", "signs", "codes"]


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
    reads : str
        What it reads, and what is compared with its thresholds: of ``"pixels"``, q = -128 to 127, twice the
        sum; of ``"bits"`` the popcount; of ``"signs"`` (0 bits are -1) and ``"codes"`` (-1, 0, 1) the sum.
    weight_bits : int
        1: -1 and +1. 2: two's complement.
    thresholds : int
        Of each neuron: 0, 1 or 2.
    """

    neurons: int
    inputs: int
    simd: int
    conv: bool
    reads: Reads
    weight_bits: int
    thresholds: int

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
    precision : str
        ``"W1A1"``, ``"W1A2"`` or ``"W2A2"``: bits of weights and activations.
    shapes : tuple of Shape
    classes : int
        Neurons of the last layer that are not padding.
    """

    kind: str
    precision: str
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
    precision, shapes = _shapes(folder, scores)
    classes = _classes(folder, shapes[-1])
    for index, (layer, shape) in enumerate(zip(folder.layers, shapes, strict=True)):
        limit = _FIRST_LIMIT if shape.reads == "pixels" else _POPCOUNT_LIMIT
        # What stands behind the classes is never read.
        count = classes if index == last else shape.neurons
        _thresholds(f"{str(folder.path)!r}: layer {index}", layer, shape, count, limit)
    return Topology("CNV" if scores else "LFC", precision, shapes, classes)


def _shapes(folder: Folder, scores: bool) -> tuple[str, tuple[Shape, ...]]:
    """Find the one precision in which all sizes agree; if none does, say why not of what comes farthest."""
    reached, reason = -1, ImportFailedError("")
    for weights, activations in PRECISIONS:
        name = f"W{weights}A{activations}"
        shapes: list[Shape] = []
        try:
            for index, layer in enumerate(folder.layers):
                what = f"{str(folder.path)!r}: layer {index}{'' if name == 'W1A1' else f' (of {name})'}"
                reads: Reads = "bits" if activations == 1 else "codes" if index else "signs"
                conv = scores and index < CNV_CONVS
                inputs = shapes[-1].neurons if shapes else None
                if scores and not index:
                    reads, inputs = "pixels", CNV_CHANNELS
                last = index == len(folder.layers) - 1
                per = 0 if layer.thresholds is None else 1 if last else activations
                taps = None if inputs is None else inputs * (9 if conv else 1)
                shapes.append(_shape(what, layer, taps, conv, reads, weights, per))
            return name, tuple(shapes)
        except ImportFailedError as error:
            if len(shapes) > reached:
                reached, reason = len(shapes), error
    raise reason


def _shape(
    what: str, layer: RawLayer, inputs: int | None, conv: bool, reads: Reads, bits: int, per: int
) -> Shape:
    """Find the shape of a layer with weights of `bits` and `per` thresholds a neuron, or refuse it."""
    entries = layer.words.shape[1]
    # A word's highest weight of two bits may never be negative.
    used = -(-int(layer.words.max()).bit_length() // bits) * bits
    if not used:
        raise ImportFailedError(f"{what}: all bits of its weights are 0; no trained layer is like that")
    simd = used // bits
    if layer.thresholds is None:
        assert inputs is not None
        # Here the words themselves must say how long they are.
        if inputs % simd or entries % (inputs // simd):
            raise ImportFailedError(
                f"{what}: {entries} words of {used} bits per file do not make rows of {inputs} inputs, "
                "which the layer before gives"
            )
        return Shape(entries // (inputs // simd) * layer.pe, inputs, simd, conv, reads, bits, 0)
    count = layer.thresholds.shape[1]
    if count % per or entries % (count // per):
        raise ImportFailedError(
            f"{what}: {entries} words per file for {count} thresholds, but must be a multiple: each neuron "
            f"has {'one threshold' if per == 1 else f'{per} thresholds'} and a row of words"
        )
    steps = entries // (count // per)
    if inputs is None:
        inputs = steps * simd
        if inputs not in (LFC_INPUTS, LFC_PIXELS):
            raise ImportFailedError(
                f"{what}: {steps} words of {used} bits per neuron are {inputs} inputs, but LFC reads "
                f"{LFC_PIXELS} pixels, or {LFC_INPUTS} with padding; other inputs cannot be imported"
            )
    if steps * simd != inputs:
        raise ImportFailedError(
            f"{what}: {steps} words of {used} bits per neuron, but the layer before gives {inputs} values: "
            "its files are of another network"
        )
    return Shape(count // per * layer.pe, inputs, simd, conv, reads, bits, per)


def _thresholds(what: str, layer: RawLayer, shape: Shape, count: int, limit: int) -> None:
    if layer.thresholds is None:
        return
    values = neuron_thresholds(layer, shape)[:count]
    low, high = int(values.min()), int(values.max())
    if low < -limit or high >= limit:
        bad = low if low < -limit else high
        raise ImportFailedError(
            f"{what}: a threshold is {bad}, but must be {-limit} to {limit - 1}, which "
            "is what the accelerator stores"
        )


def matrix(layer: RawLayer, shape: Shape) -> np.ndarray:
    """Return the weights of a layer, padding included: int8, shape (neurons, inputs)."""
    bits = shape.weight_bits
    octets = layer.words.astype("<u8").view(np.uint8).reshape(layer.pe, -1, shape.steps, 8)
    planes = np.unpackbits(octets, axis=3, count=shape.simd * bits, bitorder="little")
    by_neuron = planes.transpose(1, 0, 2, 3).reshape(shape.neurons, shape.inputs, bits).astype(np.int8)
    if bits == 1:
        return 2 * by_neuron[:, :, 0] - 1
    return by_neuron[:, :, 0] - 2 * by_neuron[:, :, 1]


def neuron_thresholds(layer: RawLayer, shape: Shape) -> np.ndarray:
    """Return the thresholds of a layer by neuron, in rising order: int64, shape (neurons, thresholds)."""
    assert layer.thresholds is not None
    by_element = layer.thresholds.reshape(layer.pe, -1, shape.thresholds)
    return np.sort(by_element.transpose(1, 0, 2).reshape(shape.neurons, shape.thresholds), axis=1)


def _classes(folder: Folder, shape: Shape) -> int:
    layer = folder.layers[-1]
    # Weights of padding are +1 where they have one bit, and 0 where they have two.
    real = (matrix(layer, shape) != 2 - shape.weight_bits).any(axis=1)
    never = np.zeros(0, bool)
    if layer.thresholds is not None:
        never = neuron_thresholds(layer, shape)[:, 0] >= shape.inputs * shape.weight_bits
        real |= ~never
    count = int(np.flatnonzero(real)[-1]) + 1 if real.any() else 0
    if not count:
        raise ImportFailedError(f"{str(folder.path)!r}: the last layer is all padding and has no class")
    named = count if folder.classes is None else len(folder.classes)
    # Behind the classes that have names, a neuron that never fires is padding whatever its weights.
    if named < count and never.size and never[named:].all():
        count = named
    if folder.classes is not None and named != count:
        raise ImportFailedError(
            f"{str(folder.path)!r}: classes.txt names {len(folder.classes)} classes, but the last layer has "
            f"{count} neurons that are not padding; give the classes.txt of this network, or none"
        )
    return count
