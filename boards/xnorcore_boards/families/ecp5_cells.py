"""ECP5: pads, PLL, and the models of block RAM and multiplier as Yosys' mapping uses them; Yosys has none."""

from __future__ import annotations

from xnorcore.errors import EngineError

from ..gates.circuit import Block, BlockPort
from ..gates.models import Cell, CellModels, Nets, Pad, Parameters, Pll, byte_enables, joined, number

__all__ = ["CELLS"]

_REGISTERS = ("INPUTA", "INPUTB", "INPUTC", "PIPELINE", "OUTPUT")
_MODES = {"NORMAL": "keep", "WRITETHROUGH": "new", "READBEFOREWRITE": "old"}

# What they do from cycle to cycle: one that puts out the same in both halves, one that takes what is there in
# the middle of a cycle.
_ODDRX1F = """
module ODDRX1F(input SCLK, RST, D0, D1, output reg Q);
  reg first, second;
  always @(posedge SCLK) begin
    first <= D0;
    second <= first;
    Q <= second;
  end
endmodule
"""
_IDDRX1F = """
module IDDRX1F(input D, SCLK, RST, output reg Q0, Q1);
  always @(posedge SCLK) begin
    Q0 <= D;
    Q1 <= D;
  end
endmodule
"""


def _multiplier() -> str:
    """MULT18X18D without any of its registers: each port has one bit."""
    a, b, p = (
        [f"{port}{bit}" for bit in reversed(range(size))] for port, size in (("A", 18), ("B", 18), ("P", 36))
    )
    return f"""
module MULT18X18D(input {", ".join([*a, *b])}, SIGNEDA, SIGNEDB, output {", ".join(p)});
  wire signed [18:0] a = {{SIGNEDA & A17, {", ".join(a)}}};
  wire signed [18:0] b = {{SIGNEDB & B17, {", ".join(b)}}};
  wire signed [37:0] product = a * b;
  assign {{{", ".join(p)}}} = product[35:0];
endmodule
"""


def _dp16kd(parameters: Parameters, nets: Nets) -> Block:
    """ECP5: 1,024 words of 18 bits; 36 bits use the data pins of both ports."""

    def pins(stem: str, count: int) -> tuple[int, ...]:
        return tuple(net for index in range(count) for net in nets(f"{stem}{index}"))

    ports = []
    for side in "AB":
        width = number(parameters[f"DATA_WIDTH_{side}"])
        address = pins(f"AD{side}", 14)
        both = width == 36
        if parameters.get(f"REGMODE_{side}", "NOREG") != "NOREG" or parameters[f"CLK{side}MUX"] == "INV":
            raise EngineError("a DP16KD of the netlist has an output register or an inverted clock")
        ports.append(
            BlockPort(
                width,
                address,
                nets(f"CE{side}")[0],
                nets(f"WE{side}")[0],
                byte_enables(width, address),
                pins("DIA", 18) + pins("DIB", 18) if both else pins(f"DI{side}", 18),
                pins("DOA", 18) + pins("DOB", 18) if both else pins(f"DO{side}", 18),
                _MODES[parameters.get(f"WRITEMODE_{side}", "NORMAL")],
            )
        )
    if ports[0].width == 36:
        # As a pair of a writing and a reading port, of which the latter has the outputs.
        ports[0] = _write_only(ports[0])
    idle = joined(nets, "RSTA RSTB CSA0 CSA1 CSA2 CSB0 CSB1 CSB2")
    return Block(_init(parameters), tuple(ports), idle)


def _write_only(port: BlockPort) -> BlockPort:
    return BlockPort(port.width, port.address, port.enable, port.write, port.bytes, port.data, ())


def _init(parameters: Parameters) -> tuple[int, ...]:
    """Each INITVAL has 16 words of 18 bits, 20 bits apart."""
    init: list[int] = []
    for index in range(64):
        value = number(parameters.get(f"INITVAL_{index:02X}", "0"))
        for word in range(16):
            bits = value >> (20 * word)
            init += [bits & 511, bits >> 9 & 511]
    return tuple(init)


def _plain(cell: Cell) -> Cell:
    """Take an asynchronous reset that never comes for a synchronous one; refuse what the models leave out."""
    parameters, kind = cell["parameters"], cell["type"]
    if kind == "MULT18X18D":
        if any(parameters.get(f"REG_{name}_CLK", "NONE") != "NONE" for name in _REGISTERS):
            raise EngineError("a MULT18X18D of the netlist has a register; it cannot be simulated")
        return {**cell, "parameters": {}}
    if parameters.get("SRMODE") != "ASYNC" or cell["connections"].get("LSR") != ["0"]:
        return cell
    return {**cell, "parameters": {**parameters, "SRMODE": "LSR_OVER_CE"}}


def _flash_clock(cell: Cell) -> bool:
    """Tell what clocks a flash: its own cell, and registers that change in the middle of a cycle."""
    return cell["type"] == "USRMCLK" or cell["parameters"].get("CLKMUX") == "INV"


CELLS = CellModels(
    files=("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"),
    pads={"TRELLIS_IO": Pad("B", "O", "I", "T")},
    plls={"EHXPLLL": Pll("CLKOP")},
    blocks={"DP16KD": _dp16kd},
    own={"ODDRX1F": _ODDRX1F, "IDDRX1F": _IDDRX1F, "MULT18X18D": _multiplier()},
    plain=_plain,
    flash_clock=_flash_clock,
)
