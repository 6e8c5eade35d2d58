"""Signatures that several modules of the accelerator share."""

from __future__ import annotations

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import HEADER

__all__ = [
    "ControlSignature",
    "CounterSignature",
    "EmitSignature",
    "HeaderLayout",
    "LaneWriteSignature",
    "OperandSignature",
    "ReadoutSignature",
    "bits_for_depth",
    "byte_stream",
]


def byte_stream() -> stream.Signature:
    """Return the signature of a stream of packet bytes; `last` marks a packet's final byte."""
    return stream.Signature(data.StructLayout({"data": 8, "last": 1}))


def bits_for_depth(depth: int) -> int:
    """Return the address bits of a memory of `depth` words."""
    return max(1, (depth - 1).bit_length())


class HeaderLayout(data.StructLayout):
    """Fields of a program's header (`xnorcore.isa.layout.HEADER`) that the gateware keeps.

    Addresses have the bits that the memories need; what interleaves the rows of an image is there only
    on a device with a line buffer.
    """

    def __init__(self, config: DeviceConfig) -> None:
        address = bits_for_depth(config.act_depth)
        limits = {
            "out_words": address,
            "out_bytes": (config.geometry.width // 8).bit_length(),
            "entry": bits_for_depth(config.program_depth),
        }
        names = ["image_bytes", "in_bits_last", "spread", *limits]
        for name in ("in_base0", "in_base1", "out_base0", "out_base1", "plane_stride"):
            limits[name] = address
            names.append(name)
        if config.line_bytes:
            names += [name for name in HEADER.fields if name not in (*names, "magic", "id_low", "id_high")]
        fields = {name: HEADER.fields[name].width for name in names}
        super().__init__({name: min(width, limits.get(name, width)) for name, width in fields.items()})


class ControlSignature(wiring.Signature):
    """The control word of one array beat; it travels through the array with the activations.

    Members
    -------
    valid : Out(1)
        Add this beat's popcount; otherwise the beat contributes 0.
    first : Out(1)
        Add the start value at address `taddr`: any number to a cleared accumulator, 0 or 1 to one that
        is doubled by the same beat.
    double : Out(1)
        Double the accumulator before adding.
    clear : Out(1)
        Clear the accumulator after this beat.
    waddr : Out
        Weight buffer address.
    taddr : Out
        Threshold buffer address.
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "first": Out(1),
                "double": Out(1),
                "clear": Out(1),
                "waddr": Out(bits_for_depth(config.weight_depth)),
                "taddr": Out(bits_for_depth(config.threshold_depth)),
            }
        )


class OperandSignature(wiring.Signature):
    """How a word of activation memory becomes an operand of the array; in step with its read address.

    Members
    -------
    strip : Out(16)
        Row r reads `strip * r` words further on.
    offset : Out(config.offset_bits)
        Bit at which the operand starts; it goes on in the next word.
    masked : Out(1)
        Only the first `lanes` bits count, the others become 0.
    lanes : Out(8)
    balance : Out(1)
        The last bit becomes 1.
    pad : Out(1)
        The operand's bits are `pad_one` instead, where they count.
    pad_one : Out(1)
    """

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "strip": Out(16),
                "offset": Out(config.offset_bits),
                "masked": Out(1),
                "lanes": Out(8),
                "balance": Out(1),
                "pad": Out(1),
                "pad_one": Out(1),
            }
        )


class EmitSignature(wiring.Signature):
    """What the sequencer says about the bits that a beat emits.

    Members
    -------
    valid : Out(1)
        The beat emits a bit per column and row.
    slice : Out(1)
        More slices of the same scores follow.
    window_first, window_last : Out(1)
        First and last position of a pooling window; the last one's bits, ORed with those before, are the
        result.
    tile : Out(1)
        Last position of a tile.
    layer_first, layer_last : Out(1)
        First and last emission of a layer.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "slice": Out(1),
                "window_first": Out(1),
                "window_last": Out(1),
                "tile": Out(1),
                "layer_first": Out(1),
                "layer_last": Out(1),
            }
        )


class LaneWriteSignature(wiring.Signature):
    """One byte on its way into a memory, from the link.

    Members
    -------
    valid, ready
        Handshake; `ready` is used for activation memory only.
    space : Out(2)
        `xnorcore.isa.protocol.Space`.
    bank : Out(8)
        Column or row.
    addr : Out(16)
        Word address.
    lane : Out(4)
        Byte of the word, least significant first.
    data : Out(8)
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "ready": In(1),
                "space": Out(2),
                "bank": Out(8),
                "addr": Out(16),
                "lane": Out(4),
                "data": Out(8),
            }
        )


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
        super().__init__(
            {
                "valid": Out(1),
                "index": Out(4),
                "ready": In(1),
                "data": In(32),
            }
        )


class ReadoutSignature(wiring.Signature):
    """A request to read one word of activation memory between the array's beats.

    `data` is valid, and `done` is 1, for one cycle after the request was granted.
    """

    def __init__(self, width: int) -> None:
        super().__init__(
            {
                "valid": Out(1),
                "row": Out(4),
                "addr": Out(16),
                "done": In(1),
                "data": In(width),
            }
        )
