"""The integer network: what is left of a trained binarized network once all float arithmetic is folded.

Specification: docs/numerics.md. Every object here is immutable. Layers only keep their arrays;
`Network` checks everything when it is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError, NetworkError, UsageError
from .check import validate
from .classes import argmax_affine, highest_bit
from .layers import Conv2d, Dense, GlobalSum, InputScale, InputSpec, Layer, MaxPool2d
from .values import Shape, same

__all__ = [
    "Conv2d", "Dense", "GlobalSum", "InputScale", "InputSpec", "Layer", "MaxPool2d", "Network", "Shape",
    "prepare",
]  # fmt: skip


@dataclass(frozen=True, eq=False, init=False)
class Network:
    """A chain of integer layers, checked by `xnorcore.model.check.validate` when it is made.

    Parameters
    ----------
    name : str
        1 to 100 printable characters.
    input : InputSpec
    layers : sequence of Layer
        Each layer with weights must have thresholds, but the last, and one in front of an `InputScale`.
    classes : int, optional
        Classes that `classify` chooses from, the first of the outputs; default: all outputs.
    scale, offset : array of float64, shape (outputs,), optional
        Affine of the scores, ``score * scale + offset``, applied on the host; default 1 and 0.
    metadata : dict, optional
        Anything that JSON holds: recipe, data split, accuracy.

    Raises
    ------
    NetworkError
        Names the layer, the value and the limit.
    """

    name: str
    input: InputSpec
    layers: tuple[Layer, ...]
    classes: int | None
    scale: NDArray[np.float64] | None
    offset: NDArray[np.float64] | None
    metadata: dict[str, Any]

    def __init__(
        self,
        name: str,
        input: InputSpec,
        layers: Sequence[Layer],
        classes: int | None = None,
        scale: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        values: dict[str, Any] = {
            "name": name,
            "input": input,
            "layers": tuple(layers) if isinstance(layers, Sequence) else layers,
            "classes": int(classes) if isinstance(classes, np.integer) else classes,
            "scale": _floats("scale", scale),
            "offset": _floats("offset", offset),
            "metadata": {} if metadata is None else metadata,
        }
        validate(**values)
        for key, value in values.items():
            object.__setattr__(self, key, value)
        # A private copy in the form that a file gives back: tuples become lists.
        object.__setattr__(self, "metadata", json.loads(json.dumps(self.metadata)))
        if classes is None:
            object.__setattr__(self, "classes", self.outputs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        keys = ("name", "input", "layers", "classes", "metadata")
        return (
            all(getattr(self, key) == getattr(other, key) for key in keys)
            and same(self.scale, other.scale)
            and same(self.offset, other.offset)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.input, self.layers))

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of the image, then of every layer's result."""
        shapes = [self.input.shape]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return tuple(shapes)

    @property
    def outputs(self) -> int:
        """Values of the last layer."""
        return prod(self.shapes[-1])

    @property
    def output_kind(self) -> Literal["scores", "bits"]:
        """``"scores"`` if the last layer gives sums, else ``"bits"``."""
        return "scores" if self.layers[-1].result == "sums" else "bits"

    @property
    def class_count(self) -> int:
        """Number of classes, always known."""
        return self.outputs if self.classes is None else self.classes

    @property
    def layer_macs(self) -> tuple[int, ...]:
        """Useful binary multiply-accumulates of each layer for one image; an n-bit layer counts n times."""
        counts = []
        for index, (layer, shape) in enumerate(zip(self.layers, self.shapes, strict=False)):
            follower = self.layers[index + 1] if index + 1 < len(self.layers) else None
            pool = follower if isinstance(follower, MaxPool2d) else None
            counts.append(layer.macs(shape, pool) * (self.input.bits if index == 0 else 1))
        return tuple(counts)

    @property
    def macs(self) -> int:
        """Useful binary multiply-accumulates per image."""
        return sum(self.layer_macs)

    @property
    def weight_bits(self) -> int:
        """Stored weight bits of all layers."""
        return sum(layer.weight_bits for layer in self.layers)

    def affine(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Scores with the affine applied, rounded to float64: for people, not for `classify`."""
        scores = self._raw(raw).astype(np.float64)
        scores = scores if self.scale is None else scores * self.scale
        return scores if self.offset is None else scores + self.offset

    def classify(self, raw: ArrayLike) -> NDArray[np.int64]:
        """Choose a class for each image, exactly.

        Scores: the largest ``score * scale + offset``, compared as rationals; ties go to the lowest index.
        Bits: the highest output that is 1 among the first `class_count`; class 0 if there is none.

        Parameters
        ----------
        raw : array of integers, shape (n, outputs)
            What `golden.run`, `fast.run` or a device returned.

        Returns
        -------
        array of int64, shape (n,)

        Raises
        ------
        InputError
            If `raw` has another shape or dtype (floats, and so NaN, are refused).
        """
        used = self._raw(raw)[:, : self.class_count]
        if self.output_kind == "bits":
            return highest_bit(used)
        return argmax_affine(used, self.scale, self.offset)

    def _raw(self, raw: ArrayLike) -> NDArray[Any]:
        array = np.asarray(raw)
        if array.dtype.kind not in "biu" or array.ndim != 2 or array.shape[1] != self.outputs:
            raise InputError(
                f"raw results are {array.dtype} {array.shape}, but must be integers of shape "
                f"(n, {self.outputs})"
            )
        return array


def _floats(key: str, values: Any) -> NDArray[np.float64] | None:
    if values is None:
        return None
    try:
        array = np.array(values, dtype=np.float64) + 0.0  # one zero: -0.0 becomes 0.0
    except (ValueError, TypeError) as error:
        raise NetworkError(f"{key}: not an array of float64 ({error})") from None
    array.flags.writeable = False
    return array


def prepare(network: Network, images: ArrayLike) -> NDArray[np.uint8]:
    """Check images and flatten them: the one rule for what every engine accepts.

    Parameters
    ----------
    network : Network
    images : array of bool or of any integer dtype
        Shape ``(n, *network.input.shape)``, ``(n, network.input.size)`` or, for one image,
        ``network.input.shape``. Values 0 to ``2**bits - 1``; for 1-bit networks 1 stands for +1 and 0 for -1.

    Returns
    -------
    array of uint8, shape (n, network.input.size)
        May share memory with `images`.

    Raises
    ------
    InputError
        Names what was found and what is expected.
    """
    if not isinstance(network, Network):
        raise UsageError(
            f"a Network is needed, not {type(network).__name__}; xnorcore.zoo.load(name) gives one"
        )
    spec = network.input
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise InputError(f"images are not an array of numbers ({error})") from None
    if array.dtype.kind not in "biu":
        raise InputError(
            f"images have dtype {array.dtype}, but network {network.name!r} takes bool or integers "
            f"0 to {spec.maximum}"
        )
    if array.shape == spec.shape:
        array = array[np.newaxis]
    if array.ndim < 1 or array.shape[1:] not in (spec.shape, (spec.size,)):
        raise InputError(
            f"images have shape {array.shape}, but network {network.name!r} takes "
            f"(n, {', '.join(map(str, spec.shape))}) or (n, {spec.size})"
        )
    if array.size and (array.max() > spec.maximum or array.min() < 0):
        bad = array.min() if array.min() < 0 else array.max()
        hint = "; write 1 for +1 and 0 for -1" if spec.bits == 1 else ""
        raise InputError(
            f"images hold the value {bad}, but network {network.name!r} takes {spec.bits}-bit values, "
            f"0 to {spec.maximum}{hint}"
        )
    return np.ascontiguousarray(array.reshape(len(array), spec.size), dtype=np.uint8)
