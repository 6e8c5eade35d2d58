"""Lattice ECP5: parts, PLL, block RAM shapes, tools."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .family import BlockRam, Family, Part, map_with_abc, total
from .pll import PllPlan, choose

if TYPE_CHECKING:
    from pathlib import Path

    from amaranth import Module, Signal, Value

    from xnorcore_hw.array.carry.generic import Carry

    from ..gates.models import CellModels

__all__ = [
    "LFE5UM5G_45F_BG554",
    "LFE5UM5G_85F_BG554",
    "LFE5U_25F_BG381",
    "LFE5U_25F_MG285",
    "LFE5U_85F_BG381",
    "Ecp5",
    "with_flash",
]

_MHZ = 1_000_000
_MOST_ROUNDS = 250
"""Of the router."""
_MOST_OVERUSED, _MOST_GROWTH = 500, 1.5
"""Wires with more than one user, and how many times as many as rounds before."""
_MOST_IDLE = 20
"""Rounds without a change, in which nothing but paths that are too slow is left."""
_PFD = (Fraction(3_125_000), 400 * _MHZ)
_VCO = (400 * _MHZ, 800 * _MHZ)
_OUT = (3_125_000, 400 * _MHZ)


class Ecp5(Family):
    """ECP5 with Project Trellis' tools."""

    name = "ecp5"
    constraints = "lpf"
    bitstream = "bit"
    tools = ("yosys", "nextpnr-ecp5", "ecppack")
    constrain = ("--lpf", "top.lpf")
    # The default placer crowds the array's adders around the middle of the chip, and long detours follow; the
    # default router takes many times as long.
    tune = ("--placer", "static", "--router", "router2", "--router2-tmg-ripup")
    block_ram = BlockRam(
        ("DP16KD", "PDPW16KD"),
        ((512, 36, 9), (1024, 18, 9), (2048, 9, 9), (4096, 4, 4), (8192, 2, 2), (16384, 1, 1)),
        128,
    )
    lut_memory = True
    # The router stops by its own estimate of delays, of which some paths fall short by a percent in the end.
    margin = 1.03

    def cells(self) -> CellModels:
        """Return the models of the cells that Yosys has none for."""
        from .ecp5_cells import CELLS

        return CELLS

    def plan(self, input_hz: int, wanted_hz: int) -> PllPlan:
        """Choose the dividers of EHXPLLL: out = in * CLKFB_DIV / CLKI_DIV, oscillator = out * CLKOP_DIV."""
        return choose("EHXPLLL", input_hz, wanted_hz, _plans(input_hz, wanted_hz))

    def pll(self, m: Module, plan: PllPlan, port: Any) -> tuple[Signal, Signal]:
        """Add EHXPLLL with its feedback from CLKOP."""
        from amaranth import Const, Instance, Signal
        from amaranth.lib import io

        clock, locked = Signal(), Signal()
        m.submodules.clock_pin = pin = io.Buffer("i", port)
        divider = plan.settings["CLKOP_DIV"]
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED",
            p_INTFB_WAKE="DISABLED",
            p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=divider,
            p_CLKOP_CPHASE=divider // 2,
            p_CLKOP_FPHASE=0,
            p_CLKI_DIV=plan.settings["CLKI_DIV"],
            p_CLKFB_DIV=plan.settings["CLKFB_DIV"],
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=pin.i,
            i_CLKFB=clock,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clock,
            o_LOCK=locked,
        )
        return clock, locked

    def sdram(self, m: Module, port: Any, pins: Any, on: Value) -> None:
        """Connect a controller to an SDRAM."""
        from .ecp5_sdram import add_pads

        add_pads(m, port, pins, on)

    def flash_clock(self, m: Module, port: Any, pulse: Value) -> None:
        """Clock the flash of the bitstream, whose pin only USRMCLK reaches: the resource has no ``clk``."""
        from amaranth import Const, Instance

        from .flash_clock import pulsed

        m.submodules.clk = Instance("USRMCLK", i_USRMCLKI=pulsed(m, pulse), i_USRMCLKTS=Const(0))

    def carry(self) -> Carry:
        """Add with the family's carry cells."""
        from xnorcore_hw.array.carry.ecp5 import Ecp5Carry

        return Ecp5Carry()

    def synthesis(self, part: Part, top: str, *, multiplies: bool = False) -> str:
        """Return ``synth_ecp5``, mapped by ABC; multiplexers of tables would nearly double the popcounts."""
        blocks = [] if multiplies else ["-nodsp"]
        synth = " ".join(["synth_ecp5", "-top", top, "-nowidelut", *blocks, *part.synth])
        return map_with_abc(synth, top, ("abc -lut 4 -dress", "clean"))

    def prepare(self, netlist: Path) -> bool:
        """Leave carries open that nothing uses: nextpnr spends a CCU2C on each that there is a net for."""
        design = json.loads(netlist.read_text())
        for module in design["modules"].values():
            cells = module["cells"].values()
            used = {
                bit
                for cell in cells
                for pin, bits in cell["connections"].items()
                if cell["port_directions"][pin] == "input"
                for bit in bits
            }
            used.update(bit for port in module["ports"].values() for bit in port["bits"])
            for cell in cells:
                if cell["type"] != "CCU2C":
                    continue
                for pin, direction in (("CIN", "input"), ("COUT", "output")):
                    bits = cell["connections"].get(pin, ["x"])
                    cell["port_directions"][pin] = direction
                    cell["connections"][pin] = bits if direction == "input" or bits[0] in used else ["x"]
        netlist.write_text(json.dumps(design))
        return True

    def results(self, part: Part, stem: str) -> list[str]:
        """Return nextpnr's option for a bitstream as text."""
        return ["--textcfg", self.placed(part, stem)]

    def hopeless(self, end: str) -> bool:
        """Say whether the router gets no further, by its last rounds.

        What routes takes 25 to 110 rounds; what does not, it tries for ever. Or it takes wires from paths
        that are too slow, and there are more of both in each round; or it finds no better ones for them.
        """
        slow = re.findall(r"iter=\d+ wires=\d+ overused=(\d+) .*tmgfail=(\d+)", end)[-_MOST_IDLE:]
        if len(slow) == _MOST_IDLE and len(set(slow)) == 1 and slow[0][0] == "0":
            return True
        rounds = re.findall(r"iter=(\d+) wires=\d+(?: overused=(\d+))?", end)
        if any(int(number) >= _MOST_ROUNDS for number, _ in rounds):
            return True
        overused = [int(wires) for _, wires in rounds if wires]
        return bool(overused) and overused[-1] > max(_MOST_OVERUSED, _MOST_GROWTH * min(overused))

    def pack_arguments(self, part: Part, stem: str, output: str) -> list[str]:
        """Return the arguments of ecppack."""
        return ["--compress", *part.pack, "--input", self.placed(part, stem), "--bit", output]

    def placed(self, part: Part, stem: str) -> str:
        """Return the name of nextpnr's result, Trellis' text form of a bitstream."""
        return f"{stem}.config"

    def logic_cells(self, used: Mapping[str, int]) -> int:
        """Count TRELLIS_COMB: a carry cell takes two of them."""
        return used["TRELLIS_COMB"]

    def memory_blocks(self, used: Mapping[str, int], cells: Mapping[str, int]) -> int:
        """Count DP16KD."""
        return used.get("DP16KD", 0)

    def luts(self, cells: Mapping[str, int]) -> int:
        """Count look-up tables; a distributed memory takes four, and two more to write it."""
        return total(cells, ["LUT4"]) + 2 * total(cells, ["CCU2C"]) + 6 * total(cells, ["TRELLIS_DPR16X4"])

    def flip_flops(self, cells: Mapping[str, int]) -> int:
        """Count TRELLIS_FF."""
        return total(cells, ["TRELLIS_FF"])


def with_flash(platform: Any, select: str, data: str) -> Any:
    """Add the resource ``flash`` to a platform, without its clock, whose pin is none that a design can have.

    Parameters
    ----------
    platform : amaranth.vendor.LatticeECP5Platform
    select, data : str
        Pins; IO0 to IO3, of 3.3 V.

    Returns
    -------
    amaranth.vendor.LatticeECP5Platform
        The same.
    """
    from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal

    lines = Subsignal("cs", PinsN(select, dir="o")), Subsignal("dq", Pins(data, dir="io"))
    platform.add_resources([Resource("flash", 0, *lines, Attrs(IO_TYPE="LVCMOS33"))])
    return platform


def _plans(input_hz: int, wanted_hz: int) -> Iterator[PllPlan]:
    for clki in range(1, 129):
        pfd = Fraction(input_hz, clki)
        if not _PFD[0] <= pfd <= _PFD[1]:
            continue
        clkfb = round(wanted_hz / pfd)
        output = pfd * clkfb
        # The oscillator in the middle of its range is the farthest from both limits.
        clkop = round(600 * _MHZ / output) if output else 0
        if not (1 <= clkfb <= 128 and 1 <= clkop <= 128 and _OUT[0] <= output <= _OUT[1]):
            continue
        if _VCO[0] <= output * clkop <= _VCO[1]:
            settings = {"CLKI_DIV": clki, "CLKFB_DIV": clkfb, "CLKOP_DIV": clkop}
            yield PllPlan(input_hz, output, output * clkop, settings)


def _part(name: str, lut4: int, bram: int, option: str, package: str, speed: str) -> Part:
    return Part(name, Ecp5(), lut4, bram, (option, "--package", package, "--speed", speed))


LFE5U_25F_BG381 = _part("LFE5U-25F", 24_288, 56, "--25k", "CABGA381", "6")
LFE5U_25F_MG285 = _part("LFE5U-25F", 24_288, 56, "--25k", "CSFBGA285", "8")
LFE5U_85F_BG381 = _part("LFE5U-85F", 83_640, 208, "--85k", "CABGA381", "6")
LFE5UM5G_45F_BG554 = _part("LFE5UM5G-45F", 43_848, 108, "--um5g-45k", "CABGA554", "8")
LFE5UM5G_85F_BG554 = _part("LFE5UM5G-85F", 83_640, 208, "--um5g-85k", "CABGA554", "8")
