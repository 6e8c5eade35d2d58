"""Payloads and signatures that several modules of the accelerator share."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import DESCRIPTOR, VALUES, header_of

from .parts.sizes import bits_for_depth

__all__ = [
    "ControlLayout",
    "CounterSignature",
    "CutLayout",
    "DescriptorLayout",
    "Emission",
    "HeaderLayout",
    "LayerLayout",
    "LoaderSignature",
    "OperandLayout",
    "RingSignature",
    "bits_for_depth",
    "byte_stream",
    "code_size",
]


def code_size(config: DeviceConfig) -> int:
    """Return the bits of a number that is a code's bits, minus one; 0 where there are no codes."""
    return (config.code_bits - 1).bit_length()


def byte_stream() -> stream.Signature:
    """Return the signature of a stream of packet bytes; `last` marks a packet's final byte."""
    return stream.Signature(data.StructLayout({"data": 8, "last": 1}))


class HeaderLayout(data.StructLayout):
    """Fields of a program's header (`xnorcore.isa.layout.header_of`) that the gateware keeps.

    Addresses have the bits that the memories need; what interleaves the rows of an image is there only
    on a device with a line buffer. Two are the same in all programs.
    """

    OTHERS = ("magic", "in_base0", "entry", "id_low", "id_high")

    def __init__(self, config: DeviceConfig) -> None:
        address, header = bits_for_depth(config.act_depth), header_of(config).fields
        limits = {
            "out_words": address,
            "out_bytes": (config.geometry.width // 8).bit_length(),
        }
        names = ["image_bytes", "in_bits_last", "spread", *limits]
        for name in ("in_base1", "out_base0", "out_base1", "plane_stride"):
            limits[name] = address
            names.append(name)
        if config.line_bytes:
            limits |= dict.fromkeys(("row_values", "row_step"), config.line_bytes.bit_length())
            within = bits_for_depth(config.line_bytes)
            limits |= dict.fromkeys(("run_last", "across_last", "window_step"), within)
            names += [name for name in header if name not in (*names, *self.OTHERS)]
        fields = {name: header[name].width for name in names}
        super().__init__({name: min(width, limits.get(name, width)) for name, width in fields.items()})


class DescriptorLayout(data.FlexibleLayout):
    """A layer's descriptor, word after word (`xnorcore.isa.layout.DESCRIPTOR`).

    `stream` is there only on a device with a store, what codes and weights of several bits need only where
    `config.code_bits` is above 1, `near` and `row_sum` only with `config.row_sums`, `rescaled` only with
    `config.result_lanes`, what says how codes are added to values only with `config.value_depth`, `scaling`
    only with `config.scale_depth`, and what is about kernel rows only with `config.packed_rows`.
    """

    CODES = ("code_last", "plane_low", "plane_high", "pad_last", "pad_between")
    CODES += ("delta_copy", "copy_last", "single_last")
    SUMS = ("near", "row_sum")
    ROWS = ("packed", "row_pairs", "edge_left", "edge_right", "value_short", "value_fresh")

    def __init__(self, config: DeviceConfig) -> None:
        fields = {
            name: data.Field(unsigned(field.width), 32 * field.word + field.low)
            for name, field in DESCRIPTOR.fields.items()
            if config.store_words or name != "stream"
            if config.code_bits > 1 or name not in self.CODES
            if config.row_sums or name not in self.SUMS
            if config.result_lanes or name != "rescaled"
            if config.value_depth or name not in ("valued", *VALUES)
            if config.scale_depth or name != "scaling"
            if config.packed_rows or name not in self.ROWS
        }
        super().__init__(32 * DESCRIPTOR.words, fields)


class ControlLayout(data.StructLayout):
    """The control word of one array beat; it travels through the array with the activations.

    Members
    -------
    valid : 1
        Add this beat's popcount; otherwise the beat contributes 0.
    load : 1
        The column's start value is from this beat on that at address `taddr`.
    first : 1
        Add the start value, or, if the same beat doubles the accumulator, the value's next bit
        (`xnorcore.isa.starts`). With `config.code_bits` above 1 also to an accumulator that is not 0, in a
        beat without `valid`.
    double : 1
        Double the accumulator before adding.
    clear : 1
        Clear the accumulator after this beat.
    waddr, taddr
        Weight and threshold buffer addresses.
    four : 1
        The beat's popcount counts twice: with the doubling behind it, four times.
    shared : 1
        The row's sum takes what the beat reads, too.
    adds : config.geometry.rows
        One-hot: the row whose sum is added in this beat, which has `first` but neither `valid` nor `load`;
        other rows do nothing. These three are there only with `config.row_sums`.
    capture : 1
        The results unit takes what the accumulators become. Only with `config.result_lanes`.
    """

    RESET = ("valid", "clear")
    """What a reset must stop on its way to the array."""

    def __init__(self, config: DeviceConfig) -> None:
        addresses = {
            "waddr": bits_for_depth(config.weight_depth),
            "taddr": bits_for_depth(config.threshold_depth),
        }
        sums = {"four": 1, "shared": 1, "adds": config.geometry.rows} if config.row_sums else {}
        sums |= {"capture": 1} if config.result_lanes else {}
        super().__init__({"valid": 1, "load": 1, "first": 1, "double": 1, "clear": 1, **addresses, **sums})


class CutLayout(data.StructLayout):
    """How an operand of the array is cut out of the word at its address and the one behind it.

    Members
    -------
    masked : 1
        Only the first `lanes` bits count, the others become 0.
    pad : 1
        The operand's bits are `pad_one` instead, where they count.
    pad_one : 1
    balance : 1
        The last bit becomes 1.
    offset : config.offset_bits
        Where the operand starts, in units of `config.column_align` bits; it goes on in the next word.
    lanes : 8
    """

    def __init__(self, config: DeviceConfig) -> None:
        flags = {"masked": 1, "pad": 1, "pad_one": 1, "balance": 1}
        super().__init__({**flags, "offset": config.offset_bits, "lanes": 8})


class OperandLayout(data.StructLayout):
    """What the array reads: an address of the activation memories and what becomes of the word there.

    Members
    -------
    addr
    strip : 16
        Row r reads `strip * r` words further on; two cycles before it counts.
    cut : CutLayout
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__({"addr": bits_for_depth(config.act_depth), "strip": 16, "cut": CutLayout(config)})


class RingSignature(wiring.Signature):
    """What beats say about the words that they take out of the rings, which come from the store.

    Members
    -------
    go : Out(1)
        A layer begins that takes its weights from the store; its first tile is the present one from the next
        cycle on.
    base, start : Out
        First word of weights, and start value, of the present tile.
    next_word, next_start : Out
        Behind the words of the present beat; behind that start value.
    arrived : In
        The words before this one are there, and the start values of their tiles.
    """

    def __init__(self, config: DeviceConfig) -> None:
        word, start = bits_for_depth(config.weight_depth), bits_for_depth(config.threshold_depth)
        places = {"base": Out(word), "start": Out(start), "next_word": Out(word), "next_start": Out(start)}
        super().__init__({"go": Out(1), **places, "arrived": In(word)})


class Emission(IntEnum):
    """What the sequencer says about a beat: whether it emits a bit per column and row, and what follows it.

    Few bits, since they go as many cycles through registers as their beat takes through the array.
    """

    NONE = 0
    """Nothing is emitted."""
    WINDOW = 1
    """More positions of a pooling window; the last one's bits, ORed with those before, are the result."""
    SLICE = 2
    """More slices of the same scores."""
    POSITION = 3
    """Another position of the tile."""
    TILE = 4
    """Another tile of the layer."""
    LAYER = 5
    """Another layer."""
    CODE = 6
    """More thresholds of the same position; only where results may be codes."""


class LayerLayout(data.StructLayout):
    """Where the results of a layer go.

    Members
    -------
    base, delta, tile_stride
        First result word; distance between the first result words of neighbouring positions, and of tiles.
    strips : 1
        Rows work on strips of one image.
    strip
        Distance between the results of neighbouring strips.
    score : 1
        The layer emits scores.
    final : 1
        Last layer of a batch.
    planes_last, plane
        Only where results may be codes: bits of one, minus one, and words from one plane of them to the next.
    packed, row_pairs : 1
    x_last
        Only with `config.packed_rows`: results are written as kernel rows, of two words each; there are so
        many in a row, and one.
    """

    def __init__(self, config: DeviceConfig) -> None:
        address = bits_for_depth(config.act_depth)
        words = {"base": address, "delta": address, "tile_stride": address}
        codes = {"planes_last": code_size(config), "plane": address} if config.code_bits > 1 else {}
        rows = ("packed", "row_pairs", "x_last") if config.packed_rows else ()
        codes |= {name: DESCRIPTOR.fields[name].width for name in rows}
        super().__init__({**words, "strips": 1, "strip": address, "score": 1, "final": 1, **codes})


class LoaderSignature(wiring.Signature):
    """What INFER asks of the loader.

    Members
    -------
    images : Out(stream of 8)
        Image bytes.
    restart, close : Out(1)
        Forget the incomplete batch; end it although rows are free.
    busy : In(1)
        Bytes that were taken are not all stored, or a batch waits to be accepted.
    boundary : In(1)
        The last byte was the last one of an image.
    batch : In(stream of 4)
        A complete batch: its number of images.
    """

    def __init__(self) -> None:
        flags = {"restart": Out(1), "close": Out(1), "busy": In(1), "boundary": In(1)}
        super().__init__({"images": Out(stream.Signature(8)), **flags, "batch": In(stream.Signature(4))})


class CounterSignature(wiring.Signature):
    """A request for one of the performance counters.

    Members
    -------
    valid : Out(1)
        Goes to 0 between two requests.
    index : Out(4)
        In `xnorcore.isa.layout.COUNTERS`.
    ready : In(1)
        `data` is there.
    data : In(32)
        What the counter stood at in one cycle of the request; stays until the next one.
    """

    def __init__(self) -> None:
        super().__init__({"valid": Out(1), "index": Out(4), "ready": In(1), "data": In(32)})
