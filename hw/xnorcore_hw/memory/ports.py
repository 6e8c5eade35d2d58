"""What goes into memories and comes out of them: payloads and signatures."""

from __future__ import annotations

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig

from ..interfaces import bits_for_depth

__all__ = [
    "PlaceLayout",
    "ProgramReadSignature",
    "ReadoutSignature",
    "ResultLayout",
    "RowWriteLayout",
    "WordReadSignature",
    "WriteLayout",
    "results",
    "row_writes",
    "writes",
]


class ResultLayout(data.StructLayout):
    """Results on their way into the activation memories, a word for each row.

    Members
    -------
    addr
    mask : width // lane
        Lanes of `geometry.lane` bits to write.
    clear : 1
        A word that several tiles share takes 0 in all parts but the first.
    bits : array of rows
        Bits of one tile, for each part of the word.
    packed, halves : 1
    quarters : 4
        With `config.packed_rows`: instead, the first half of a word's bits are for each of its halves, or the
        first quarter for each quarter; other quarters than these take 0.
    """

    def __init__(self, config: DeviceConfig) -> None:
        g = config.geometry
        bits = data.ArrayLayout(min(g.columns, g.width), g.rows)
        addr, lanes = bits_for_depth(config.act_depth), g.width // g.lane
        rows = {"packed": 1, "halves": 1, "quarters": 4} if config.packed_rows else {}
        super().__init__({"addr": addr, "mask": lanes, "clear": 1, "bits": bits, **rows})


class PlaceLayout(data.StructLayout):
    """A word of a memory.

    Members
    -------
    bank : 8
        Column or row.
    addr : 16
    """

    def __init__(self) -> None:
        super().__init__({"bank": 8, "addr": 16})


class WriteLayout(data.StructLayout):
    """One byte on its way into a memory.

    Members
    -------
    space : 2
        `xnorcore.isa.protocol.Space`.
    place : PlaceLayout
    lane : 4
        Byte of the word, least significant first.
    data : 8
    """

    def __init__(self) -> None:
        super().__init__({"space": 2, "place": PlaceLayout(), "lane": 4, "data": 8})


class RowWriteLayout(data.StructLayout):
    """One byte on its way into activation memory.

    Members
    -------
    everywhere : 1
        It is for all rows.
    place, lane, data
        As in `WriteLayout`.
    """

    def __init__(self) -> None:
        super().__init__({"everywhere": 1, "place": PlaceLayout(), "lane": 4, "data": 8})


def results(config: DeviceConfig) -> stream.Signature:
    """Return the signature of a stream of `ResultLayout`; the memories are always ready."""
    return stream.Signature(ResultLayout(config), always_ready=True)


def writes(*, taken: bool = False) -> stream.Signature:
    """Return the signature of a stream of `WriteLayout`; `taken`: by memories that are always ready."""
    return stream.Signature(WriteLayout(), always_ready=taken)


def row_writes(*, taken: bool = False) -> stream.Signature:
    """Return the signature of a stream of `RowWriteLayout`; `taken` as in `writes`."""
    return stream.Signature(RowWriteLayout(), always_ready=taken)


class ProgramReadSignature(wiring.Signature):
    """Read port of program memory.

    Members
    -------
    addr, following : Out
    move : Out(1)
        Decided late: the address is `following`, not `addr`. Only if `ready`.
    jump : Out(1)
        In the next cycle, `addr` is another one than that of the last word, or than `following` of a `move`.
    data : In(32)
        Word at the address of the cycle before; without `config.program_halves` always.
    ready : In(1)
        `data` is in this cycle the word at the address of the cycle before, and stays it while that stays.
    """

    def __init__(self, depth: int) -> None:
        addr = bits_for_depth(depth)
        super().__init__(
            {
                **dict.fromkeys(("addr", "following"), Out(addr)),
                **dict.fromkeys(("move", "jump"), Out(1)),
                "data": In(32),
                "ready": In(1),
            }
        )


class WordReadSignature(wiring.Signature):
    """A request to read one word of program memory.

    Members
    -------
    valid : Out(1)
    addr : Out
    data, ready : In
        As in `ProgramReadSignature`; `ready` only if `valid` in the cycle before.
    """

    def __init__(self, depth: int) -> None:
        super().__init__(
            {"valid": Out(1), "addr": Out(bits_for_depth(depth)), "data": In(32), "ready": In(1)}
        )


class ReadoutSignature(wiring.Signature):
    """A request to read one word of activation memory between the array's beats.

    `data` is valid, and `done` is 1, for one cycle after the request was granted.
    """

    def __init__(self, width: int) -> None:
        super().__init__({"valid": Out(1), "row": Out(4), "addr": Out(16), "done": In(1), "data": In(width)})
