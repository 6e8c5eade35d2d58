"""What the framework's input holds: 8-bit pixels in some unit, or integers that are no pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError, UsageError
from ...model.check import brief
from .graph import Graph

CENTRED = "pixels/127.5-1"
PIXELS = ("pixels", CENTRED, "uint8")
"""Kinds with a unit: bytes / 255, bytes / 127.5 - 1, bytes as they are."""
DECLARED = (
    "bipolar", "pixels", CENTRED, *(f"uint{n}" for n in range(1, 9)), *(f"int{n}" for n in range(2, 9))
)  # fmt: skip
"""What the caller may say that an image holds, besides a mean and a deviation; see `parse`."""
NORMALISED = "mean=M,...:std=D,..."
"""The form of a mean and deviation per channel, of pixels / 255."""
MAX_CHANNELS = 64
_LARGEST = 1e6


@dataclass(frozen=True)
class Unit:
    """What becomes of a pixel before the framework reads it.

    Attributes
    ----------
    kind : str
        One of `PIXELS`, or ``"normalised"``: (pixel / 255 - mean) / deviation.
    mean, deviation : tuple of float
        One for each channel, or one for all; for other kinds empty.
    """

    kind: str
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """What is done to pixels, in words."""
        if self.kind == "normalised":
            mean, deviation = (
                ", ".join(f"{value:g}" for value in values) for values in (self.mean, self.deviation)
            )
            return f"divided by 255, less {mean}, divided by {deviation}"
        return {"pixels": "divided by 255", CENTRED: "divided by 127.5, less 1", "uint8": "as they are"}[
            self.kind
        ]

    @property
    def channels(self) -> int:
        """Channels that it tells apart; 1: all are alike."""
        return max(1, len(self.mean), len(self.deviation))

    def real(self, pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return what the framework reads for pixels, shape (..., channels), in its own precision."""
        x = pixels.astype(dtype)
        if self.kind == "uint8":
            return x
        if self.kind == CENTRED:
            return x / dtype.type(127.5) - dtype.type(1)
        x = x / dtype.type(255)
        if self.kind == "normalised":
            x = (x - np.array(self.mean, dtype)) / np.array(self.deviation, dtype)
        return x

    def affine(self) -> tuple[Fraction, Fraction] | None:
        """Return scale and offset of what the framework reads, or None if they depend on the channel."""
        if self.kind == "uint8":
            return Fraction(1), Fraction(0)
        if self.kind == "pixels":
            return Fraction(1, 255), Fraction(0)
        if self.kind == CENTRED:
            return Fraction(2, 255), Fraction(-1)
        if len(set(self.mean)) > 1 or len(set(self.deviation)) > 1:
            return None
        mean, deviation = Fraction(repr(self.mean[0])), Fraction(repr(self.deviation[0]))
        return 1 / (255 * deviation), -mean / deviation


def parse(inputs: str) -> Unit | str:
    """Return the unit that ``--inputs`` names, or the kind of integers that are no pixels.

    Parameters
    ----------
    inputs : str
        One of `DECLARED`, or ``mean=0.5,0.4,0.3:std=0.2,0.2,0.2``: (pixels / 255 - mean) / std, one value for
        each channel, or one for all.

    Raises
    ------
    UsageError
        If it is anything else; names the value, the limit and the form.
    """
    if inputs in PIXELS:
        return Unit(inputs)
    if inputs in DECLARED:
        return inputs
    parts = [part.split("=", 1) for part in inputs.split(":")]
    if [part[0] for part in parts] != ["mean", "std"] or any(len(part) != 2 for part in parts):
        raise UsageError(
            f"inputs is {brief(inputs)}, but must be one of {', '.join(DECLARED)}, or {NORMALISED}, as in "
            "mean=0.5,0.4,0.3:std=0.2"
        )
    mean, deviation = (_values(name, text) for name, text in parts)
    if any(value < 1e-6 for value in deviation):
        raise UsageError(f"std is {min(deviation):g} in inputs {brief(inputs)}, but must be at least 1e-06")
    if len(mean) != len(deviation) and 1 not in (len(mean), len(deviation)):
        raise UsageError(
            f"inputs {brief(inputs)} has {len(mean)} means and {len(deviation)} deviations; give as many of "
            "both, or one"
        )
    return Unit("normalised", mean, deviation)


def _values(name: str, text: str) -> tuple[float, ...]:
    words = text.split(",")
    if len(words) > MAX_CHANNELS:
        raise UsageError(f"{name} has {len(words)} values in inputs, the limit is {MAX_CHANNELS}")
    values = []
    for word in words:
        try:
            value = float(word)
        except ValueError:
            raise UsageError(f"{name} has the value {brief(word)} in inputs, which is no number") from None
        if not abs(value) <= _LARGEST:
            raise UsageError(
                f"{name} has the value {brief(word)} in inputs, but must lie within +-{_LARGEST:g}: it is of "
                "pixels divided by 255"
            )
        values.append(value)
    return tuple(values)


def annotated(graph: Graph) -> Unit | None:
    """Return the unit that the input's type or annotation says, if any."""
    if graph.input_type.kind in "ub" or (graph.input_type.kind == "i" and graph.input_type.itemsize > 1):
        return Unit("uint8")
    return Unit("uint8") if graph.annotation.startswith("UINT") else None


def may_be_pixels(graph: Graph) -> bool:
    """Return whether pixels, divided by 255, fit the input's type and annotation."""
    return graph.input_type.kind == "f" and not graph.annotation.startswith(("INT", "BIPOLAR", "BINARY"))


def declared_kind(graph: Graph) -> str:
    """Return the kind that an image without quantiser has by its type or annotation.

    Raises
    ------
    ImportFailedError
        If neither says so.
    """
    annotation = graph.annotation.lower()
    for name in (annotation, graph.input_type.name):
        if name in DECLARED and name not in ("pixels", CENTRED):
            return name
    if annotation == "binary" or graph.input_type.kind == "b":
        return "uint1"
    raise ImportFailedError(
        f"input {brief(graph.input, 60)} holds {graph.input_type.name} and is multiplied by weights before "
        f"any quantiser; say what it holds with --inputs (inputs= in Python), one of {', '.join(DECLARED)}, "
        f"or {NORMALISED}"
    )


def meaning(kind: str) -> tuple[Fraction, Fraction, int]:
    """Return scale, offset and bits of a kind of integers that are no pixels."""
    if kind == "bipolar":
        return Fraction(1), Fraction(0), 1
    if kind == "uint1":
        return Fraction(1, 2), Fraction(1, 2), 1
    bits = int(kind.lstrip("uint"))
    return Fraction(1), Fraction(0 if kind.startswith("u") else -(1 << (bits - 1))), bits
