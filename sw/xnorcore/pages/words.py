"""What pages call the values that the command line and JSON have short names for."""

from __future__ import annotations

from collections.abc import Mapping

from ..isa.stores import StoreKind

__all__ = ["DEVICE", "device_rows", "link_text"]

DEVICE = {
    "rows": "rows of the array", "columns": "columns of the array", "width": "width, bits of a word",
    "acc_width": "accumulator, bits", "weight_depth": "weights, words per column",
    "threshold_depth": "start values, words per column", "act_depth": "activations, words per row",
    "program_depth": "program, words", "fifo_bytes": "receive buffer, bytes",
    "column_group": "columns of a systolic stage", "line_bytes": "line buffer, bytes", "counters": "counters",
    "convolution": "convolution", "threshold_share": "columns that share start values",
    "program_halves": "program memory of 16 bits", "whole_windows": "windows in words of their own",
    "column_align": "columns of images begin at multiples of, bits",
    "act_ports": "ports of the activation memories",
    "store_words": "store of weights, words", "store_kind": "what the store is",
    "code_bits": "bits of a value between layers", "row_sums": "sums of the rows' operands",
    "result_lanes": "results per row and cycle of the results unit",
    "value_depth": "values beside the results unit, words per row",
    "scale_depth": "numbers K beside the results unit, per row",
    "packed_rows": "maps as kernel rows",
    "kept_words": "32-bit words of flash that keeps a network",
}  # fmt: skip
"""By option of a device."""
_YES_OR_NO = ("counters", "convolution", "program_halves", "whole_windows", "row_sums", "packed_rows")

_LINK = {
    "sent": "frames sent", "resent": "of them again", "received": "answers", "damaged": "damaged",
    "stale": "too late", "timeouts": "times without an answer", "bytes_sent": "bytes to the device",
    "bytes_received": "bytes from it",
}  # fmt: skip


def device_rows(options: Mapping[str, int]) -> list[tuple[str, object]]:
    """Return a device's options (`xnorcore.isa.device.options`) as rows for people."""
    return [(DEVICE.get(name, name), _shown(name, value)) for name, value in options.items()]


def _shown(name: str, value: int) -> object:
    if name == "store_kind":
        return StoreKind(value).title
    return bool(value) if name in _YES_OR_NO else value


def link_text(stats: Mapping[str, int]) -> str:
    """Return what went over a link (`xnorcore.link.flight.Stats`) as text for people."""
    return ", ".join(f"{value:,} {_LINK.get(name, name)}" for name, value in stats.items())
