"""What a number of a configuration may be."""

from __future__ import annotations

from ..errors import GeometryError

__all__ = ["fitting", "in_range", "power_of_two_at_least"]


def in_range(name: str, value: int, low: int, high: int, multiple: int = 1) -> None:
    """Fail unless a value is an integer from `low` to `high`, and a multiple of a number.

    Raises
    ------
    GeometryError
        It names the value and its limits.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise GeometryError(f"{name} is {value!r}, but must be an integer")
    if not low <= value <= high or value % multiple:
        step = f" and a multiple of {multiple}" if multiple > 1 else ""
        raise GeometryError(f"{name} is {value}, but must be {low} to {high}{step}")


def power_of_two_at_least(value: int) -> int:
    """Return the smallest power of two that is not less."""
    return 1 << max(value - 1, 0).bit_length()


def fitting(columns: int, width: int, low: int, high: int) -> str:
    """Say which number of columns and which width, from `low` to `high`, fit and are near to these."""
    legal = [w for w in range(low, high + 1, 8) if columns % w == 0 or w % columns == 0]
    if not legal:
        return f"{width} columns with width {width}"
    return f"{columns} columns with width {min(legal, key=lambda w: abs(w - width))}"
