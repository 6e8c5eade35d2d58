"""Gowin: the pads of the SDRAM that is in the package."""

from __future__ import annotations

from typing import Any

from amaranth import ClockDomain, ClockSignal, Module, Signal, Value
from amaranth.lib import io

from xnorcore_hw.memory.stores.sdram_pins import PAD_STAGES, SdramCommand

__all__ = ["add_pads"]


def add_pads(m: Module, port: Any, pins: Any, on: Value) -> None:
    """Connect a controller's signals (`SdramPins`) to an SDRAM.

    The clock is a DDR output, inverted; all others come from registers of the fabric, half a cycle before the
    chip takes them. What is read is taken at the clock's falling edge, which is the chip's next rising edge,
    and passed on at the one behind.

    Parameters
    ----------
    m : Module
    port : amaranth.lib.io.PortLike
        Resource of the platform, without buffers: `SDRAMResource` of amaranth-boards.
    pins : SdramPins
    on : Value
        The clock is there. Before that, registers at the pads hold what is a command.
    """

    def late(value: Value, init: int = 0) -> Signal:
        for stage in range(PAD_STAGES):
            early, value = value, Signal(len(value), init=init, name=f"pad{stage}", reset_less=True)
            m.d.sync += value.eq(early)
        assert isinstance(value, Signal)
        return value

    def out(name: str, value: Value) -> None:
        m.submodules[f"{name}_pin"] = pin = io.Buffer("o", getattr(port, name))
        m.d.comb += pin.o.eq(value)

    m.submodules.clk_pin = clock = io.DDRBuffer("o", port.clk)
    m.d.comb += [clock.o[0].eq(0), clock.o[1].eq(1)]
    out("clk_en", Value.cast(1))
    out("cs", on)
    command = late(pins.command, SdramCommand.NOP)
    # These are active low, and Amaranth inverts what is active low on the board.
    for bit, name in enumerate(("ras", "cas", "we")):
        out(name, ~command[bit])
    out("ba", late(pins.bank))
    out("a", late(pins.address))
    out("dqm", late(pins.mask))
    m.domains.fall = ClockDomain("fall", clk_edge="neg", local=True, reset_less=True)
    m.submodules.dq_pin = data = io.Buffer("io", port.dq)
    taken = Signal.like(pins.i, name="taken", reset_less=True)
    arrived = Signal.like(pins.i, name="arrived", reset_less=True)
    m.d.comb += [
        ClockSignal("fall").eq(ClockSignal()),
        data.o.eq(late(pins.o)),
        data.oe.eq(late(pins.oe)),
        pins.i.eq(arrived),
    ]
    m.d.fall += taken.eq(data.i)
    m.d.sync += arrived.eq(taken)
