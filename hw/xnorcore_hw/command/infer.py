"""INFER: hands image bytes to the loader and leaves records for the responder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth import Module, Mux, Signal

from xnorcore.isa.protocol import Status

from .records import RecordKind

__all__ = ["infer_states"]


def infer_states(
    m: Module,
    control: Any,
    status: Signal,
    ended: Signal,
    armed: Signal,
    expected: Signal,
    take: Callable[[], None],
) -> None:
    """Add the states that carry out INFER to the running `FSM` of `m`; they start at ``PART``.

    Parameters
    ----------
    m : Module
    control : Control
        Whose ports are used.
    status : Signal
        Status of a refusal, which DROP sends.
    ended : Signal
        The packet's last byte has been taken.
    armed : Signal
    expected : Signal
        Next part of the group, 0 if none is open; EXECUTE and DROP set it to 0.
    take : callable
        Adds the statements that accept a packet byte.
    """
    i = control.i
    part, end = i.payload.data[:7], i.payload.data[7]
    closing = Signal()
    with m.State("PART"):
        m.d.sync += status.eq(Mux(ended, Status.BAD_LENGTH, Mux(armed, Status.SEQUENCE, Status.NOT_ARMED)))
        with m.If(ended):
            m.next = "DROP"
        with m.Else():
            take()
            with m.If(i.valid):
                m.d.sync += [closing.eq(end), expected.eq(part + 1)]
                m.d.sync += control.restart.eq(armed & (part == 0))
                m.next = "DROP"
                with m.If(armed & ((part == 0) | (part == expected))):
                    m.next = "IMAGES"
    with m.State("IMAGES"):
        _pass_batches(m, control)
        with m.If(closing):
            m.d.sync += expected.eq(0)
        with m.If(ended):
            m.next = "CLOSE"
        with m.Else():
            m.d.comb += control.images.valid.eq(i.valid)
            with m.If(control.images.ready):
                take()
    with m.State("CLOSE"):
        _pass_batches(m, control)
        m.d.sync += status.eq(Status.BAD_LENGTH)
        with m.If(~control.loader_busy):
            with m.If(closing):
                # Once more through this state: closing may leave a batch.
                m.d.sync += closing.eq(0)
                with m.If(control.boundary):
                    m.d.comb += control.close.eq(1)
                with m.Else():
                    m.d.sync += control.restart.eq(1)
                    m.next = "DROP"
            with m.Else():
                m.next = "DONE"


def _pass_batches(m: Module, control: Any) -> None:
    m.d.comb += [
        control.record.valid.eq(control.batch.valid),
        control.record.payload.kind.eq(RecordKind.BATCH),
        control.record.payload.value[:4].eq(control.batch.payload),
        control.batch.ready.eq(control.record.ready),
    ]
