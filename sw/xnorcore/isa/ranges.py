"""What a number of a configuration may be."""

from __future__ import annotations

from ..errors import GeometryError

__all__ = ["check_alignment", "check_lines", "check_share", "fitting", "in_range", "power_of_two_at_least"]


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


def check_alignment(align: int, across: bool, width: int) -> None:
    """Check `DeviceConfig.column_align`, on a device whose windows lie `across` words of `width` bits or not.

    Raises
    ------
    GeometryError
        If it is outside its limits.
    """
    in_range("column_align", align, 1, 8)
    if align & (align - 1):
        raise GeometryError(f"column_align is {align}, but must be 1, 2, 4 or 8")
    if align > 1 and (not across or width < 16 or width & (width - 1)):
        raise GeometryError(
            f"column_align is {align}, but must be 1 without line_bytes, with whole_windows, and at a width "
            f"that is no power of two of at least 16; width is {width}"
        )


def check_share(share: int, columns: int, group: int, width: int) -> None:
    """Check `DeviceConfig.threshold_share` of an array of so many columns, in groups, and of a width.

    Raises
    ------
    GeometryError
        If it is outside its limits.
    """
    in_range("threshold_share", share, 1, min(width.bit_length() - 1, 15))
    if share & (share - 1) or columns % share or group % share:
        raise GeometryError(
            f"threshold_share is {share}, but must be a power of two that divides columns {columns} "
            f"and column_group {group}"
        )


def power_of_two_at_least(value: int) -> int:
    """Return the smallest power of two that is not less."""
    return 1 << max(value - 1, 0).bit_length()


def fitting(columns: int, width: int, low: int, high: int) -> str:
    """Say which number of columns and which width, from `low` to `high`, fit and are near to these."""
    legal = [w for w in range(low, high + 1, 8) if columns % w == 0 or w % columns == 0]
    if not legal:
        return f"{width} columns with width {width}"
    return f"{columns} columns with width {min(legal, key=lambda w: abs(w - width))}"


def check_lines(line_bytes: int, convolution: int, whole_windows: int, act_ports: int) -> None:
    """Check `DeviceConfig.line_bytes` beside what it does not go with.

    Raises
    ------
    GeometryError
        If it does not.
    """
    if line_bytes and not convolution:
        raise GeometryError(f"line_bytes is {line_bytes}, but must be 0 without convolution")
    if whole_windows and not line_bytes:
        raise GeometryError("whole_windows is 1, but must be 0 without line_bytes")
    if act_ports == 1 and line_bytes and not whole_windows:
        raise GeometryError("act_ports is 1, which needs whole_windows 1 where line_bytes is not 0")
