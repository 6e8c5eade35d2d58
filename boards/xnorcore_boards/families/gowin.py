"""Gowin GW1N and GW2A: parts, PLL, block RAM shapes, tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .family import BlockRam, Family, Part, total
from .pll import PllPlan, choose

if TYPE_CHECKING:
    from amaranth import Module, Signal, Value

    from xnorcore_hw.array.carry.generic import Carry

    from ..gates.models import CellModels

__all__ = ["GW1NR_9C_QN88P", "GW2AR_18C_QN88", "Gowin"]

_MHZ = 1_000_000
# Amaranth has placed the buffers of the pins; Yosys would add others to every module that it keeps.
_OPTIONS = ("-nowidelut", "-noiopads")
_ODIV = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


class Gowin(Family):
    """GW1N and GW2A with Project Apicula's tools.

    Parameters
    ----------
    series : str
        Of the chip, as Yosys names it.
    device : str
        The DEVICE parameter of its PLL.
    pfd, vco : tuple of int
        Lowest and highest frequency in MHz at the phase detector, and of the oscillator.
    """

    name = "gowin"
    constraints = "cst"
    bitstream = "fs"
    tools = ("yosys", "nextpnr-himbaechel-gowin", "gowin_pack")
    constrain = ("--vopt", "cst=top.cst")
    # 16 and 32 bits have byte enables.
    block_ram = BlockRam(
        ("SDPB", "SDPX9B", "DPB", "DPX9B", "SP", "SPX9", "pROM", "pROMX9"),
        (
            (512, 32, 8),
            (512, 36, 9),
            (1024, 16, 8),
            (1024, 18, 9),
            (2048, 8, 8),
            (2048, 9, 9),
            (4096, 4, 4),
            (8192, 2, 2),
            (16384, 1, 1),
        ),
        128,
    )
    lut_memory = True
    # 0.972 on a Tang Nano 9K, 0.973 on a 20K: placed, it reports fewer look-up tables than packed.
    packed = 0.973

    def __init__(self, series: str, device: str, pfd: tuple[int, int], vco: tuple[int, int]) -> None:
        self.series, self.device = series, device
        self.pfd_limits, self.vco_limits = pfd, vco

    def carry(self) -> Carry:
        """Add three products in look-up tables, and sums with the family's adders."""
        from xnorcore_hw.array.carry.generic import GenericCarry

        return GenericCarry(tables=True)

    def cells(self) -> CellModels:
        """Return the models of the cells that Yosys has none for."""
        from .gowin_cells import CELLS

        return CELLS

    def plan(self, input_hz: int, wanted_hz: int) -> PllPlan:
        """Choose the dividers of rPLL: out = in * (FBDIV + 1) / (IDIV + 1), oscillator = out * ODIV."""
        return choose("rPLL", input_hz, wanted_hz, self._plans(input_hz, wanted_hz))

    def _plans(self, input_hz: int, wanted_hz: int) -> Iterator[PllPlan]:
        for idiv in range(64):
            pfd = Fraction(input_hz, idiv + 1)
            if not self.pfd_limits[0] * _MHZ <= pfd <= self.pfd_limits[1] * _MHZ:
                continue
            fbdiv = round(wanted_hz / pfd) - 1
            output = pfd * (fbdiv + 1)
            for odiv in _ODIV:
                vco = output * odiv
                if 0 <= fbdiv < 64 and self.vco_limits[0] * _MHZ <= vco <= self.vco_limits[1] * _MHZ:
                    yield PllPlan(input_hz, output, vco, {"IDIV": idiv, "FBDIV": fbdiv, "ODIV": odiv})

    def pll(self, m: Module, plan: PllPlan, port: Any) -> tuple[Signal, Signal]:
        """Add rPLL with its internal feedback."""
        from amaranth import Const, Instance, Signal
        from amaranth.lib import io

        clock, locked = Signal(), Signal()
        m.submodules.clock_pin = pin = io.Buffer("i", port)
        m.submodules.pll = Instance(
            "rPLL",
            p_FCLKIN=f"{plan.input_hz / 1e6:g}",
            p_DEVICE=self.device,
            p_IDIV_SEL=plan.settings["IDIV"],
            p_FBDIV_SEL=plan.settings["FBDIV"],
            p_ODIV_SEL=plan.settings["ODIV"],
            p_DYN_IDIV_SEL="false",
            p_DYN_FBDIV_SEL="false",
            p_DYN_ODIV_SEL="false",
            p_DYN_DA_EN="false",
            p_DYN_SDIV_SEL=2,
            p_PSDA_SEL="0000",
            p_DUTYDA_SEL="1000",
            p_CLKFB_SEL="internal",
            p_CLKOUT_BYPASS="false",
            p_CLKOUTP_BYPASS="false",
            p_CLKOUTD_BYPASS="false",
            p_CLKOUT_FT_DIR=Const(1, 1),
            p_CLKOUTP_FT_DIR=Const(1, 1),
            p_CLKOUT_DLY_STEP=0,
            p_CLKOUTP_DLY_STEP=0,
            p_CLKOUTD_SRC="CLKOUT",
            p_CLKOUTD3_SRC="CLKOUT",
            i_CLKIN=pin.i,
            i_CLKFB=Const(0),
            i_RESET=Const(0),
            i_RESET_P=Const(0),
            i_FBDSEL=Const(0, 6),
            i_IDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4),
            i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
            o_CLKOUT=clock,
            o_LOCK=locked,
        )
        return clock, locked

    def sdram(self, m: Module, port: Any, pins: Any, on: Value) -> None:
        """Connect a controller to the SDRAM in the package."""
        from .gowin_sdram import add_pads

        add_pads(m, port, pins, on)

    def flash_clock(self, m: Module, port: Any, pulse: Value) -> None:
        """Clock a serial flash out of the fabric, as all its pads are there."""
        from amaranth.lib import io

        from .flash_clock import pulsed

        m.submodules.clk = clock = io.Buffer("o", port.clk)
        m.d.comb += clock.o.eq(pulsed(m, pulse))

    def synthesis(self, part: Part, top: str, *, multiplies: bool = False) -> str:
        """Return ``synth_gowin``."""
        return " ".join(["synth_gowin", "-top", top, "-family", self.series, *_OPTIONS, *part.synth])

    def pack_arguments(self, part: Part, stem: str, output: str) -> list[str]:
        """Return the arguments of gowin_pack."""
        return [*part.pack, "-o", output, self.placed(part, stem)]

    def placed(self, part: Part, stem: str) -> str:
        """Return the name of nextpnr's result, its own netlist with places."""
        return self.netlist(stem)

    def logic_cells(self, used: Mapping[str, int]) -> int:
        """Count look-up tables, adders, and the four of a distributed memory."""
        return used.get("LUT4", 0) + used.get("ALU", 0) + 4 * used.get("RAM16SDP4", 0)

    def memory_blocks(self, used: Mapping[str, int], cells: Mapping[str, int]) -> int:
        """Count BSRAM."""
        return used.get("BSRAM", 0)

    def luts(self, cells: Mapping[str, int]) -> int:
        """Count look-up tables, adders, and the four of a distributed memory."""
        return total(cells, ["LUT", "ALU"]) + 4 * total(cells, ["RAM16SDP4"])

    def flip_flops(self, cells: Mapping[str, int]) -> int:
        """Count DFF and its relatives."""
        return total(cells, ["DFF"])


GW1NR_9C_QN88P = Part(
    "GW1NR-9C",
    Gowin("gw1n", "GW1NR-9C", (3, 400), (400, 1200)),
    8640,
    26,
    ("--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"),
    pack=("-d", "GW1N-9C"),
)
GW2AR_18C_QN88 = Part(
    "GW2AR-18C",
    Gowin("gw2a", "GW2AR-18C", (3, 500), (500, 1250)),
    20736,
    46,
    ("--device", "GW2AR-LV18QN88C8/I7", "--vopt", "family=GW2A-18C"),
    pack=("-d", "GW2A-18C"),
)
