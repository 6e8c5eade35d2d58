"""What the build flow needs to know of an FPGA family: `ice40`, `ecp5`, `gowin` and `gatemate`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from .pll import PllPlan

if TYPE_CHECKING:
    from pathlib import Path

    from amaranth import Module, Signal, Value

    from xnorcore_hw.array.carry.generic import Carry
    from xnorcore_hw.memory.single.generic import SingleMemory

    from ..gates.models import CellModels

__all__ = ["BlockRam", "Family", "Part", "Usage"]


@dataclass(frozen=True)
class BlockRam:
    """One kind of memory block.

    Attributes
    ----------
    cells : tuple of str
        Names of its primitives after synthesis.
    shapes : tuple of (int, int, int)
        Depth, width, and bits per write enable of each way to use one block.
    cost : int
        What Yosys counts for a block where it compares it with registers, 1 for a bit.
    folded : (int, int) or None
        Depth and width of a shape of which Yosys lays the parts of a deeper memory side by side in all blocks
        together, its bits written one by one; None, if it rounds up for each part.
    """

    cells: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]
    cost: int
    folded: tuple[int, int] | None = None


@dataclass(frozen=True)
class Part:
    """One FPGA.

    Attributes
    ----------
    name : str
        As its maker writes it, without package and grade.
    family : Family
    lut4 : int
        4-input look-up tables.
    bram : int
        Memory blocks.
    place : tuple of str
        Arguments that name the part to nextpnr.
    synth : tuple of str
        Arguments that name the part to Yosys.
    pack : tuple of str
        Arguments that name the part to the bitstream packer.
    spram : int
        Blocks of its family's `single_ram`.
    """

    name: str
    family: Family
    lut4: int
    bram: int
    place: tuple[str, ...]
    synth: tuple[str, ...] = ()
    pack: tuple[str, ...] = ()
    spram: int = 0


@dataclass(frozen=True)
class Usage:
    """What a design takes of a part.

    Attributes
    ----------
    lut4, array_lut4 : int
        Look-up tables of all, and of the array: PEs, their registers, and thresholds.
    logic_cells, array_logic_cells : int
        What they take up; more than look-up tables where the family has `shared_cells`.
    bram : int
    ff : int
        Flip-flops.
    spram : int
    """

    lut4: int
    array_lut4: int
    logic_cells: int
    array_logic_cells: int
    bram: int
    ff: int
    spram: int = 0


class Family(ABC):
    """One FPGA family: its PLL, its memory blocks, its tools.

    Attributes
    ----------
    name : str
    constraints : str
        Suffix of the constraint file.
    bitstream : str
        Suffix of the bitstream.
    tools : tuple of str
        Yosys, nextpnr, packer, by the names of the native programs.
    constrain, tune : tuple of str
        nextpnr's options for the constraint file, and for what suits this gateware.
    block_ram : BlockRam
    single_ram : BlockRam or None
        Blocks of one port beside it, which `single` makes memories of.
    lut_memory : bool
        Whether look-up tables can be memory cells of 16 x 4 bits.
    margin : float
        The clock in the constraint file is higher by this factor.
    packed : float
        Logic cells in nextpnr's report of a placed design, as a share of those that it counts before.
    shared_cells : bool
        Whether a carry or a register may use up a logic cell whose look-up table then serves nothing.
    """

    name: ClassVar[str]
    constraints: ClassVar[str]
    bitstream: ClassVar[str]
    tools: ClassVar[tuple[str, str, str]]
    constrain: ClassVar[tuple[str, ...]]
    tune: ClassVar[tuple[str, ...]] = ()
    block_ram: ClassVar[BlockRam]
    single_ram: BlockRam | None = None
    lut_memory: ClassVar[bool] = False
    margin: ClassVar[float] = 1.0
    packed: ClassVar[float] = 1.0
    shared_cells: ClassVar[bool] = False

    @abstractmethod
    def cells(self) -> CellModels:
        """Return what simulates a netlist."""

    @abstractmethod
    def plan(self, input_hz: int, wanted_hz: int) -> PllPlan:
        """Choose the PLL's dividers.

        Raises
        ------
        BuildError
            If the frequency cannot be made.
        """

    @abstractmethod
    def pll(self, m: Module, plan: PllPlan, port: Any) -> tuple[Signal, Signal]:
        """Add a PLL on a clock pin to `m`; return its output and its lock signal, which is asynchronous.

        Parameters
        ----------
        m : Module
        plan : PllPlan
        port : amaranth.lib.io.SingleEndedPort
            The clock's pin, without a buffer.
        """

    def carry(self) -> Carry | None:
        """Return how the family adds; None, if synthesis makes the best of plain sums."""
        return None

    def sdram(self, m: Module, port: Any, pins: Any, on: Value) -> None:
        """Connect a controller to an SDRAM, with as many registers as its `PAD_STAGES` says.

        Parameters
        ----------
        m : Module
        port : amaranth.lib.io.PortLike
            Resource of the platform, without buffers.
        pins : xnorcore_hw.memory.stores.sdram_pins.SdramPins
        on : Value
            The clock is there.
        """
        raise NotImplementedError(f"no board of the family {self.name} has an SDRAM")

    def flash_clock(self, m: Module, port: Any, pulse: Value) -> None:
        """Clock a serial flash: low, but high in the second half of the cycle behind each one with a pulse.

        Parameters
        ----------
        m : Module
        port : amaranth.lib.io.PortLike
            Resource of the platform, without buffers.
        pulse : Value
            1 bit.
        """
        from amaranth.lib import io

        m.submodules.clk = clock = io.DDRBuffer("o", port.clk)
        m.d.comb += [clock.o[0].eq(0), clock.o[1].eq(pulse)]

    def single(self) -> SingleMemory | None:
        """Return what makes memories of one port; None, if they are block RAM like any other."""
        return None

    @abstractmethod
    def synthesis(self, part: Part, top: str, *, multiplies: bool = False) -> str:
        """Return the Yosys command that maps a design to the part.

        One that `multiplies` may take multipliers, on families whose flow here knows them.
        """

    def prepare(self, netlist: Path) -> bool:
        """Change Yosys' netlist, a JSON file, where nextpnr would not take it well; return whether it was."""
        return False

    def netlist(self, stem: str) -> str:
        """Return the name of nextpnr's own netlist, with the place of every cell."""
        return f"{stem}.json"

    def results(self, part: Part, stem: str) -> list[str]:
        """Return nextpnr's options for what the packer reads, if that is not nextpnr's netlist."""
        return []

    def inputs(self, part: Part) -> list[str]:
        """Return nextpnr's options for the part, the netlist and the constraints."""
        return [*part.place, "--json", "top.json", *self.constrain]

    def place_arguments(self, part: Part, stem: str, seed: int, mhz: float) -> list[str]:
        """Return nextpnr's arguments: ``top.json`` and constraints in, files named `stem` out."""
        return [
            *self.inputs(part), *self.results(part, stem), "--write", self.netlist(stem),
            "--report", f"{stem}.report.json",
            "--freq", f"{mhz:g}", "--seed", str(seed), *self.tune, "--timing-allow-fail",
        ]  # fmt: skip

    def hopeless(self, end: str) -> bool:
        """Tell from the end of nextpnr's log whether it will come to no end."""
        return False

    @abstractmethod
    def pack_arguments(self, part: Part, stem: str, output: str) -> list[str]:
        """Return the packer's arguments."""

    @abstractmethod
    def placed(self, part: Part, stem: str) -> str:
        """Return the name of the file that the packer reads."""

    @abstractmethod
    def logic_cells(self, used: Mapping[str, int]) -> int:
        """Return logic cells from nextpnr's numbers of cells."""

    @abstractmethod
    def memory_blocks(self, used: Mapping[str, int], cells: Mapping[str, int]) -> int:
        """Return memory blocks from nextpnr's numbers of cells, or from those of synthesis."""

    def single_blocks(self, used: Mapping[str, int]) -> int:
        """Return blocks of `single_ram` from nextpnr's numbers of cells."""
        return 0

    @abstractmethod
    def luts(self, cells: Mapping[str, int]) -> int:
        """Return the look-up tables that synthesized cells take, by type and number."""

    @abstractmethod
    def flip_flops(self, cells: Mapping[str, int]) -> int:
        """Return the flip-flops among synthesized cells."""


def total(cells: Mapping[str, int], prefixes: Sequence[str]) -> int:
    """Return the number of cells whose type starts with one of `prefixes`."""
    return sum(count for kind, count in cells.items() if kind.startswith(tuple(prefixes)))


def map_with_abc(synth: str, top: str, mapping: Sequence[str]) -> str:
    """Return a script that runs `synth` with `mapping` in place of its look-up tables' mapping by ABC9.

    ABC makes smaller and shallower logic of this design than ABC9. State machines become one-hot: Yosys
    leaves those with initial values as they are, but these are not needed, since boards reset them.
    """
    begin = [f"hierarchy -top {top}", "proc", "setattr -unset init w:*fsm_state"]
    return "\n".join([*begin, f"{synth} -run begin:map_luts", *mapping, f"{synth} -run map_cells:"])
