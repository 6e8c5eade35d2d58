"""What the stream shell has to know of the program that is armed, and how it finds out: as any host does."""

from __future__ import annotations

from collections.abc import Iterator

from amaranth import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import HEADER
from xnorcore.isa.protocol import (
    FLAG_ARMED,
    HEADER_BYTES,
    INFO_FLAGS_OFFSET,
    INFO_NETWORK_OFFSET,
    KEY_BYTES,
    Command,
    Space,
    Status,
)

from ...interfaces import HeaderLayout, byte_stream

__all__ = ["FactsLayout", "Inquiry"]

_FIELDS = ("image_bytes", "out_words", "out_bytes", "spread")
_FIRST = min(HEADER.fields[name].word for name in _FIELDS)
_WORDS = max(HEADER.fields[name].word for name in _FIELDS) - _FIRST + 1
_INFO = bytes([Command.INFO, 0, 0])
_READ = bytes([Command.READ, 0, 0, Space.PROGRAM, 0, _FIRST, 0, _WORDS, 0])


class FactsLayout(data.StructLayout):
    """What is in front of a program's images, and how many bytes go in and come out for each.

    Widths are those that the core keeps: what is beyond them counts neither here nor there.
    """

    def __init__(self, config: DeviceConfig) -> None:
        header = HeaderLayout(config)
        super().__init__({"key": 8 * KEY_BYTES, **{name: header[name].width for name in _FIELDS}})


class Inquiry(wiring.Component):
    """Asks INFO whether a program is armed and which, and READ for words of its header.

    Parameters
    ----------
    config : DeviceConfig

    Members
    -------
    start : In(1)
        Ask; not before `done`.
    done : Out(1)
        For one cycle: `status` and `facts` are of now.
    status : Out(8)
        `xnorcore.isa.protocol.Status`: OK; NOT_ARMED; BAD_PROGRAM, if images or results have no bytes.
    facts : Out(FactsLayout)
    o, i : Out, In(byte_stream)
        Requests to the core and its responses.
    """

    start: Signal
    done: Signal
    status: Signal
    facts: data.View
    o: stream.Interface
    i: stream.Interface

    def __init__(self, config: DeviceConfig) -> None:
        super().__init__(
            {
                "start": In(1),
                "done": Out(1),
                "status": Out(8),
                "facts": Out(FactsLayout(config)),
                "o": Out(byte_stream()),
                "i": In(byte_stream()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        o, i, facts = self.o, self.i, self.facts
        requests = _INFO + _READ
        number = Signal(range(len(requests)))  # byte of both requests
        place = Signal(range(256))  # byte of a response
        m.d.comb += o.payload.last.eq((number == len(_INFO) - 1) | (number == len(requests) - 1))
        with m.Switch(number):
            for at, byte in enumerate(requests):
                with m.Case(at):
                    m.d.comb += o.payload.data.eq(byte)
        with m.FSM():
            with m.State("REST"):
                m.d.sync += [number.eq(0), place.eq(0)]
                with m.If(self.start):
                    m.next = "ASK"
            with m.State("ASK"):
                m.d.comb += o.valid.eq(1)
                with m.If(o.ready):
                    m.d.sync += number.eq(number + 1)
                    with m.If(o.payload.last):
                        m.d.sync += number.eq(number)
                        m.next = "LISTEN"
            with m.State("LISTEN"):
                m.d.comb += i.ready.eq(1)
                with m.If(i.valid):
                    m.d.sync += place.eq(place + 1)
                    with m.If(number == len(_INFO) - 1):
                        self._of_info(m, place)
                    with m.Else():
                        self._of_header(m, place)
                    with m.If(i.payload.last):
                        m.d.sync += [place.eq(0), number.eq(number + 1)]
                        m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "DONE"
                none = (facts.image_bytes == 0) | (facts.out_words == 0) | (facts.out_bytes == 0)
                with m.If((self.status == Status.OK) & (number == len(_INFO))):
                    m.next = "ASK"
                with m.Elif((self.status == Status.OK) & none):
                    m.d.sync += self.status.eq(Status.BAD_PROGRAM)
            with m.State("DONE"):
                m.d.comb += self.done.eq(1)
                m.next = "REST"
        return m

    def _of_info(self, m: Module, place: Signal) -> None:
        came = self.i.payload.data
        with m.If(place == HEADER_BYTES + INFO_FLAGS_OFFSET):
            armed = (came & FLAG_ARMED).any()
            m.d.sync += self.status.eq(Status.NOT_ARMED)
            with m.If(armed):
                m.d.sync += self.status.eq(Status.OK)
        for number in range(KEY_BYTES):
            with m.If(place == HEADER_BYTES + INFO_NETWORK_OFFSET + number):
                m.d.sync += self.facts.key.word_select(number, 8).eq(came)

    def _of_header(self, m: Module, place: Signal) -> None:
        came = self.i.payload.data
        for name, low, offset in _bytes():
            fact = getattr(self.facts, name)
            high = min(low + 8, len(fact))
            if low < high:
                with m.If(place == HEADER_BYTES + offset // 8):
                    m.d.sync += fact[low:high].eq(came[offset % 8 :][: high - low])


def _bytes() -> Iterator[tuple[str, int, int]]:
    """Yield each byte of the fields: name, its lowest bit in the field, and its place in what READ gives."""
    for name in _FIELDS:
        field = HEADER.fields[name]
        for low in range(0, field.width, 8):
            yield name, low, 32 * (field.word - _FIRST) + field.low + low
