"""Says whether a device can run a program: every address inside its memories, every loop one that it has.

The compiler's programs pass. The gateware refuses less, because it cannot look ahead: it reports a program
that leaves program memory, has numbers without a place, or issues a beat at an address behind the end of a
memory (docs/verification.md). Whatever passes here, it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..errors import CompileError
from .codes import MAX_COMPARED_BITS
from .descriptor import decode
from .device import DeviceConfig
from .kernel_rows import check_rows
from .layout import HEADER, LOOPS, PROGRAM_MAGIC, header_of, levels_of, signed, unpack_descriptor
from .places import aligned
from .reach import read_along, read_of_map, written
from .scales import check_adding
from .scaling import check_scaling
from .starts import MAX_PLANES
from .stream import check_stream

__all__ = ["Reach", "validate_descriptors", "validate_program"]

_WORD = 16
"""Bits of an address field."""


@dataclass(frozen=True)
class Reach:
    """The addresses that one layer uses, first to last, of a batch of one parity.

    Attributes
    ----------
    place : int
        Program address of the descriptor.
    reads, writes : range
        Words of activation memory; `reads` without the taps of padding, and without the rows of strips after
        the first, which may reach beyond the map for results that nobody reads.
    weights, starts : range
        Words of each column's weight and threshold buffer; of a tile that comes from the store, how many,
        counted from 0.
    """

    place: int
    reads: range
    writes: range
    weights: range
    starts: range


def validate_program(words: Sequence[int], config: DeviceConfig) -> list[Reach]:
    """Check a whole program as it is in program memory, for inference.

    Parameters
    ----------
    words : sequence of int
        From address 0 on: header and descriptors.
    config : DeviceConfig

    Returns
    -------
    list of Reach
        Of every layer, for both parities.

    Raises
    ------
    CompileError
        If there is anything that the device cannot run. The message names the field, its value and the limit.
    """
    _at_most("the program", len(words), config.program_depth, "words of program memory")
    if len(words) < HEADER.words:
        raise CompileError(f"a program has at least {HEADER.words} words, this one {len(words)}")
    header = header_of(config).unpack(list(words[: HEADER.words]))
    if header["magic"] != PROGRAM_MAGIC:
        raise CompileError(f"program word 0 is {header['magic']:#010x}, not {PROGRAM_MAGIC:#010x}")
    for name, place in (("entry", HEADER.words), ("in_base0", 0)):
        if header[name] != place:
            raise CompileError(f"{name} is {header[name]}, but every program has {place} there")
    _image(header, config)
    for parity in range(2):
        base = header[f"out_base{parity}"]
        results = range(base, base + header["out_words"])
        _inside(f"out_base{parity}", results, config.act_depth, "act_depth")
    if not 1 <= header["out_bytes"] <= config.geometry.width // 8 or not header["out_words"]:
        raise CompileError(
            f"results are {header['out_words']} words of {header['out_bytes']} bytes, but a word has "
            f"1 to {config.geometry.width // 8} and there must be one"
        )
    return [
        reach
        for parity in range(2)
        for reach in validate_descriptors(words, config, header["entry"], header, parity)
    ]


def validate_descriptors(
    words: Sequence[int],
    config: DeviceConfig,
    entry: int,
    header: Mapping[str, int] | None = None,
    parity: int = 0,
) -> list[Reach]:
    """Check the descriptors from `entry` to the one with `end`, as RUN or a batch executes them.

    Parameters
    ----------
    words : sequence of int
        Program memory from address 0 on.
    config : DeviceConfig
    entry : int
    header : mapping, optional
        Fields of the armed program's header, where layers count their bases from its regions.
    parity : int
        Which of these regions.

    Raises
    ------
    CompileError
        As `validate_program`.
    """
    reaches: list[Reach] = []
    kept = 0
    for place, fields in _descriptors(words, config, entry):
        what = f"the descriptor at {place}"
        _numbers(what, fields, config)
        image_in, image_out = (
            (header or {}).get(f"{side}_base{parity}", 0) if fields[f"{side}_image"] else 0
            for side in ("in", "out")
        )
        descriptor = decode(words, place, config.geometry.width)[0]
        nest = descriptor.nest
        counts = {loop: nest.count(loop) for loop in LOOPS}
        check_rows(what, fields, counts, config)
        if fields["valued"]:
            check_adding(what, fields, counts, config, first=not reaches)
        kept = check_scaling(what, fields, counts, config, kept)
        reads = (read_of_map if fields["padded"] else read_along)(what, fields, nest, config, image_in)
        tiles = 1 if fields["stream"] else counts["tile"]
        starts = tiles * descriptor.levels
        taps = counts["run"] * counts["col"] * counts["row"] * counts["copy"] * tiles * descriptor.kinds
        reach = Reach(
            place,
            reads,
            written(fields, counts, config, image_out),
            range(fields["weight_base"], fields["weight_base"] + taps),
            range(fields["threshold_base"], fields["threshold_base"] + starts),
        )
        _inside(f"{what} reads", reach.reads, config.act_depth, "act_depth")
        _inside(f"{what} writes", reach.writes, config.act_depth, "act_depth")
        check_stream(what, fields, taps, config)
        _inside(f"{what} uses weights", reach.weights, config.weight_depth, "weight_depth")
        _inside(f"{what} uses start values", reach.starts, config.threshold_depth, "threshold_depth")
        if _overlap(reach.reads, reach.writes):
            raise CompileError(f"{what} writes words {_text(reach.writes)}, over its input {_text(reads)}")
        if reaches and not fields["depends"] and _overlap(reach.reads, reaches[-1].writes):
            raise CompileError(
                f"{what} reads what the one before it writes, words {_text(reaches[-1].writes)}, "
                "without waiting for it; set depends"
            )
        reaches.append(reach)
    return reaches


def _descriptors(
    words: Sequence[int], config: DeviceConfig, entry: int
) -> Iterator[tuple[int, dict[str, int]]]:
    place, end = entry, False
    memory = words[: config.program_depth]
    while not end:
        fields, after = unpack_descriptor(memory, place)
        yield place, fields
        place, end = after, bool(fields["end"])


def _numbers(what: str, fields: Mapping[str, int], config: DeviceConfig) -> None:
    """Check what is limited by itself."""
    g, align = config.geometry, config.column_align
    if not config.convolution and (fields["wide"] or fields["strips"]):
        raise CompileError(f"{what} is a convolution, which the device has not (convolution=0)")
    if fields["score"] and not 1 <= fields["slices"] <= config.acc_width:
        raise CompileError(f"{what} has {fields['slices']} slices, but a score has 1 to {config.acc_width}")
    if fields["lanes"] > g.width or (fields["lanes"] and not config.convolution):
        raise CompileError(f"{what} uses {fields['lanes']} lanes of a word that has {g.width}")
    if fields["code_last"] >= config.code_bits:
        raise CompileError(
            f"{what} gives codes of {fields['code_last'] + 1} bits, but the device has {config.code_bits} "
            "(code_bits)"
        )
    if fields["rescaled"] and not config.result_lanes:
        raise CompileError(f"{what} is for a results unit, which the device has not (result_lanes=0)")
    if fields["code_last"] >= MAX_COMPARED_BITS and not fields["rescaled"]:
        raise CompileError(
            f"{what} compares sums with the thresholds of codes of {fields['code_last'] + 1} bits, but "
            f"{MAX_COMPARED_BITS} at most can; set rescaled"
        )
    if fields["double"] and fields["plane_last"] >= MAX_PLANES:
        raise CompileError(f"{what} doubles {fields['plane_last'] + 1} planes, but {MAX_PLANES} at most can")
    if fields["copy_last"] and "copy" not in levels_of(config):
        raise CompileError(
            f"{what} has weights of several bits, for which the device needs code_bits of 2 and convolution; "
            f"it has {config.code_bits} and {config.convolution}"
        )
    if fields["single_last"] > fields["copy_last"]:
        raise CompileError(
            f"{what} counts {fields['single_last'] + 1} copies once, but has {fields['copy_last'] + 1}"
        )
    if (fields["near"] or fields["row_sum"]) and not config.row_sums:
        raise CompileError(
            f"{what} has signs that count four times, or adds the sums of rows, for which the device needs "
            "row_sums; it has 0"
        )
    if fields["near"] and not fields["single_last"] < fields["near"] <= fields["copy_last"]:
        raise CompileError(
            f"{what} counts all but {fields['near']} copies four times, but has {fields['copy_last'] + 1}, "
            f"of which {fields['single_last'] + 1} count once"
        )
    if config.whole_windows and fields["lanes"] not in (0, g.width - 1):
        raise CompileError(
            f"{what} uses {fields['lanes']} lanes, but with whole_windows only the last may go"
        )
    for name, value in fields.items():
        if name.startswith("bits_") and (value % align or value // align >> config.offset_bits):
            unit = f", in units of {align}" if align > 1 else ""
            raise CompileError(f"{what} has {name} {value}, but offsets have {config.offset_bits} bits{unit}")


def _image(header: Mapping[str, int], config: DeviceConfig) -> None:
    """Check that what the loader stores lies in activation memory."""
    width, planes = config.geometry.width, header["in_bits_last"] + 1
    if not header["image_bytes"]:
        raise CompileError("an image has 0 bytes")
    if header["interleaved"]:
        if not config.line_bytes:
            raise CompileError("images are interleaved, but the device has no line buffer (line_bytes=0)")
        kernel, rows = header["kernel_last"] + 1, header["rows_last"] + 1
        if config.whole_windows:
            run = header["run_last"] + 1
            length = signed(header["row_step"]) + run - 1
            between = length - header["row_values"]
            if between < 1 or run > length + between:
                raise CompileError(
                    f"rows of {header['row_values']} values, {between} of padding (at least 1) between two, "
                    f"do not hold windows of {run} across"
                )
            used, words = kernel * length, rows * (header["across_last"] + 1) * -(-kernel * run // width)
        else:
            across = header["pad_left"] + header["map_width"] + header["pad_right"]
            row = across * aligned(kernel * (header["channels_last"] + 1), config.column_align)
            used, words = kernel * header["row_values"], rows * -(-row // width)
        _at_most("the line buffer's used part", used, config.line_bytes, "bytes (line_bytes)")
    else:
        values = header["image_bytes"] * (8 if planes == 1 else 1)
        words = -(-values // width)
    stride = signed(header["plane_stride"])
    for number in range(2):
        base = header[f"in_base{number}"]
        ends = (base, base + stride * (planes - 1))
        stored = range(min(ends), max(ends) + words)
        _inside(f"in_base{number}: an image", stored, config.act_depth, "act_depth")


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _text(words: range) -> str:
    return f"{words.start} to {words.stop - 1}"


def _at_most(what: str, value: int, limit: int, unit: str) -> None:
    if value > limit:
        raise CompileError(f"{what} needs {value} {unit}, the device has {limit}")


def _inside(what: str, words: range, depth: int, name: str) -> None:
    if words.start < 0 or words.stop > depth:
        raise CompileError(
            f"{what} words {_text(words)}, but the memory ends at {depth - 1} ({name} {depth})"
        )
