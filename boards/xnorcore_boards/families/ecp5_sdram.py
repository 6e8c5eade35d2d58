"""ECP5: the pads of an SDRAM."""

from __future__ import annotations

from typing import Any

from amaranth import Module, Value
from amaranth.lib import io

__all__ = ["add_pads"]


def add_pads(m: Module, port: Any, pins: Any, on: Value) -> None:
    """Connect a controller's signals (`SdramPins`) to an SDRAM.

    All outputs are DDR registers, also those that do not change within a cycle: the clock is one, and so
    nothing is late against it. It is inverted. What is read is taken at the clock's falling edge, which is
    the chip's next rising edge, and passed on at the one behind.

    Parameters
    ----------
    m : Module
    port : amaranth.lib.io.PortLike
        Resource of the platform, without buffers: `SDRAMResource` of amaranth-boards.
    pins : SdramPins
    on : Value
        The clock is there. Before that, registers at the pads hold what is a command.
    """

    def out(name: str, value: Value) -> None:
        m.submodules[f"{name}_pin"] = pin = io.DDRBuffer("o", getattr(port, name))
        m.d.comb += [half.eq(value) for half in pin.o]

    m.submodules.clk_pin = clock = io.DDRBuffer("o", port.clk)
    m.d.comb += [clock.o[0].eq(0), clock.o[1].eq(1)]
    m.submodules.clk_en_pin, m.submodules.cs_pin = enable, select = (
        io.Buffer("o", port.clk_en),
        io.Buffer("o", port.cs),
    )
    m.d.comb += [enable.o.eq(1), select.o.eq(on)]
    # These are active low, and Amaranth inverts what is active low on the board.
    for bit, name in enumerate(("ras", "cas", "we")):
        out(name, ~pins.command[bit])
    out("ba", pins.bank)
    out("a", pins.address)
    out("dqm", pins.mask)
    m.submodules.dq_pin = data = io.DDRBuffer("io", port.dq)
    m.d.comb += [*(half.eq(pins.o) for half in data.o), data.oe.eq(pins.oe), pins.i.eq(data.i[1])]
