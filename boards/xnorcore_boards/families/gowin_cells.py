"""Gowin: pads, PLL, and models of its block RAMs as Yosys' mapping uses them; Yosys has none."""

from __future__ import annotations

from ..gates.circuit import Block, BlockPort
from ..gates.models import BlockReader, CellModels, Nets, Pad, Parameters, Pll, byte_enables, joined, number

__all__ = ["CELLS"]

_MODES = {0: "keep", 1: "new", 2: "old"}


def _init(parameters: Parameters, nine: bool) -> tuple[int, ...]:
    """Each INIT_RAM has 32 bytes, of 8 bits or of 9."""
    size = 9 if nine else 8
    return tuple(
        number(parameters.get(f"INIT_RAM_{index:02X}", "0")) >> (size * byte) & ((1 << size) - 1)
        for index in range(64)
        for byte in range(32)
    )


def _dual(nine: bool) -> BlockReader:
    def read(parameters: Parameters, nets: Nets) -> Block:
        ports = []
        for index, side in enumerate("AB"):
            width, address = number(parameters[f"BIT_WIDTH_{index}"]), nets(f"AD{side}")
            ports.append(
                BlockPort(
                    width, address, nets(f"CE{side}")[0], nets(f"WRE{side}")[0], byte_enables(width, address),
                    nets(f"DI{side}"), nets(f"DO{side}"),
                    _MODES[number(parameters.get(f"WRITE_MODE{index}", "0"))],
                )
            )  # fmt: skip
        return Block(_init(parameters, nine), tuple(ports), joined(nets, "RESETA RESETB BLKSELA BLKSELB"))

    return read


def _simple(nine: bool) -> BlockReader:
    def read(parameters: Parameters, nets: Nets) -> Block:
        width, address = number(parameters["BIT_WIDTH_0"]), nets("ADA")
        writes = BlockPort(width, address, nets("CEA")[0], 1, byte_enables(width, address), nets("DI"), ())
        reads = BlockPort(
            number(parameters["BIT_WIDTH_1"]), nets("ADB"), nets("CEB")[0], 0, (), (), nets("DO")
        )
        return Block(_init(parameters, nine), (writes, reads), joined(nets, "RESETA RESETB BLKSELA BLKSELB"))

    return read


def _single(nine: bool) -> BlockReader:
    def read(parameters: Parameters, nets: Nets) -> Block:
        width, address = number(parameters["BIT_WIDTH"]), nets("AD")
        port = BlockPort(
            width, address, nets("CE")[0], nets("WRE")[0], byte_enables(width, address),
            nets("DI"), nets("DO"),
            _MODES[number(parameters.get("WRITE_MODE", "0"))],
        )  # fmt: skip
        return Block(_init(parameters, nine), (port,), joined(nets, "RESET BLKSEL"))

    return read


CELLS = CellModels(
    files=("gowin/cells_sim.v",),
    pads={"IBUF": Pad("I", "O"), "OBUF": Pad("O", out="I"), "TBUF": Pad("O", out="I")},
    plls={"rPLL": Pll("CLKOUT")},
    blocks={
        "DPB": _dual(False),
        "DPX9B": _dual(True),
        "SDPB": _simple(False),
        "SDPX9B": _simple(True),
        "SP": _single(False),
        "SPX9": _single(True),
    },
)
