"""The array's geometry and a device's configuration: what the user chooses, checked in one place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields

from ..errors import GeometryError
from ..nearest import did_you_mean
from .codes import check_codes, check_lanes, check_memory
from .geometry import COLUMNS, Geometry
from .packed import check_packed
from .ranges import check_alignment, check_lines, check_share, in_range, power_of_two_at_least
from .stores import check_kept_words, check_store

MAX_DEPTH = 65536
MAX_ACC_WIDTH = 32
MAX_PROGRAM_DEPTH = 4096
_GEOMETRY = Geometry()
_LATER = (
    "code_bits", "row_sums", "result_lanes", "value_depth", "scale_depth", "packed_rows",
    "kept_words",
)  # fmt: skip


@dataclass(frozen=True)
class DeviceConfig:
    """Everything that fixes one accelerator: its array and its memories.

    Depths of 0 choose a default for the simulated device; boards name their own.

    Parameters
    ----------
    geometry : Geometry
    acc_width : int
        Bits of a PE's accumulator, 10 to 32. It holds dot / 2.
    weight_depth : int
        Words of `width` bits in each column's weight buffer.
    threshold_depth : int
        Start values of `acc_width` bits in each column's threshold buffer.
    act_depth : int
        Words of `width` bits in each row's activation memory.
    program_depth : int
        32-bit words of program memory.
    fifo_bytes : int
        Bytes that the device can hold between the wire and the core.
    column_group : int
        Columns that share one systolic stage.
    line_bytes : int
        Bytes of the buffer that holds the image rows under a kernel; 0 leaves out convolution of images.
    counters : int
        1, or 0 to leave out the performance counters.
    convolution : int
        1, or 0 to leave out all but dense layers.
    threshold_share : int
        Columns that share a threshold memory and read a tile's start values one after the other: a tile then
        takes as many cycles at least. A power of two that divides `columns` and `column_group`, at most log2
        of the width.
    program_halves : int
        1 for program memory of 16 bits: two cycles a word.
    whole_windows : int
        1 to store every window of an image that is convolved in words of its own. Otherwise neighbours share
        what they have in common, and the array cuts operands out of two words: less memory, more logic.
    column_align : int
        1, 2, 4 or 8: bits at whose multiples the columns of a convolved image begin in memory. More of them
        take more memory, and each doubling a level of logic less where operands are cut out of words.
    act_ports : int
        2, or 1 for activation memories that either read or write in a cycle. Needs `whole_windows` where
        images are convolved.
    store_words : int
        32-bit words of a store that holds weights and start values which exceed the buffers, in the order of
        their use; 0, there is none. A power of two, 1,024 to 2**24. The buffers are rings then, and their
        depths powers of two.
    store_kind : int
        What it is made of (`xnorcore.isa.stores.StoreKind`).
    code_bits : int
        Bits of a value between layers, 1 to 8. Above 1 each column compares its sums with as many thresholds
        as a code of up to 3 bits needs, one after the other. Needs `threshold_share` 1.
    row_sums : int
        1 for a sum of its operands in every row, which all of its columns add, and for signs that count four
        times: weights of 3 bits then take 3 signs instead of 4. Needs `code_bits` above 1, and `convolution`.
    result_lanes : int
        Results per row and cycle of the results unit (`xnorcore.isa.scales`), which makes codes of sums by a
        multiplication; 0, there is none. A power of two up to 16 that divides `columns` and `column_group`.
        Needs `code_bits` above 1, and no store.
    value_depth : int
        Words of `result_lanes` values of 8 bits in a row, to which the unit adds codes; 0, there are none. A
        power of two, 64 to 65,536. Needs `result_lanes` and `convolution`.
    scale_depth : int
        Numbers K of 16 bits in a row, by which the unit multiplies sums of as many positions; 0, there are
        none. As `value_depth`.
    packed_rows : int
        1 where results may be written as kernel rows (`xnorcore.isa.packed`). Needs no store, `convolution`.
    kept_words : int
        32-bit words of a region in a flash that only keeps a network without power (`xnorcore.isa.kept`), for
        a device whose store is not in flash; 0, there is none. A power of two, 2,048 to 2**21. Programs do
        not depend on it.

    Raises
    ------
    GeometryError
        If a value is outside its limits.
    """

    geometry: Geometry = _GEOMETRY
    acc_width: int = 20
    weight_depth: int = 0
    threshold_depth: int = 0
    act_depth: int = 8192
    program_depth: int = 256
    fifo_bytes: int = 4096
    column_group: int = 16
    line_bytes: int = 4096
    counters: int = 1
    convolution: int = 1
    threshold_share: int = 1
    program_halves: int = 0
    whole_windows: int = 0
    column_align: int = 1
    act_ports: int = 2
    store_words: int = 0
    store_kind: int = 0
    code_bits: int = 1
    row_sums: int = 0
    result_lanes: int = 0
    value_depth: int = 0
    scale_depth: int = 0
    packed_rows: int = 0
    kept_words: int = field(default=0, repr=False)  # no part of what names a program

    def __post_init__(self) -> None:
        g = self.geometry
        if not self.weight_depth:
            depth = power_of_two_at_least((4 << 20) // (g.columns * g.width))
            object.__setattr__(self, "weight_depth", min(max(depth, 512), MAX_DEPTH))
        if not self.threshold_depth:
            depth = power_of_two_at_least(16384 // g.columns)
            object.__setattr__(self, "threshold_depth", max(depth, 256))
        in_range("acc_width", self.acc_width, 10, MAX_ACC_WIDTH)
        in_range("weight_depth", self.weight_depth, 64, MAX_DEPTH)
        in_range("threshold_depth", self.threshold_depth, 16, MAX_DEPTH)
        in_range("act_depth", self.act_depth, 64, MAX_DEPTH)
        in_range("program_depth", self.program_depth, 64, MAX_PROGRAM_DEPTH)
        in_range("fifo_bytes", self.fifo_bytes, 512, 16384)
        if self.fifo_bytes & (self.fifo_bytes - 1):
            raise GeometryError(f"fifo_bytes is {self.fifo_bytes}, but must be a power of two, 512 to 16384")
        in_range("column_group", self.column_group, 1, COLUMNS[1])
        in_range("line_bytes", self.line_bytes, 0, MAX_DEPTH)
        for name in ("counters", "convolution", "program_halves", "whole_windows"):
            in_range(name, getattr(self, name), 0, 1)
        in_range("act_ports", self.act_ports, 1, 2)
        check_alignment(self.column_align, bool(self.line_bytes and not self.whole_windows), g.width)
        check_lines(self.line_bytes, self.convolution, self.whole_windows, self.act_ports)
        rings = {name: getattr(self, name) for name in ("weight_depth", "threshold_depth")}
        check_store(self.store_words, self.store_kind, rings)
        check_kept_words(self.kept_words, self.store_kind)
        check_share(self.threshold_share, g.columns, self.column_group, g.width)
        check_codes(self.code_bits, self.threshold_share, self.row_sums, self.convolution)
        check_lanes(self.result_lanes, self.code_bits, g.columns, self.column_group)
        for name in ("value_depth", "scale_depth"):
            check_memory(name, getattr(self, name), self.result_lanes, self.convolution, MAX_DEPTH)
        check_packed(self.packed_rows, g.columns, g.width, self.convolution, self.store_words)
        # A StoreKind is a number like the others: programs are named by what a configuration prints.
        object.__setattr__(self, "store_kind", int(self.store_kind))

    @property
    def max_frame(self) -> int:
        """Largest frame body in bytes; two of them fit the receive buffer."""
        return min(self.fifo_bytes // 2 - 4, 2048)

    @property
    def offset_bits(self) -> int:
        """Bits of an offset into a word, in units of `column_align`; 0 where no operand starts inside one."""
        width = self.geometry.width
        across = self.line_bytes and not self.whole_windows
        return (width // self.column_align).bit_length() - 1 if across and not width & (width - 1) else 0

    @property
    def reads_windows(self) -> bool:
        """Whether the array can read the windows of an image: a first layer may be a convolution."""
        return bool(self.whole_windows or self.offset_bits)

    @property
    def keeps_once(self) -> bool:
        """Whether a descriptor keeps where its results go, until all are written, with no copy of it."""
        return bool(self.program_halves and not self.offset_bits)

    @property
    def groups(self) -> int:
        """Systolic stages along a row."""
        return -(-self.geometry.columns // self.column_group)

    @property
    def latency(self) -> int:
        """Cycles from a beat to the cycle that writes its result into activation memory."""
        count = (self.geometry.width - 1).bit_length()
        # Operand, the way back and the write, weight read, popcount, accumulator, further groups.
        return (5 if self.offset_bits else 0) + 1 + count + 1 + self.groups - 1

    def digest(self) -> bytes:
        """Eight bytes that name this configuration."""
        values = asdict(self)
        if not self.store_words:
            del values["store_words"], values["store_kind"]  # What it was before there were any.
        values = {n: value for n, value in values.items() if n not in _LATER or value != (n == "code_bits")}
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).digest()[:8]

    @classmethod
    def parse(cls, **options: int) -> DeviceConfig:
        """Build a configuration from flat options: ``rows=2, columns=32, act_depth=4096``.

        Raises
        ------
        GeometryError
            If an option is unknown or a value is illegal.
        """
        shape = {f.name for f in fields(Geometry)}
        rest = {f.name for f in fields(cls)} - {"geometry"}
        for name in options:
            if name not in shape | rest:
                known = ", ".join(sorted(shape | rest))
                meant = did_you_mean(name, shape | rest)
                raise GeometryError(f"unknown device option {name!r}; known: {known}{meant}")
        if name := next((n for n in ("weight_depth", "threshold_depth") if options.get(n) == 0), ""):
            raise GeometryError(f"{name} is 0; leave it out for the default")
        g = Geometry(**{k: v for k, v in options.items() if k in shape})
        return cls(g, **{k: v for k, v in options.items() if k in rest})


def options(config: DeviceConfig) -> dict[str, int]:
    """Return a configuration as the flat options of `DeviceConfig.parse`."""
    values = asdict(config)
    return {**values.pop("geometry"), **values}
