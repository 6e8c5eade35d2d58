"""Limits of a network, and where a layer stands in it: what the checks of every kind share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from .graph import Value
from .layers import Layer

MAX_SIZE = 65536
"""Most taps of an output, outputs of a `Dense`, channels, outputs of a network, and rows or columns."""
MAX_MAP = 1 << 20
"""Most values of an image, or of a map between two layers."""
KERNEL = (1, 7)
STRIDE = (1, 4)
POOL = (1, 7)
SHIFT = (0, 62)
SATURATION = (2, 63)
MAX_SUM = (1 << 62) - 1
"""Largest magnitude of a sum or of K, so that int64 holds it."""
THRESHOLD_RANGE = (-(1 << 31), (1 << 31) - 1)
MAX_THRESHOLDS = 1 << 24
"""Most thresholds of a network, so that a file holds them."""
MOST_STEPS = 255
"""Most thresholds of an output: codes have at most 8 bits."""

MOST_JOINED = 64
"""Most values that a layer reads."""
OFFSETS = (-MOST_STEPS, MOST_JOINED * MOST_STEPS)
"""What sums may be less that saturate."""


def brief(value: object, most: int = 80) -> str:
    """Show any value, however large or strange, in a message of one line."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, (int, float, str)) or value is None:
        text = ascii(value if not isinstance(value, str) else value[:most])
        return text if len(text) <= most else text[:most] + "..."
    if isinstance(value, (list, tuple)) and len(value) <= 8:
        left, right = "()" if isinstance(value, tuple) else "[]"
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        items = (brief(item, 24) if isinstance(item, (int, str)) else type(item).__name__ for item in value)
        return f"{left}{', '.join(items)}{comma}{right}"
    return type(value).__name__


def is_int(value: object) -> TypeGuard[int]:
    """Whether a value is an int, and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class Site:
    """Where a layer stands in a network.

    Attributes
    ----------
    where : str
        The layer, in messages.
    inputs : tuple of Value
        What it reads.
    sources : tuple of str
        Who gives that, in messages.
    givers : tuple of Layer or None
        The layers that give it; None for the image.
    readers : tuple of Layer
        Those that read its result.
    closing : bool
        The only one of them is the last layer.
    """

    where: str
    inputs: tuple[Value, ...]
    sources: tuple[str, ...]
    givers: tuple[Layer | None, ...]
    readers: tuple[Layer, ...]
    closing: bool
