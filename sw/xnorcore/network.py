"""The integer network: what is left of a trained binarized network once all float arithmetic is folded.

Specification: docs/numerics.md. Every object here is immutable and checked when it is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InputError, NetworkError

Shape: TypeAlias = tuple[int, ...]


def _integers(what: str, values: Any, dtype: type[np.signedinteger]) -> NDArray[Any]:
    """Copy to a read-only integer array; refuse anything that the conversion would change."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise NetworkError(f"{what}: not an array of numbers ({error})") from None
    if array.dtype.kind not in "iuf":
        raise NetworkError(f"{what}: dtype is {array.dtype}, but must be an integer type")
    limits = np.iinfo(dtype)
    if array.dtype.kind == "f":
        # 2**63 is a float and does not fit int64: the upper limit is exclusive here.
        whole = (array == np.rint(array)) & (array >= limits.min) & (array < limits.max + 1.0)
    else:
        whole = (array >= limits.min) & (array <= limits.max)
    if not whole.all():
        bad = array[~whole].flat[0]
        raise NetworkError(f"{what}: value {bad} is not an integer from {limits.min} to {limits.max}")
    result = np.array(array, dtype=dtype, order="C")
    result.flags.writeable = False
    return result


def _same(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a, b)


@dataclass(frozen=True)
class InputSpec:
    """Shape and number format of one image.

    Parameters
    ----------
    shape : tuple of int
        ``(values,)`` or ``(height, width, channels)``; values are row-major, channel fastest.
    bits : int
        1: each value is a bit that stands for -1 or +1. 2 to 8: an unsigned integer below ``2**bits``.
    """

    shape: Shape
    bits: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.shape, (list, np.ndarray)):
            object.__setattr__(self, "shape", tuple(self.shape))
        if isinstance(self.shape, tuple):
            plain = tuple(int(n) if isinstance(n, np.integer) else n for n in self.shape)
            object.__setattr__(self, "shape", plain)
        if isinstance(self.bits, np.integer):
            object.__setattr__(self, "bits", int(self.bits))

    @property
    def size(self) -> int:
        """Values per image."""
        return prod(self.shape)

    @property
    def maximum(self) -> int:
        """Largest legal value of a prepared image: ``2**bits - 1``."""
        return (1 << self.bits) - 1


@dataclass(frozen=True, eq=False)
class Dense:
    """Fully connected layer. It reads its input flattened, row-major (y, x, channel).

    Parameters
    ----------
    weights : array of int8, shape (outputs, inputs)
        Every weight is -1 or +1.
    thresholds : array of int64, shape (outputs,), or None
        Output bit = 1 iff ``sum(w * x) >= threshold``, with x = -1 or +1 for 1-bit values and the unsigned
        integer itself for an n-bit input. None: the layer gives the sums, as integer scores.
    name : str
        Shown in reports and messages.

    Raises
    ------
    NetworkError
        If an array holds anything but integers of its range.
    """

    weights: NDArray[np.int8]
    thresholds: NDArray[np.int64] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        label = f"dense layer {self.name!r}"
        object.__setattr__(self, "weights", _integers(f"{label} weights", self.weights, np.int8))
        if self.thresholds is not None:
            thresholds = _integers(f"{label} thresholds", self.thresholds, np.int64)
            object.__setattr__(self, "thresholds", thresholds)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Dense):
            return NotImplemented
        return (
            self.name == other.name
            and _same(self.weights, other.weights)
            and _same(self.thresholds, other.thresholds)
        )

    def __hash__(self) -> int:
        return hash((self.name, self.weights.shape))

    @property
    def outputs(self) -> int:
        """Number of neurons."""
        return self.weights.shape[0]

    @property
    def inputs(self) -> int:
        """Taps of every neuron."""
        return self.weights.shape[1]

    @property
    def weight_bits(self) -> int:
        """Stored weight bits."""
        return self.weights.size

    def output_shape(self, shape: Shape) -> Shape:
        """Shape of the result for an input of `shape`."""
        return (self.outputs,)

    def macs(self, shape: Shape) -> int:
        """Outputs x valid taps for an input of `shape`, one bit plane."""
        return self.weights.size


Layer: TypeAlias = Dense
"""Every kind of layer. A new kind joins here, in validate, golden, fast and xnorfile."""


@dataclass(frozen=True, eq=False)
class Network:
    """A chain of integer layers, checked by `xnorcore.validate.validate` when it is made.

    Parameters
    ----------
    name : str
        1 to 100 printable characters.
    input : InputSpec
    layers : sequence of Layer
        Each layer but the last must have thresholds.
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
    layers: Sequence[Layer]
    classes: int | None = None
    scale: NDArray[np.float64] | None = None
    offset: NDArray[np.float64] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from .validate import validate  # validate needs the classes of this module

        if isinstance(self.layers, (list, tuple)):
            object.__setattr__(self, "layers", tuple(self.layers))
        for key in ("scale", "offset"):
            object.__setattr__(self, key, _floats(key, getattr(self, key)))
        if isinstance(self.classes, np.integer):
            object.__setattr__(self, "classes", int(self.classes))
        validate(self)
        # A private copy in the form that a file gives back: tuples become lists.
        object.__setattr__(self, "metadata", json.loads(json.dumps(self.metadata)))
        if self.classes is None:
            object.__setattr__(self, "classes", self.outputs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        keys = ("name", "input", "layers", "classes", "metadata")
        return (
            all(getattr(self, key) == getattr(other, key) for key in keys)
            and _same(self.scale, other.scale)
            and _same(self.offset, other.offset)
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
        """``"scores"`` if the last layer has no thresholds, else ``"bits"``."""
        return "scores" if self.layers[-1].thresholds is None else "bits"

    @property
    def class_count(self) -> int:
        """Number of classes, always known."""
        return self.outputs if self.classes is None else self.classes

    @property
    def layer_macs(self) -> tuple[int, ...]:
        """Useful binary multiply-accumulates of each layer for one image; an n-bit layer counts n times."""
        planes = [self.input.bits] + [1] * (len(self.layers) - 1)
        shapes = self.shapes
        return tuple(
            layer.macs(shape) * n for layer, shape, n in zip(self.layers, shapes, planes, strict=False)
        )

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
            top = self.class_count - 1 - np.argmax(used[:, ::-1] != 0, axis=1)
            return np.where(used.any(axis=1), top, 0).astype(np.int64)
        if self.scale is None and self.offset is None:
            return np.argmax(used, axis=1).astype(np.int64)
        return self._argmax_affine(used)

    def _raw(self, raw: ArrayLike) -> NDArray[Any]:
        array = np.asarray(raw)
        if array.dtype.kind not in "biu" or array.ndim != 2 or array.shape[1] != self.outputs:
            raise InputError(
                f"raw results are {array.dtype} {array.shape}, but must be integers of shape "
                f"(n, {self.outputs})"
            )
        return array

    def _argmax_affine(self, scores: NDArray[Any]) -> NDArray[np.int64]:
        """Decide in float64 where rounding cannot matter, and in rationals elsewhere."""
        count = scores.shape[1]
        scale = np.ones(count) if self.scale is None else self.scale[:count]
        offset = np.zeros(count) if self.offset is None else self.offset[:count]
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            product = scores.astype(np.float64) * scale
            value = product + offset
            # Three roundings of half an ulp each, with room to spare; the constant covers subnormals.
            error = (np.abs(product) + np.abs(value)) * 2.0**-50 + 2.0**-1070
            best = np.argmax(value, axis=1)
            rows = np.arange(len(scores))
            clear = value + error < (value[rows, best] - error[rows, best])[:, None]
        clear[rows, best] = True
        weights = [Fraction(float(v)) for v in scale]
        offsets = [Fraction(float(v)) for v in offset]
        for row in np.flatnonzero(~(clear.all(axis=1) & np.isfinite(value).all(axis=1))):
            exact = [int(s) * a + b for s, a, b in zip(scores[row], weights, offsets, strict=True)]
            best[row] = exact.index(max(exact))
        return best.astype(np.int64)


def _floats(key: str, values: Any) -> NDArray[np.float64] | None:
    if values is None:
        return None
    try:
        array = np.array(values, dtype=np.float64)
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
