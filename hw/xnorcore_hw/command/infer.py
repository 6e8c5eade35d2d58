"""INFER: hands image bytes to the loader and leaves records for the responder."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from xnorcore.isa.protocol import KEY_BYTES, Status

from ..interfaces import LoaderSignature, byte_stream
from .records import RecordKind, RecordLayout

__all__ = ["Infer"]


class Infer(wiring.Component):
    """Carry out INFER requests: check part number and key, pass images on, end the group after the last part.

    Members
    -------
    active : In(1)
        A request waits here behind its tag; until `refuse` or `done`.
    i : In(byte_stream)
        The rest of the packet.
    ended : In(1)
        The packet's last byte has been taken.
    count : In(3)
        Bytes of the key that were taken; 0 at the beginning.
    step : Out(1)
        There is one more.
    armed : In(1)
        There is a program.
    asks : Out(1)
        A byte of the key has come, and that of the program's key is needed.
    key : In(8)
    key_known : In(1)
        `key` is that byte, the one at `count`; only after `asks`, and at any time after it.
    forget : In(1)
        No group of images is open.
    loader : Out(LoaderSignature)
    record : Out(stream of RecordLayout)
        Batches that the loader has completed.
    status, status_valid : Out
        With which the request is refused, from now on.
    refuse, done : Out(1)
        The request is at its end. One that is refused may have bytes left.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "active": In(1),
                "i": In(byte_stream()),
                "ended": In(1),
                "count": In(3),
                "step": Out(1),
                "armed": In(1),
                "asks": Out(1),
                "key": In(8),
                "key_known": In(1),
                "forget": In(1),
                "loader": Out(LoaderSignature()),
                "record": Out(stream.Signature(RecordLayout)),
                "status": Out(range(max(Status) + 1)),
                "status_valid": Out(1),
                "refuse": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Build the module."""
        m = Module()
        i, record, loader = self.i, self.record, self.loader
        part, end = i.p.data[:7], i.p.data[7]
        expected = Signal(7)  # part of the group of images that is open; 0, none
        closing, differs = Signal(), Signal()
        m.d.comb += [
            loader.images.p.eq(i.p.data),
            record.p.kind.eq(RecordKind.BATCH),
            record.p.value.eq(i.p.data),  # of which the lower half is used,
            record.p.value[:4].eq(loader.batch.p),
        ]
        with m.FSM():
            with m.State("PART"):
                reason = Mux(self.armed, Status.SEQUENCE, Status.NOT_ARMED)
                m.d.comb += self.status.eq(Mux(self.ended, Status.BAD_LENGTH, reason))
                with m.If(self.active):
                    m.d.comb += [self.status_valid.eq(1), i.ready.eq(~self.ended), self.refuse.eq(self.ended)]
                    with m.If(i.ready & i.valid):
                        m.d.sync += [closing.eq(end), expected.eq(part + 1)]
                        m.d.comb += loader.restart.eq(self.armed & (part == 0))
                        with m.If(loader.restart):
                            m.next = "KEY"
                        with m.Elif(self.armed & (part == expected)):
                            m.next = "IMAGES"
                        with m.Else():
                            m.d.comb += self.refuse.eq(1)
            with m.State("KEY"):
                m.d.comb += self.status.eq(Mux(self.ended, Status.BAD_LENGTH, Status.WRONG_PROGRAM))
                with m.If(self.count == KEY_BYTES):
                    m.d.sync += differs.eq(0)
                    m.d.comb += self.refuse.eq(differs)
                    m.next = "IMAGES"
                    with m.If(differs):
                        m.next = "PART"
                with m.Else():
                    m.d.comb += [self.status_valid.eq(1), self.asks.eq(i.valid & ~self.ended)]
                    with m.If(self.ended):
                        m.d.sync += differs.eq(0)
                        m.d.comb += self.refuse.eq(1)
                        m.next = "PART"
                    with m.Elif(i.valid & self.key_known):
                        m.d.comb += [i.ready.eq(1), self.step.eq(1)]
                        m.d.sync += differs.eq(differs | (i.p.data != self.key))
            with m.State("IMAGES"):
                self._pass_batches(m)
                with m.If(closing):
                    m.d.sync += expected.eq(0)
                with m.If(self.ended):
                    m.next = "CLOSE"
                with m.Else():
                    m.d.comb += [loader.images.valid.eq(i.valid), i.ready.eq(loader.images.ready)]
            with m.State("CLOSE"):
                self._pass_batches(m)
                m.d.comb += [self.status.eq(Status.BAD_LENGTH), self.status_valid.eq(1)]
                with m.If(~loader.busy):
                    with m.If(~closing):
                        m.d.comb += self.done.eq(1)
                        m.next = "PART"
                    # Once more through this state: closing may leave a batch.
                    with m.Elif(loader.boundary):
                        m.d.sync += closing.eq(0)
                        m.d.comb += loader.close.eq(1)
                    with m.Else():
                        m.d.sync += closing.eq(0)
                        m.d.comb += [loader.restart.eq(1), self.refuse.eq(1)]
                        m.next = "PART"
        with m.If(self.forget):
            m.d.sync += expected.eq(0)
        return m

    def _pass_batches(self, m: Module) -> None:
        batch = self.loader.batch
        m.d.comb += [self.record.valid.eq(batch.valid), batch.ready.eq(self.record.ready)]
