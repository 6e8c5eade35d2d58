"""Layout of program memory: the header and the layer descriptors, shared by compiler and gateware.

Program memory holds 32-bit words. Words 0 to 7 are the `HEADER`; descriptors of `DESCRIPTOR.words`
words follow each other from the header's entry address on, until one has its `end` flag set.

A layer is a nest of six loops around one array beat. From the innermost out: ``run`` (consecutive words),
``row`` (kernel rows), ``plane`` (bit planes), ``x`` and ``y`` (positions), ``tile`` (groups of output
channels). A ``*_last`` field holds the loop's count minus one. The read address grows by 1 along ``run``;
when an outer loop advances, its ``delta_*`` is added instead (modulo 2**16, to the address of the last beat).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .errors import CompileError

PROGRAM_MAGIC = int.from_bytes(b"XNP1", "little")
LOOPS = ("run", "row", "plane", "x", "y", "tile")


@dataclass(frozen=True)
class Field:
    """One field: bits ``low`` to ``low + width - 1`` of 32-bit word `word`."""

    word: int
    low: int
    width: int


class Record:
    """A fixed set of named bit fields in consecutive 32-bit words.

    Parameters
    ----------
    layout : sequence of sequences of (str, int)
        For each word, name and width of its fields, least significant first.
    """

    def __init__(self, *layout: tuple[tuple[str, int], ...]) -> None:
        self.words = len(layout)
        self.fields: dict[str, Field] = {}
        for word, items in enumerate(layout):
            low = 0
            for name, width in items:
                self.fields[name] = Field(word, low, width)
                low += width
            assert low <= 32, f"word {word} holds {low} bits"

    def pack(self, values: Mapping[str, int]) -> list[int]:
        """Return the record's words; fields that are not named are 0, negative deltas wrap.

        Raises
        ------
        CompileError
            If a field is unknown or its value does not fit.
        """
        words = [0] * self.words
        for name, value in values.items():
            field = self.fields[name]
            signed = name.startswith("delta_") or name.endswith("_stride")
            low = -(1 << (field.width - 1)) if signed else 0
            if not low <= value < 1 << field.width:
                raise CompileError(f"program field {name} is {value}, but has only {field.width} bits")
            words[field.word] |= (value & ((1 << field.width) - 1)) << field.low
        return words

    def unpack(self, words: list[int]) -> dict[str, int]:
        """Return the fields of `words` by name, unsigned."""
        return {n: words[f.word] >> f.low & ((1 << f.width) - 1) for n, f in self.fields.items()}


HEADER = Record(
    (("magic", 32),),
    # Bytes of one image on the wire.
    (("image_bytes", 24), ("in_bits_last", 3)),
    # Result words per image, and bytes of each that are sent.
    (("out_words", 16), ("out_bytes", 8)),
    # The two input and the two output regions of activation memory.
    (("in_base0", 16), ("in_base1", 16)),
    (("plane_stride", 16), ("entry", 16)),
    (("out_base0", 16), ("out_base1", 16)),
    (("id_low", 32),),
    (("id_high", 32),),
)

DESCRIPTOR = Record(
    (
        # Last descriptor of the program.
        ("end", 1),
        # The result is the accumulator, sent as `slices` bit slices, most significant first.
        ("score", 1),
        # Reads what the layer before it writes.
        ("depends", 1),
        # The accumulator doubles from one plane to the next, and each plane has its own start value.
        ("double", 1),
        # in_base (out_base) counts from the header's input (output) region of the batch's parity.
        ("in_image", 1),
        ("out_image", 1),
        ("slices", 6),
        ("plane_last", 4),
        ("row_last", 8),
    ),
    (("run_last", 16), ("tile_last", 16)),
    (("x_last", 16), ("y_last", 16)),
    (("in_base", 16), ("weight_base", 16)),
    (("threshold_base", 16), ("delta_row", 16)),
    (("delta_plane", 16), ("delta_x", 16)),
    (("delta_y", 16), ("delta_tile", 16)),
    # Output side: kept apart, because the results of a layer arrive after its last beat has left.
    (("out_base", 16), ("out_delta", 16)),
    (("out_tile_stride", 16),),
)

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
