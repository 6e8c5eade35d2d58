"""Cologne Chip GateMate: part, PLL, block RAM shapes, tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .family import BlockRam, Family, Part, total
from .pll import PllPlan, choose

if TYPE_CHECKING:
    from amaranth import Module, Signal

    from ..gates.models import CellModels

__all__ = ["CCGM1A1", "GateMate"]

_MHZ = 1_000_000
_MOST_IN, _MOST_OUT = 50 * _MHZ, 250 * _MHZ
"""Of the PLL, at the lowest core voltage."""
# Look-up tables as trees of small ones, which is what nextpnr places. Amaranth has placed the buffers of the
# pins; Yosys would add others to every module that it keeps.
_OPTIONS = ("-luttree", "-nomult", "-noiopad")


class GateMate(Family):
    """GateMate with Project Peppercorn's tools."""

    name = "gatemate"
    constraints = "ccf"
    bitstream = "bit"
    tools = ("yosys", "nextpnr-himbaechel-gatemate", "gmpack")
    # No routes on the lines between neighbouring CPEs: nextpnr follows those by recursion, and YoWASP's has a
    # stack of 64 kB.
    constrain = ("--vopt", "ccf=top.ccf", "--vopt", "no-cpe-cp")
    # A block of 40 kbit is two of these, and counts as two.
    block_ram = BlockRam(
        ("CC_BRAM_20K", "CC_BRAM_40K"),
        ((512, 40, 1), (1024, 20, 1), (2048, 10, 1), (4096, 5, 1), (8192, 2, 1), (16384, 1, 1)),
        129,
        folded=(512, 40),
    )

    def cells(self) -> CellModels:
        """Return the models of the cells that Yosys has none for."""
        from .gatemate_cells import CELLS

        return CELLS

    def plan(self, input_hz: int, wanted_hz: int) -> PllPlan:
        """Choose a multiple of the input: nextpnr finds the dividers."""
        return choose("CC_PLL", input_hz, wanted_hz, _plans(input_hz, wanted_hz))

    def pll(self, m: Module, plan: PllPlan, port: Any) -> tuple[Signal, Signal]:
        """Add CC_PLL for the lowest core voltage, which suits the others as well."""
        from amaranth import Const, Instance, Signal
        from amaranth.lib import io

        clock, locked = Signal(), Signal()
        m.submodules.clock_pin = pin = io.Buffer("i", port)
        m.submodules.pll = Instance(
            "CC_PLL",
            p_REF_CLK=f"{plan.input_hz / 1e6:.1f}",
            p_OUT_CLK=f"{float(plan.output_hz) / 1e6:.1f}",
            p_PERF_MD="LOWPOWER",
            p_LOCK_REQ=Const(1, 1),
            p_LOW_JITTER=Const(1, 1),
            p_CI_FILTER_CONST=2,
            p_CP_FILTER_CONST=4,
            i_CLK_REF=pin.i,
            i_CLK_FEEDBACK=Const(0),
            i_USR_CLK_REF=Const(0),
            i_USR_LOCKED_STDY_RST=Const(0),
            o_CLK0=clock,
            o_USR_PLL_LOCKED=locked,
        )
        return clock, locked

    def synthesis(self, part: Part, top: str, *, multiplies: bool = False) -> str:
        """Return ``synth_gatemate`` without multiplexers of more than two inputs, which its tables do better.

        State machines become one-hot, as in `map_with_abc`.
        """
        synth = " ".join(["synth_gatemate", "-top", top, *_OPTIONS, *part.synth])
        begin = [f"hierarchy -top {top}", "proc", "setattr -unset init w:*fsm_state"]
        steps = [
            f"{synth} -run begin:map_muxs",
            "opt -full",
            "simplemap",
            f"{synth} -run map_luts:",
            "autoname",
        ]
        return "\n".join([*begin, *steps])

    def results(self, part: Part, stem: str) -> list[str]:
        """Return nextpnr's option for a bitstream as text."""
        return ["--vopt", f"out={self.placed(part, stem)}"]

    def pack_arguments(self, part: Part, stem: str, output: str) -> list[str]:
        """Return the arguments of gmpack."""
        return [*part.pack, self.placed(part, stem), output]

    def placed(self, part: Part, stem: str) -> str:
        """Return the name of nextpnr's result, Peppercorn's text form of a bitstream."""
        return f"{stem}.txt"

    def logic_cells(self, used: Mapping[str, int]) -> int:
        """Count halves of CPEs; before it places, nextpnr has both of an adder's two bits among them."""
        adders = used.get("CPE_ADDF", 0) + used.get("CPE_ADDF2", 0)
        return used["CPE_LT"] + 2 * adders

    def memory_blocks(self, used: Mapping[str, int], cells: Mapping[str, int]) -> int:
        """Count blocks of 20 kbit, which nextpnr's report has no more: it makes pairs of them."""
        return cells.get("CC_BRAM_20K", 0) + 2 * cells.get("CC_BRAM_40K", 0)

    def luts(self, cells: Mapping[str, int]) -> int:
        """Count trees of tables, of which one with five inputs takes two places, multiplexers and adders."""
        return total(cells, ["CC_L2T", "CC_LUT", "CC_ADDF", "CC_MX"]) + total(cells, ["CC_L2T5"])

    def flip_flops(self, cells: Mapping[str, int]) -> int:
        """Count CC_DFF."""
        return total(cells, ["CC_DFF"])


def _plans(input_hz: int, wanted_hz: int) -> Iterator[PllPlan]:
    factor = round(wanted_hz / input_hz * 2) / 2
    output = Fraction(input_hz) * Fraction(factor)
    if input_hz <= _MOST_IN and input_hz < output <= _MOST_OUT:
        yield PllPlan(input_hz, output, output, {})


CCGM1A1 = Part(
    "CCGM1A1",
    GateMate(),
    40_960,
    64,
    ("--device", "CCGM1A1", "--vopt", "fpga_mode=1"),
)
