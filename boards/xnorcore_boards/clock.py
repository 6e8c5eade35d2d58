"""The clock domain of a board: pin, PLL, and a reset that lasts until both can be trusted."""

from __future__ import annotations

from amaranth import ClockDomain, ClockSignal, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from .board import Board

__all__ = ["HEARTBEAT_BITS", "clock_domain"]

RESET_S = 15e-6
"""Shortest reset. iCE40 block RAM reads as zero for 3 us after configuration."""
HEARTBEAT_S = 1.0
HEARTBEAT_BITS = 24
"""Fewest bits of the counter behind the heartbeat."""


def clock_domain(m: Module, board: Board, platform: object) -> tuple[Signal, Signal]:
    """Add the domain ``sync`` to `m`, and return a counter of its cycles and the reset.

    The domain has no reset of its own. The reset lasts until the PLL is locked and then at least `RESET_S`.
    Registers start with their reset value from configuration as well, so that the reset counts from a known
    state.

    Parameters
    ----------
    m : Module
    board : Board
    platform : amaranth.build.Platform

    Returns
    -------
    count : Signal
        Runs freely; its highest bit changes about once in half a second.
    reset : Signal
    """
    port = platform.request(board.clock_pin, dir="-")  # type: ignore[attr-defined]
    clock = Signal()
    if board.pll:
        clock, lock = board.part.family.pll(m, board.pll, port)
        locked = Signal()
        m.submodules.lock = FFSynchronizer(lock, locked, o_domain="por")
    else:
        m.submodules.clock_pin = pin = io.Buffer("i", port)
        m.d.comb += clock.eq(pin.i)
        locked = 1

    por, sync = ClockDomain("por", reset_less=True, local=True), ClockDomain("sync", reset_less=True)
    m.domains += [por, sync]
    m.d.comb += [ClockSignal("por").eq(clock), ClockSignal("sync").eq(clock)]
    # A net that has a name in the netlist: a constraint on any other one is ignored.
    goal = board.true_hz * board.part.family.margin
    platform.add_clock_constraint(sync.clk, goal)  # type: ignore[attr-defined]

    bits = max(HEARTBEAT_BITS, round(HEARTBEAT_S * board.true_hz).bit_length())
    count = Signal(bits)
    reset = Signal(init=1)
    m.d.por += count.eq(count + 1)
    with m.If(~locked if board.pll else 0):
        m.d.por += [count.eq(0), reset.eq(1)]
    with m.Elif(count[round(RESET_S * board.true_hz).bit_length()]):
        m.d.por += reset.eq(0)
    return count, reset
