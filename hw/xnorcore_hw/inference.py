"""INFER: hands image bytes to the loader and leaves records for the responder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth import Module, Signal

from xnorcore.protocol import Status

from .responder import RecordKind

__all__ = ["infer_states"]


def infer_states(
    m: Module,
    control: Any,
    tag: Signal,
    status: Signal,
    ended: Signal,
    armed: Signal,
    take: Callable[[], None],
) -> None:
    """Add the states that carry out INFER to the running `FSM` of `m`; they start at ``INFER``.

    Parameters
    ----------
    m : Module
    control : Control
        Whose ports are used.
    tag, status : Signal
        The request's tag and the status of its response.
    ended : Signal
        The packet's last byte has been taken.
    armed : Signal
    take : callable
        Adds the statements that accept a packet byte.
    """
    i, record = control.i, control.record
    part, closing, is_open = Signal(7), Signal(), Signal()
    with m.State("INFER"):
        m.d.comb += [
            record.valid.eq(1),
            record.payload.kind.eq(RecordKind.BEGIN),
            record.payload.value.eq(tag),
        ]
        m.d.sync += closing.eq(0)
        with m.If(record.ready):
            m.next = "PART"
    with m.State("PART"):
        with m.If(ended):
            m.d.sync += status.eq(Status.BAD_LENGTH)
            m.next = "INFER_END"
        with m.Else():
            take()
            with m.If(i.valid):
                m.d.sync += [closing.eq(i.payload.data[7]), part.eq(i.payload.data[:7] + 1)]
                m.next = "IMAGES"
                with m.If(~armed):
                    m.d.sync += status.eq(Status.NOT_ARMED)
                    m.next = "INFER_DROP"
                with m.Elif(i.payload.data[:7] == 0):
                    m.d.comb += control.restart.eq(1)
                with m.Elif(~is_open | (i.payload.data[:7] != part)):
                    m.d.sync += [status.eq(Status.SEQUENCE), is_open.eq(0)]
                    m.next = "INFER_DROP"
    with m.State("IMAGES"):
        _pass_batches(m, control)
        with m.If(ended):
            m.next = "CLOSE"
        with m.Else():
            m.d.comb += control.images.valid.eq(i.valid)
            with m.If(control.images.ready):
                take()
    with m.State("CLOSE"):
        _pass_batches(m, control)
        with m.If(~control.loader_busy):
            m.d.sync += is_open.eq(~closing)
            m.next = "INFER_END"
            with m.If(closing):
                with m.If(control.boundary):
                    m.d.comb += control.close.eq(1)
                    m.next = "CLOSED"
                with m.Else():
                    m.d.comb += control.restart.eq(1)
                    m.d.sync += status.eq(Status.BAD_LENGTH)
    with m.State("CLOSED"):
        _pass_batches(m, control)
        with m.If(~control.loader_busy):
            m.next = "INFER_END"
    with m.State("INFER_DROP"):
        with m.If(ended):
            m.next = "INFER_END"
        with m.Else():
            take()
    with m.State("INFER_END"):
        m.d.comb += [
            record.valid.eq(1),
            record.payload.kind.eq(RecordKind.END),
            record.payload.value.eq(status),
        ]
        with m.If(record.ready):
            m.next = "TYPE"


def _pass_batches(m: Module, control: Any) -> None:
    m.d.comb += [
        control.record.valid.eq(control.batch.valid),
        control.record.payload.kind.eq(RecordKind.BATCH),
        control.record.payload.value.eq(control.batch.payload),
        control.batch.ready.eq(control.record.ready),
    ]
