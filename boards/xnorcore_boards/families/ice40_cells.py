"""iCE40: pads, PLLs and SPRAM; Yosys has models of all other cells."""

from __future__ import annotations

from ..gates.models import CellModels, Pad, Pll

__all__ = ["CELLS"]

# By the maker's iCE40 UltraPlus data sheet and its SPRAM usage guide, for one clock. What they do not say is
# made wrong: at power-up words are no zeros, and the output behind a write is no word. A block that sleeps,
# is on standby or off does nothing.
_SPRAM = """
module SB_SPRAM256KA(
  input [13:0] ADDRESS, input [15:0] DATAIN, input [3:0] MASKWREN,
  input WREN, CHIPSELECT, CLOCK, STANDBY, SLEEP, POWEROFF,
  output [15:0] DATAOUT
);
  reg [15:0] mem [0:16383];
  reg [15:0] word;
  reg [13:0] last;
  reg wrote;
  wire on = CHIPSELECT & ~STANDBY & ~SLEEP & POWEROFF;
  wire [15:0] kept = DATAIN ^ 16'hAAAA ^ {ADDRESS, 2'b00};
  assign DATAOUT = wrote ? {last, 2'b01} : word ^ 16'hAAAA ^ {last, 2'b00};
  always @(posedge CLOCK) if (on) begin
    word <= mem[ADDRESS];
    last <= ADDRESS;
    wrote <= WREN;
    if (WREN & MASKWREN[0]) mem[ADDRESS][3:0] <= kept[3:0];
    if (WREN & MASKWREN[1]) mem[ADDRESS][7:4] <= kept[7:4];
    if (WREN & MASKWREN[2]) mem[ADDRESS][11:8] <= kept[11:8];
    if (WREN & MASKWREN[3]) mem[ADDRESS][15:12] <= kept[15:12];
  end
endmodule
"""

CELLS = CellModels(
    files=("ice40/cells_sim.v",),
    pads={
        "SB_IO": Pad("PACKAGE_PIN", "D_IN_0", "D_OUT_0", on="OUTPUT_ENABLE", late="D_OUT_1"),
        "SB_GB_IO": Pad("PACKAGE_PIN", "GLOBAL_BUFFER_OUTPUT"),  # a clock that no PLL changes
    },
    plls={"SB_PLL40_CORE": Pll("PLLOUTGLOBAL"), "SB_PLL40_PAD": Pll("PLLOUTGLOBAL")},
    own={"SB_SPRAM256KA": _SPRAM},
)
