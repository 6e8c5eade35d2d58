"""Registers that take the accumulators of a column group, and hand them on to the results unit."""

from __future__ import annotations

from amaranth import Cat, Module, Mux, Signal, Value

from xnorcore.isa.device import DeviceConfig

__all__ = ["captured"]


def captured(
    m: Module, config: DeviceConfig, totals: list[list[Value]], capture: Value, before: Value
) -> Value:
    """Return the last columns' registers, row by row, `result_lanes` of each.

    A cycle after `capture` they are what the accumulators become in it; then, in every cycle, what as many
    columns before them were. What leaves the group in front of this one comes in as `before`.

    Parameters
    ----------
    m : Module
        Gets the registers.
    config : DeviceConfig
    totals : list of list of Value
        What accumulators become, of each row and its columns.
    capture : Value
    before : Value
        As what is returned.
    """
    lanes, size = config.result_lanes, config.acc_width
    last = []
    for row, columns in enumerate(totals):
        chain = [before.word_select(row * lanes + lane, size) for lane in range(lanes)]
        for column, total in enumerate(columns):
            register = Signal(size, name=f"captured{row}_{column}", reset_less=True)
            m.d.sync += register.eq(Mux(capture, total, chain[column]))
            chain.append(register)
        last += chain[-lanes:]
    return Cat(*last)
