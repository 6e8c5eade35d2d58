"""INFER: hands image bytes to the loader and leaves records for the responder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amaranth import Module, Mux, Signal

from xnorcore.isa.protocol import KEY_BYTES, Status

from .records import RecordKind

__all__ = ["infer_states"]


def infer_states(
    m: Module,
    control: Any,
    status: Signal,
    ended: Signal,
    armed: Signal,
    expected: Signal,
    key: Signal,
    count: Signal,
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
    key : Signal
        Of the armed program, the byte that comes first in the lowest place; left as it was.
    count : Signal
        0 at ``PART``; whoever answers sets it to 0 again.
    take : callable
        Adds the statements that accept a packet byte.
    """
    i = control.i
    part, end = i.payload.data[:7], i.payload.data[7]
    closing, differs = Signal(), Signal()
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
                with m.If(armed & (part == 0)):
                    m.next = "KEY"
                with m.Elif(armed & (part == expected)):
                    m.next = "IMAGES"
    with m.State("KEY"):
        with m.If(count == KEY_BYTES):
            m.d.sync += differs.eq(0)
            m.next = "IMAGES"
            with m.If(differs):
                m.next = "DROP"
        with m.Else():
            m.d.sync += status.eq(Mux(ended, Status.BAD_LENGTH, Status.WRONG_PROGRAM))
            with m.If(~ended):
                take()
            # As many steps for a request that is too short, so that the key is in its place again.
            with m.If(ended | i.valid):
                m.d.sync += [count.eq(count + 1), key.eq(key.rotate_right(8))]
                m.d.sync += differs.eq(differs | ended | (i.payload.data != key[:8]))
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
