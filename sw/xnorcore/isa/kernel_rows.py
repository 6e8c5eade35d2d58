"""Says whether a device can run a descriptor that writes or reads kernel rows (`packed`)."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import CompileError
from .device import DeviceConfig
from .layout import signed

__all__ = ["check_rows"]


def check_rows(what: str, fields: Mapping[str, int], counts: Mapping[str, int], config: DeviceConfig) -> None:
    """Check the fields of a descriptor that say how maps are written and read as kernel rows.

    Parameters
    ----------
    what : str
        The descriptor, in messages.
    fields : mapping of str to int
    counts : mapping of str to int
        Iterations of its loops.
    config : DeviceConfig

    Raises
    ------
    CompileError
        If a device cannot run it.
    """
    edges = fields["edge_left"] + fields["edge_right"]
    if not (fields["packed"] or fields["row_pairs"] or edges):
        return
    if not config.packed_rows:
        raise CompileError(f"{what} writes or reads kernel rows, which the device does not (packed_rows=0)")
    window = counts["win_x"] * counts["win_y"]
    if edges and (window > 1 or counts["x"] <= edges or fields["stream"]):
        raise CompileError(
            f"{what} has weights for {edges} edges of rows, but {counts['x']} positions in a row, windows of "
            f"{window} and stream {fields['stream']}; it needs more positions, and neither of the others"
        )
    if not fields["packed"]:
        if fields["row_pairs"]:
            raise CompileError(f"{what} has kernel rows of two words, but does not write any; set packed")
        return
    one, pairs = counts["tile"] == 1, fields["row_pairs"]
    if fields["score"] or fields["strips"] or fields["code_last"] or not one or counts["x"] <= pairs:
        raise CompileError(
            f"{what} writes kernel rows of {1 + pairs} words, for which results are bits of one tile, not of "
            f"strips, and a row has {1 + pairs} positions or more; it has {counts['x']}"
        )
    if signed(fields["out_delta"]) != (1 + pairs) * (counts["x"] * counts["y"] > 1):
        raise CompileError(
            f"{what} writes kernel rows of {1 + pairs} words, but out_delta is {signed(fields['out_delta'])}"
        )
