"""Layout of program memory: the header and the layer descriptors, shared by compiler and gateware.

Program memory holds 32-bit words, the `HEADER` first. Descriptors follow each other behind it, until one has
its `end` flag set.

A layer is a nest of ten loops around one array beat. From the innermost out: ``run`` (consecutive words),
``col`` and ``row`` (kernel taps), ``copy`` (signs of weights of several bits), ``plane`` (bit planes),
``win_x`` and ``win_y`` (pooling window), ``x`` and ``y`` (positions), ``tile`` (groups of output channels). A
``*_last`` field holds the loop's count minus one. The read address grows by one word along ``run`` and
``col``; when an outer loop advances, its ``delta_*`` words and ``bits_*`` bits are added instead, to the
address of the last beat, modulo 2**16 words.

A descriptor starts with the words that every layer needs. The `wide` words follow if the flag of that name
is set and count as 0 otherwise; the output words end it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import CompileError
from .device import DeviceConfig
from .record import Record

PROGRAM_MAGIC = int.from_bytes(b"XNP1", "little")
LOOPS = ("run", "col", "row", "copy", "plane", "win_x", "win_y", "x", "y", "tile")
DENSE_LOOPS = ("run", "plane", "tile")
"""Loops of a device without convolution; it knows none of a descriptor's optional words."""


def levels_of(config: DeviceConfig) -> tuple[str, ...]:
    """Return the levels of a device's nest: `LOOPS`, without ``copy`` where weights have but one bit."""
    return LOOPS if config.convolution and config.code_bits > 1 else tuple(n for n in LOOPS if n != "copy")


def loops_of(config: DeviceConfig) -> tuple[str, ...]:
    """Return the loops that a device has, innermost first."""
    return levels_of(config) if config.convolution else DENSE_LOOPS


_FRONT = (
    (("magic", 32),),
    # Bytes of one image on the wire.
    (("image_bytes", 24), ("in_bits_last", 3), ("pad_top", 3)),
    # Result words per image, and bytes of each that are sent.
    (("out_words", 16), ("out_bytes", 8)),
    # The two input and the two output regions of activation memory.
    (("in_base0", 16), ("in_base1", 16)),
    (("plane_stride", 16), ("entry", 16)),
    (("out_base0", 16), ("out_base1", 16)),
)
_BACK = ((("id_low", 32),), (("id_high", 32),))

HEADER = Record(
    *_FRONT,
    # How the image rows under a kernel are interleaved, and `spread`: an image goes to all rows.
    (
        ("interleaved", 1),
        ("spread", 1),
        ("packed", 1),
        ("pad", 8),
        ("kernel_last", 3),
        ("channels_last", 8),
        ("stride", 3),
        ("pad_left", 3),
        ("pad_right", 3),
    ),
    (("map_width", 10), ("map_height", 10), ("rows_last", 10)),
    (("row_values", 16), ("first_place", 16)),
    (("column_step", 16), ("line_step", 16)),
    *_BACK,
)

WINDOW_HEADER = Record(
    *_FRONT,
    # How windows are taken out of the image rows under a kernel, which lie there with their padding.
    (
        ("interleaved", 1),
        ("spread", 1),
        ("packed", 1),
        ("pad", 1),
        ("kernel_last", 3),
        ("stride", 3),
        ("run_last", 11),
        ("first_place", 11),
    ),
    (("across_last", 10), ("map_height", 10), ("rows_last", 10)),
    (("row_values", 16), ("row_step", 16)),
    (("window_step", 16), ("line_step", 16)),
    *_BACK,
)
"""The header on a device with `whole_windows`: it has the same fields where they mean the same."""


def header_of(config: DeviceConfig) -> Record:
    """Return the layout of the header of programs for a device."""
    return WINDOW_HEADER if config.whole_windows else HEADER


_EDGES = (("edge_left", 1), ("edge_right", 1))
"""The first (last) position of a row has weights of its own."""

DESCRIPTOR = Record(
    (
        # Last descriptor of the program.
        ("end", 1),
        # The result is the accumulator, sent as `slices` bit slices, most significant first.
        ("score", 1),
        # Reads what the layer before it writes.
        ("depends", 1),
        # The accumulator doubles from one plane to the next, and each takes a part of the start value.
        ("double", 1),
        # in_base (out_base) counts from the header's input (output) region of the batch's parity.
        ("in_image", 1),
        ("out_image", 1),
        # The optional words are there.
        ("wide", 1),
        # Rows work on strips of one image: each adds multiples of in_strip and out_strip to its addresses.
        ("strips", 1),
        ("slices", 6),
        ("plane_last", 16),
        # Weights and start values come from the store, in the order of their use, and have no base.
        ("stream", 1),
        # Results are codes that the results unit makes, and a tile has one start value.
        ("rescaled", 1),
    ),
    (("run_last", 16), ("tile_last", 16)),
    (("in_base", 16), ("weight_base", 16)),
    (("delta_plane", 16), ("threshold_base", 16)),
    # Deltas are in the low half of a word, and have their bits, if they have any, above them.
    # `code_last`: results are codes of so many bits and one more, each column has the start values of all
    # their thresholds, and planes of results lie `plane_low` words apart, and 64 times `plane_high`.
    (("delta_tile", 16), ("bits_tile", 7), ("code_last", 3), ("plane_low", 6)),
    # Optional words.
    # `valued`: the codes that the results unit makes are added to values.
    (
        ("x_last", 10),
        ("y_last", 10),
        ("col_last", 3),
        ("row_last", 3),
        ("win_x_last", 2),
        ("win_y_last", 2),
        ("valued", 1),
    ),
    (("delta_row", 16), ("out_delta", 16)),
    # Bit offsets of a packed window, for a read address that is not at a word. Padding: a tap outside the map
    # is a word of pad_one bits, or counts as 0 if pad_zero is set.
    (("delta_win_x", 16), ("bits_win_x", 7), ("pad_left", 3), ("pad_top", 3), ("stride_x", 3)),
    # `scaling`: what the layer has to do with K (`xnorcore.isa.scaling`).
    (("delta_win_y", 16), ("bits_win_y", 7), ("stride_y", 3), ("step_x", 4), ("scaling", 2)),
    # Lanes of a window's last word. Kernel rows that are written take two words each.
    (("delta_x", 16), ("bits_x", 7), ("lanes", 8), ("row_pairs", 1)),
    (
        ("delta_y", 16),
        ("bits_y", 7),
        ("step_y", 4),
        ("padded", 1),
        ("pad_zero", 1),
        ("pad_one", 1),
        # The last lane of a tap is 1 in every plane but the first: it cancels over two planes.
        ("balance", 1),
        # Results are written as the kernel rows of three that they are part of.
        ("packed", 1),
    ),
    # Padding of codes: `pad_one` is its bit in the first plane, these are those in the last one and between.
    (("map_width", 10), ("map_height", 10), ("plane_high", 10), ("pad_last", 1), ("pad_between", 1)),
    (("in_strip", 16), ("out_strip", 16)),
    # Output side: kept apart, because the results of a layer arrive after its last beat has left.
    (("out_base", 16), ("out_tile_stride", 16)),
    # Without `strips`: taps are read again in each plane, with further weights, for each copy. The last ones
    # count once, `single_last` and one, those before twice; if `near` is not 0, all but so many of the last
    # count four times. `row_sum`: what the last copy reads is added up, and taken away from all sums.
    # Of what is `valued`, instead of the rows of a pooling window: what a code is less; its bits, minus one;
    # it is added to the value of the layer before, not to 0; of positions, even columns and rows are kept;
    # so many words of a position do not leave the unit, and so many, the first, have no value before.
    also={
        8: (
            ("value_offset", 8),
            ("value_last", 3),
            ("value_adds", 1),
            ("value_halves", 1),
            ("value_short", 5),
            ("value_fresh", 5),
        ),
        12: (("delta_copy", 16), ("copy_last", 4), ("single_last", 4), ("near", 4), ("row_sum", 1), *_EDGES),
    },
)

_STRIPS = ("in_strip", "out_strip")
_COPIES = ("delta_copy", "copy_last", "single_last", "near", "row_sum", "edge_left", "edge_right")
"""Fields of one word, of which the others count as 0, by `strips`."""
VALUES = ("value_offset", "value_last", "value_adds", "value_halves", "value_short", "value_fresh")
_ROWS = ("delta_win_y", "bits_win_y")
"""Likewise, by `valued`."""
WIDE_WORDS = range(DESCRIPTOR.fields["x_last"].word, DESCRIPTOR.fields["out_base"].word)
"""Descriptor words that are there only if `wide` is set."""


def pack_descriptor(values: Mapping[str, int]) -> list[int]:
    """Return a descriptor's words, the optional ones left out if they are 0."""
    words = DESCRIPTOR.pack(values)
    if any(words[index] for index in WIDE_WORDS):
        return DESCRIPTOR.pack({**values, "wide": 1})
    return words[: WIDE_WORDS.start] + words[WIDE_WORDS.stop :]


def plane_words(fields: Mapping[str, int]) -> int:
    """Return the words from one plane of a layer's results to the next, of the fields of its descriptor."""
    return fields["plane_low"] + (fields["plane_high"] << DESCRIPTOR.fields["plane_low"].width)


def signed(value: int) -> int:
    """Return a field of 16 bits as a two's complement number."""
    return value - (1 << 16) if value >> 15 else value


def unpack_descriptor(words: Sequence[int], place: int) -> tuple[dict[str, int], int]:
    """Return the fields of the descriptor at word `place`, and the word behind it.

    Parameters
    ----------
    words : sequence of int
        Program memory from address 0 on.
    place : int

    Raises
    ------
    CompileError
        If the words end before the descriptor, or have bits set that mean nothing.
    """
    short = place < len(words) and not words[place] >> DESCRIPTOR.fields["wide"].low & 1
    after = place + DESCRIPTOR.words - (len(WIDE_WORDS) if short else 0)
    if after > len(words):
        raise CompileError(
            f"the descriptor at {place} reaches word {after - 1}, but the program ends at {len(words) - 1}; "
            "the last descriptor needs its end flag"
        )
    found = list(words[place : place + WIDE_WORDS.start])
    found += [0] * len(WIDE_WORDS) if short else words[place + WIDE_WORDS.start : place + WIDE_WORDS.stop]
    found += words[after - (DESCRIPTOR.words - WIDE_WORDS.stop) : after]
    fields = DESCRIPTOR.unpack(found)
    if DESCRIPTOR.pack(fields) != found:
        raise CompileError(f"the descriptor at {place} has bits set that mean nothing")
    absent = (_COPIES if fields["strips"] else _STRIPS) + (_ROWS if fields["valued"] else VALUES)
    return fields | dict.fromkeys(absent, 0), after


COUNTERS = (
    "active",  # cycles with a batch between its start and its last result
    "busy",  # beats that multiply
    "drain",  # beats that shift scores out
    "fetch",  # idle: descriptor fetch
    "hazard",  # idle: waiting for the previous layer's results
    "port",  # idle: memory port taken by result read-out, or result words still being written
    "wait_output",  # idle: both output regions still being sent
    "tail",  # idle: the last results on their way through the pipeline
    "wait_input",  # cycles between batches, nothing to run (not part of active)
    "images",
    "batches",
    "frames_good",
    "frames_bad",
)
"""Names of the 32-bit counters, in the order the COUNTERS command returns them."""
STORE_COUNTERS = ("wait_weights",)  # idle: a word of weights has not come from the store
"""Names of those that a device with a store has behind them."""


def counters_of(config: DeviceConfig) -> tuple[str, ...]:
    """Return the names of a device's counters, in the order of the answer to COUNTERS."""
    return COUNTERS + (STORE_COUNTERS if config.store_words else ())
