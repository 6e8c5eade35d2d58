"""Writes into the buffers of the array, bytes of the link or words of the store."""

from __future__ import annotations

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.protocol import Space
from xnorcore.isa.stream import packed_columns

from .ports import writes

__all__ = ["FillLayout", "buffer_writes", "bytes_of_byte", "bytes_of_fill", "fill_of_byte", "fills"]


class FillLayout(data.StructLayout):
    """Up to four bytes on their way into the buffers.

    Members
    -------
    starts : 1
        They are of a start value, not of weights.
    bank : 8
        Column; one of those that share a word of the store.
    addr : 16
    part : 2
        Which 32 bits of the word.
    mask : 4
        Bytes to write.
    data : 32
    """

    def __init__(self) -> None:
        super().__init__({"starts": 1, "bank": 8, "addr": 16, "part": 2, "mask": 4, "data": 32})


def fills() -> stream.Signature:
    """Return the signature of a stream of `FillLayout`; the buffers are always ready."""
    return stream.Signature(FillLayout(), always_ready=True)


def buffer_writes(config: DeviceConfig) -> stream.Signature:
    """Return the signature of what is written into the buffers: bytes, or what may be words of a store."""
    return fills() if config.store_words else writes(taken=True)


def fill_of_byte(m: Module, write: stream.Interface, config: DeviceConfig) -> tuple[Value, data.View]:
    """Return whether a byte of the link (`WriteLayout`) is for the buffers, and its `FillLayout`."""
    fill, byte = Signal(FillLayout(), name="byte_fill"), write.p
    starts = byte.space == Space.THRESHOLDS
    shared, size = packed_columns(config), config.geometry.width // 8
    lane: Value = byte.lane
    if shared > 1:
        # The byte that it is of the word that neighbouring columns share.
        lane = Mux(starts, byte.lane, Cat(byte.lane[: size - 1], byte.place.bank))
    m.d.comb += [
        fill.starts.eq(starts),
        fill.bank.eq(byte.place.bank),
        fill.addr.eq(byte.place.addr),
        fill.part.eq(byte.lane[2:]),
        fill.mask.eq(1 << lane[:2]),
        fill.data.eq(byte.data.replicate(4)),
    ]
    return write.valid & (starts | (byte.space == Space.WEIGHTS)), fill


def bytes_of_byte(
    valid: Value, write: data.View, byte: Value, space: Space, select: Value, width: int
) -> tuple[Value, Value]:
    """Return what a byte of the link means to a buffer: enables of the bytes of its word, and that word.

    Parameters
    ----------
    valid, write : Value, View of WriteLayout
    byte : Value
        What is stored for the write's data.
    space : Space
    select : Value
        The write is for this buffer, by its bank.
    width : int
        Bits of the buffer's word.
    """
    chosen = valid & (write.space == space) & select
    return chosen.replicate(width // 8) & (1 << write.lane), byte.replicate(width // 8)


def bytes_of_fill(
    valid: Value, write: data.View, word: Value, space: Space, select: Value, width: int, first: int
) -> tuple[Value, Value]:
    """Return what a `FillLayout` means to a buffer, as `bytes_of_byte` does for a byte.

    Parameters
    ----------
    first : int
        Byte of the store's word where the buffer's word begins.
    """
    chosen = valid & (write.starts == int(space is Space.THRESHOLDS)) & select
    enables, values = [], []
    for byte in range(width // 8):
        part, lane = divmod(first + byte, 4)
        here = write.part == part if width > 32 else Const(1)
        enables.append(chosen & here & write.mask[lane])
        values.append(word.word_select(lane, 8))
    return Cat(*enables), Cat(*values)
