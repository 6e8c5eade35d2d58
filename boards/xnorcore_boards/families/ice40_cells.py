"""iCE40: pads and PLLs; Yosys has models of all other cells."""

from __future__ import annotations

from ..gates.models import CellModels, Pad, Pll

__all__ = ["CELLS"]

CELLS = CellModels(
    files=("ice40/cells_sim.v",),
    pads={
        "SB_IO": Pad("PACKAGE_PIN", "D_IN_0", "D_OUT_0"),
        "SB_GB_IO": Pad("PACKAGE_PIN", "GLOBAL_BUFFER_OUTPUT"),  # a clock that no PLL changes
    },
    plls={"SB_PLL40_CORE": Pll("PLLOUTGLOBAL"), "SB_PLL40_PAD": Pll("PLLOUTGLOBAL")},
)
