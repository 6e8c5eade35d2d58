"""Lattice iCE40: parts, PLL, block RAM shapes, tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .family import BlockRam, Family, Part, map_with_abc, total
from .pll import PllPlan, choose

if TYPE_CHECKING:
    from amaranth import Module, Signal

    from xnorcore_hw.array.carry.generic import Carry
    from xnorcore_hw.memory.single.generic import SingleMemory

    from ..gates.models import CellModels

__all__ = ["HX1K_TQ144", "HX8K_CT256", "UP5K_SG48", "UP5K_SG48_CORE", "Ice40"]

_MHZ = 1_000_000
_PFD = (10 * _MHZ, 133 * _MHZ)
_VCO = (533 * _MHZ, 1066 * _MHZ)
_OUT = (16 * _MHZ, 275 * _MHZ)
# With simple feedback all 7 bits count; the maker's guide says 63, which holds for the other modes.
_DIVF = 127
# Loop filter by the frequency at the phase detector (iCE40 sysCLOCK PLL design guide, FILTER_RANGE).
_FILTER = ((17, 1), (26, 2), (44, 3), (66, 4), (101, 5), (134, 6))


class Ice40(Family):
    """iCE40 with IceStorm's tools.

    Parameters
    ----------
    pad : bool
        The clock comes in at the PLL's own pad; else at any pin.
    spram : bool
        It is an UltraPlus, which has SPRAM.
    """

    name = "ice40"
    constraints = "pcf"
    bitstream = "bin"
    tools = ("yosys", "nextpnr-ice40", "icepack")
    shared_cells = True
    constrain = ("--pcf", "top.pcf")
    tune = ("--placer-heap-timingweight", "30")
    # Words are written through a 16-bit port with a mask for each bit, whatever the width that is read.
    block_ram = BlockRam(("SB_RAM40_4K",), ((256, 16, 1), (512, 8, 1), (1024, 4, 1), (2048, 2, 1)), 64)

    def __init__(self, *, pad: bool = False, spram: bool = False) -> None:
        self.pad = pad
        if spram:
            self.single_ram = BlockRam(("SB_SPRAM256KA",), ((16384, 16, 4),), 0)

    def cells(self) -> CellModels:
        """Return the models of the cells that Yosys has none for."""
        from .ice40_cells import CELLS

        return CELLS

    def plan(self, input_hz: int, wanted_hz: int) -> PllPlan:
        """Choose the dividers of SB_PLL40: out = in * (DIVF + 1) / (DIVR + 1) / 2^DIVQ."""
        return choose("SB_PLL40", input_hz, wanted_hz, _plans(input_hz, wanted_hz))

    def pll(self, m: Module, plan: PllPlan, port: Any) -> tuple[Signal, Signal]:
        """Add SB_PLL40_PAD or SB_PLL40_CORE, simple feedback."""
        from amaranth import Const, Instance, Signal

        clock, locked = Signal(), Signal()
        widths = {"DIVR": 4, "DIVF": 7, "DIVQ": 3, "FILTER_RANGE": 3}
        parameters = {f"p_{name}": Const(plan.settings[name], bits) for name, bits in widths.items()}
        common = {
            **parameters,
            "p_FEEDBACK_PATH": "SIMPLE",
            "i_RESETB": Const(1),
            "i_BYPASS": Const(0),
            "o_PLLOUTGLOBAL": clock,
            "o_LOCK": locked,
        }
        if self.pad:
            m.submodules.pll = Instance("SB_PLL40_PAD", io_PACKAGEPIN=port.io, **common)
            return clock, locked
        pin = Signal()
        m.submodules.clock_pin = Instance(
            "SB_IO", p_PIN_TYPE=Const(0b000001, 6), io_PACKAGE_PIN=port.io, o_D_IN_0=pin
        )
        m.submodules.pll = Instance("SB_PLL40_CORE", i_REFERENCECLK=pin, **common)
        return clock, locked

    def carry(self) -> Carry:
        """Add with the family's carry cells."""
        from xnorcore_hw.array.carry.ice40 import Ice40Carry

        return Ice40Carry()

    def single(self) -> SingleMemory | None:
        """Make memories of one port of SPRAM, where there is some."""
        from xnorcore_hw.memory.single.ice40 import Ice40Spram

        return Ice40Spram() if self.single_ram else None

    def synthesis(self, part: Part, top: str, *, multiplies: bool = False) -> str:
        """Return ``synth_ice40``, mapped by ABC."""
        mapping = (
            "techmap -map +/ice40/latches_map.v", "abc -dress -lut 4", "ice40_wrapcarry -unwrap",
            "techmap -map +/ice40/ff_map.v", "clean", "opt_lut -tech ice40",
        )  # fmt: skip
        return map_with_abc(" ".join(["synth_ice40", "-top", top, *part.synth]), top, mapping)

    def results(self, part: Part, stem: str) -> list[str]:
        """Return nextpnr's option for a bitstream as text."""
        return ["--asc", self.placed(part, stem)]

    def pack_arguments(self, part: Part, stem: str, output: str) -> list[str]:
        """Return the arguments of icepack."""
        return [*part.pack, self.placed(part, stem), output]

    def placed(self, part: Part, stem: str) -> str:
        """Return the name of nextpnr's result, IceStorm's text form of a bitstream."""
        return f"{stem}.asc"

    def logic_cells(self, used: Mapping[str, int]) -> int:
        """Count logic cells: one is a LUT4, a carry and a flip-flop, and used up by any of them."""
        return used["ICESTORM_LC"]

    def memory_blocks(self, used: Mapping[str, int], cells: Mapping[str, int]) -> int:
        """Count ICESTORM_RAM."""
        return used.get("ICESTORM_RAM", 0)

    def single_blocks(self, used: Mapping[str, int]) -> int:
        """Count SPRAM."""
        return used.get("ICESTORM_SPRAM", 0)

    def luts(self, cells: Mapping[str, int]) -> int:
        """Count look-up tables; carries and registers that need a cell of their own are nextpnr's to say."""
        return total(cells, ["SB_LUT4"])

    def flip_flops(self, cells: Mapping[str, int]) -> int:
        """Count SB_DFF and its relatives."""
        return total(cells, ["SB_DFF"])


def _plans(input_hz: int, wanted_hz: int) -> Iterator[PllPlan]:
    if not _OUT[0] <= wanted_hz <= _OUT[1]:
        return
    for divr in range(16):
        pfd = Fraction(input_hz, divr + 1)
        if not _PFD[0] <= pfd <= _PFD[1]:
            continue
        for divq in range(1, 7):
            divf = round(wanted_hz * 2**divq / pfd) - 1
            vco = pfd * (divf + 1)
            if 0 <= divf <= _DIVF and _VCO[0] <= vco <= _VCO[1]:
                range_ = next(code for limit, code in _FILTER if pfd < limit * _MHZ)
                settings = {"DIVR": divr, "DIVF": divf, "DIVQ": divq, "FILTER_RANGE": range_}
                yield PllPlan(input_hz, vco / 2**divq, vco, settings)


_SYNTH = ("-dffe_min_ce_use", "3")
_UP5K = ("--up5k", "--package", "sg48")
UP5K_SG48 = Part("iCE40UP5K", Ice40(pad=True, spram=True), 5280, 30, _UP5K, _SYNTH, spram=4)
UP5K_SG48_CORE = replace(UP5K_SG48, family=Ice40(spram=True))
"""With a clock at another pin than the PLL's own."""
HX8K_CT256 = Part("iCE40HX8K", Ice40(), 7680, 32, ("--hx8k", "--package", "ct256"), _SYNTH)
HX1K_TQ144 = Part("iCE40HX1K", Ice40(), 1280, 16, ("--hx1k", "--package", "tq144"), _SYNTH)
