"""What a network's results are, and what the host makes of them: scores and classes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import InputError
from .classes import argmax_affine, highest_bit
from .graph import Value
from .layers import InputSpec
from .values import Shape

if TYPE_CHECKING:  # most networks have neither
    from ..host.head import Head
    from ..host.tail import Tail


class Ends:
    """The two ends of a `Network`: what an image is, and what becomes of the last layer's results."""

    input: InputSpec
    classes: int | None
    scale: NDArray[np.float64] | None
    offset: NDArray[np.float64] | None
    head: Head | None
    tail: Tail | None
    values: tuple[Value, ...]

    @property
    def image_shape(self) -> Shape:
        """Shape of an image: what the head reads, or else the integer network."""
        return self.input.shape if self.head is None else self.head.shape

    @property
    def outputs(self) -> int:
        """Values of the last layer."""
        return prod(self.values[-1].shape)

    @property
    def output_kind(self) -> Literal["scores", "bits"]:
        """``"bits"`` if the last layer gives bits, else ``"scores"``: sums, or codes."""
        return "bits" if self.values[-1].coding == "sign" else "scores"

    @property
    def class_count(self) -> int:
        """Number of classes, always known."""
        if self.classes is not None:
            return self.classes
        return self.outputs if self.tail is None else self.tail.outputs

    def affine(self, raw: ArrayLike) -> NDArray[np.float64]:
        """Results with the affine applied, rounded to float64: for people, and for a tail."""
        scores = self._raw(raw).astype(np.float64)
        scores = scores if self.scale is None else scores * self.scale
        return scores if self.offset is None else scores + self.offset

    def scores(self, raw: ArrayLike) -> NDArray[np.float64] | NDArray[np.float32]:
        """Return what stands at the network's end: what the tail gives, float32, or else `affine`.

        A tail reads bits as -1 and +1, and everything else as `affine` gives it, rounded to float32.
        """
        if self.tail is None:
            return self.affine(raw)
        if self.output_kind == "bits":
            return self.tail.run(2 * self._raw(raw).astype(np.int8) - np.int8(1))
        return self.tail.run(self.affine(raw))

    def classify(self, raw: ArrayLike) -> NDArray[np.int64]:
        """Choose a class for each image, exactly.

        Scores: the largest ``score * scale + offset``, compared as rationals; ties go to the lowest index.
        Bits: the highest output that is 1 among the first `class_count`; class 0 if there is none. With a
        tail: the largest of its scores; ties go to the lowest index.

        Parameters
        ----------
        raw : array of integers, shape (n, outputs)
            What `golden.run`, `fast.run` or a device returned; with a tail also its scores, floats.

        Returns
        -------
        array of int64, shape (n,)

        Raises
        ------
        InputError
            If `raw` has another shape or dtype (floats without a tail, and NaN, are refused).
        """
        if self.tail is not None:
            return self._scored(raw)[:, : self.class_count].argmax(axis=1).astype(np.int64)
        used = self._raw(raw)[:, : self.class_count]
        if self.output_kind == "bits":
            return highest_bit(used)
        return argmax_affine(used, self.scale, self.offset)

    def _scored(self, raw: ArrayLike) -> NDArray[Any]:
        """A tail's scores: those that are given, or else of raw results."""
        array = np.asarray(raw)
        if array.dtype.kind != "f":
            return self.scores(raw)
        if array.ndim != 2 or self.tail is None or array.shape[1] != self.tail.outputs:
            raise InputError(f"scores have shape {array.shape}, which are not those of the network's tail")
        if not np.isfinite(array).all():
            raise InputError("scores are not finite")
        return array

    def _raw(self, raw: ArrayLike) -> NDArray[Any]:
        array = np.asarray(raw)
        if array.dtype.kind not in "biu" or array.ndim != 2 or array.shape[1] != self.outputs:
            raise InputError(
                f"raw results are {array.dtype} {array.shape}, but must be integers of shape "
                f"(n, {self.outputs})"
            )
        return array
