"""GateMate: pads, PLL, and models of what Yosys' own cannot be lowered to gates: registers and block RAM."""

from __future__ import annotations

from xnorcore.errors import EngineError

from ..gates.models import Cell, CellModels, Pad, Pll, number

__all__ = ["CELLS"]

# Yosys' has an asynchronous reset, which no register of ours uses.
_DFF = """
module CC_DFF(input D, CLK, EN, SR, output reg Q);
  parameter CLK_INV = 0, EN_INV = 0, SR_INV = 0, SR_VAL = 0;
  parameter [0:0] INIT = 1'b0;
  initial Q = INIT;
  always @(posedge CLK) if (EN ^ EN_INV) Q <= D;
endmodule
"""

# Two ports of equal width, 1 to 40 bits, or one that writes and one that reads twice as many (SDP). A word is
# one of a memory, or of two. A word that one port reads while the other one writes it is delivered as its
# complement: what the chip gives is not defined. INIT has five bits for four where the width is 1 or 2.
_BRAM = """
module NAME(
  output [PINS-1:0] A_DO, B_DO,
  input A_CLK, B_CLK, A_EN, B_EN, A_WE, B_WE,
  input [15:0] A_ADDR, B_ADDR,
  input [PINS-1:0] A_DI, B_DI, A_BM, B_BM
);
  parameter LOC = "", CAS = "", RAM_MODE = "SDP", A_WR_MODE = "NO_CHANGE", B_WR_MODE = "NO_CHANGE";
  parameter A_RD_WIDTH = 0, B_RD_WIDTH = 0, A_WR_WIDTH = 0, B_WR_WIDTH = 0;
  parameter A_CLK_INV = 0, B_CLK_INV = 0, A_EN_INV = 0, B_EN_INV = 0, A_WE_INV = 0, B_WE_INV = 0;
  parameter A_DO_REG = 0, B_DO_REG = 0, ECC_EN = 0, A_ECC_EN = 0, B_ECC_EN = 0;
DECLARED
  localparam SDP = RAM_MODE == "SDP";
  localparam W = A_WR_WIDTH ? A_WR_WIDTH : A_RD_WIDTH ? A_RD_WIDTH : B_WR_WIDTH ? B_WR_WIDTH : B_RD_WIDTH;
  localparam LOW = W > 40 ? 40 : W;
  localparam SHIFT = W == 1 ? 0 : W == 2 ? 1 : W == 5 ? 2 : W == 10 ? 3 : W == 20 ? 4 : W == 40 ? 5 : 6;
  localparam BITS = ABITS - SHIFT;
  localparam [20 * (1 << ABITS) / 16 - 1:0] INIT = {JOINED};

  wire [BITS-1:0] a = A_LINEAR >> SHIFT, b = B_LINEAR >> SHIFT;
  wire a_write = (A_EN ^ A_EN_INV) & (A_WE ^ A_WE_INV) & (A_WR_WIDTH != 0);
  wire b_write = (B_EN ^ B_EN_INV) & (B_WE ^ B_WE_INV) & (B_WR_WIDTH != 0);
  wire a_read = (A_EN ^ A_EN_INV) & ~(a_write & (A_WR_MODE == "NO_CHANGE")) & ~SDP;
  wire b_read = (B_EN ^ B_EN_INV) & ~(b_write & (B_WR_MODE == "NO_CHANGE"));
  wire [W-1:0] a_data = SDP ? {B_DI, A_DI} : A_DI, a_mask = a_write ? (SDP ? {B_BM, A_BM} : A_BM) : 0;
  wire [W-1:0] b_data = B_DI, b_mask = b_write ? B_BM : 0;

  reg [LOW-1:0] low [0:(1 << BITS) - 1];
  reg [LOW-1:0] high [0:(1 << BITS) - 1];
  integer i;
  initial for (i = 0; i < 1 << BITS; i = i + 1) begin
    low[i] = INIT[(W < 5 ? i * W / 4 * 5 + i * W % 4 : i * W) +: LOW];
    high[i] = W > 40 ? INIT[i * W + 40 +: LOW] : 0;
  end
  always @(posedge A_CLK) for (i = 0; i < LOW; i = i + 1) begin
    if (a_mask[i]) low[a][i] <= a_data[i];
    if (b_mask[i]) low[b][i] <= b_data[i];
    if (W > 40 && a_mask[i + W - LOW]) high[a][i] <= a_data[i + W - LOW];
  end

  reg [W-1:0] a_word, b_word, a_new, b_new, a_kept, b_kept;
  reg a_clash, b_clash;
  always @(posedge A_CLK) if (a_read) begin
    a_word <= low[a];
    a_clash <= |b_mask & (a == b);
    a_new <= a_data;
    a_kept <= ~a_mask;
  end
  always @(posedge A_CLK) if (b_read) begin
    b_word <= W > 40 ? {high[b], low[b]} : low[b];
    b_clash <= |a_mask & (a == b);
    b_new <= b_data;
    b_kept <= ~b_mask;
  end
  wire [W-1:0] a_out = a_clash ? ~a_word : a_word & a_kept | a_new & ~a_kept;
  wire [W-1:0] b_out = b_clash ? ~b_word : b_word & b_kept | b_new & ~b_kept;
  assign A_DO = SDP ? b_out : a_out;
  assign B_DO = SDP ? b_out >> PINS : b_out;
endmodule
"""


def _bram(name: str, pins: int, linear: str) -> str:
    """Return the model of a block, with data pins of each port and its address of single bits."""
    names = [f"INIT_{index:02X}" for index in range(pins * 16 // 5)]
    bits = 14 if pins == 20 else 15
    declared = "\n".join(f"  parameter [319:0] {each} = 0;" for each in names)
    text = _BRAM.replace("DECLARED", declared).replace("JOINED", ", ".join(reversed(names)))
    text = text.replace("A_LINEAR", linear.replace("ADDR", "A_ADDR"))
    text = text.replace("B_LINEAR", linear.replace("ADDR", "B_ADDR"))
    return text.replace("NAME", name).replace("PINS", str(pins)).replace("ABITS", str(bits))


_NEVER = ("A_CLK_INV", "B_CLK_INV", "A_DO_REG", "B_DO_REG", "ECC_EN", "A_ECC_EN", "B_ECC_EN", "CLK_INV")
"""Parameters that are 0 in all netlists that can be simulated."""


def _plain(cell: Cell) -> Cell:
    """Refuse what the models leave out."""
    kind, parameters = cell["type"], cell["parameters"]
    if any(number(parameters.get(name, 0)) for name in _NEVER):
        raise EngineError(
            f"a {kind} of the netlist has another clock edge or register; it cannot be simulated"
        )
    if kind == "CC_DFF" and cell["connections"].get("SR") not in (["0"], None):
        raise EngineError("a CC_DFF of the netlist has a reset, which cannot be simulated")
    if kind.startswith("CC_BRAM"):
        widths = {number(parameters[f"{port}_{way}_WIDTH"]) for port in "AB" for way in ("RD", "WR")}
        if len(widths - {0}) != 1 or parameters.get("CAS", "NONE") != "NONE":
            raise EngineError(
                f"a {kind} of the netlist has two widths, or is one of a pair; it cannot be simulated"
            )
    return cell


CELLS = CellModels(
    files=("gatemate/cells_sim.v",),
    pads={"CC_IBUF": Pad("I", "Y"), "CC_OBUF": Pad("O", out="A")},
    plls={"CC_PLL": Pll("CLK0", "USR_PLL_LOCKED")},
    own={
        "CC_DFF": _DFF,
        "CC_BRAM_20K": _bram("CC_BRAM_20K", 20, "{ADDR[15:7], ADDR[5:1]}"),
        "CC_BRAM_40K": _bram("CC_BRAM_40K", 40, "ADDR[15:1]"),
    },
    plain=_plain,
)
