"""Block RAMs for which Yosys has no model: those of ECP5 and Gowin, as its mapping uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xnorcore.errors import EngineError

from .circuit import Block, BlockPort
from .flatten import BlockReader, number

__all__ = ["BLOCKS"]

BYTES = 2048
Nets = Callable[[str], tuple[int, ...]]
Parameters = Mapping[str, str]

_ECP5_MODES = {"NORMAL": "keep", "WRITETHROUGH": "new", "READBEFOREWRITE": "old"}
_GOWIN_MODES = {0: "keep", 1: "new", 2: "old"}


def _zero(nets: Nets, names: str) -> tuple[int, ...]:
    return tuple(net for name in names.split() for net in nets(name))


def _bytes(width: int, address: tuple[int, ...]) -> tuple[int, ...]:
    """Return the enables of the bytes, which take the place of the lowest bits of an address."""
    return address[: width // 8 if width > 9 else 0] or (1,)


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
                _bytes(width, address),
                pins("DIA", 18) + pins("DIB", 18) if both else pins(f"DI{side}", 18),
                pins("DOA", 18) + pins("DOB", 18) if both else pins(f"DO{side}", 18),
                _ECP5_MODES[parameters.get(f"WRITEMODE_{side}", "NORMAL")],
            )
        )
    if ports[0].width == 36:
        # As a pair of a writing and a reading port, of which the latter has the outputs.
        ports[0] = _write_only(ports[0])
    idle = _zero(nets, "RSTA RSTB CSA0 CSA1 CSA2 CSB0 CSB1 CSB2")
    return Block(_ecp5_init(parameters), tuple(ports), idle)


def _write_only(port: BlockPort) -> BlockPort:
    return BlockPort(port.width, port.address, port.enable, port.write, port.bytes, port.data, ())


def _ecp5_init(parameters: Parameters) -> tuple[int, ...]:
    """Each INITVAL has 16 words of 18 bits, 20 bits apart."""
    init: list[int] = []
    for index in range(64):
        value = number(parameters.get(f"INITVAL_{index:02X}", "0"))
        for word in range(16):
            bits = value >> (20 * word)
            init += [bits & 511, bits >> 9 & 511]
    return tuple(init)


def _gowin_init(parameters: Parameters, nine: bool) -> tuple[int, ...]:
    """Each INIT_RAM has 32 bytes, of 8 bits or of 9."""
    size = 9 if nine else 8
    return tuple(
        number(parameters.get(f"INIT_RAM_{index:02X}", "0")) >> (size * byte) & ((1 << size) - 1)
        for index in range(64)
        for byte in range(32)
    )


def _gowin_dual(nine: bool) -> BlockReader:
    def read(parameters: Parameters, nets: Nets) -> Block:
        ports = []
        for index, side in enumerate("AB"):
            width, address = number(parameters[f"BIT_WIDTH_{index}"]), nets(f"AD{side}")
            ports.append(
                BlockPort(
                    width, address, nets(f"CE{side}")[0], nets(f"WRE{side}")[0], _bytes(width, address),
                    nets(f"DI{side}"), nets(f"DO{side}"),
                    _GOWIN_MODES[number(parameters.get(f"WRITE_MODE{index}", "0"))],
                )
            )  # fmt: skip
        return Block(
            _gowin_init(parameters, nine), tuple(ports), _zero(nets, "RESETA RESETB BLKSELA BLKSELB")
        )

    return read


def _gowin_simple(nine: bool) -> BlockReader:
    def read(parameters: Parameters, nets: Nets) -> Block:
        width, address = number(parameters["BIT_WIDTH_0"]), nets("ADA")
        writes = BlockPort(width, address, nets("CEA")[0], 1, _bytes(width, address), nets("DI"), ())
        reads = BlockPort(
            number(parameters["BIT_WIDTH_1"]), nets("ADB"), nets("CEB")[0], 0, (), (), nets("DO")
        )
        return Block(
            _gowin_init(parameters, nine), (writes, reads), _zero(nets, "RESETA RESETB BLKSELA BLKSELB")
        )

    return read


def _gowin_single(nine: bool) -> BlockReader:
    def read(parameters: Parameters, nets: Nets) -> Block:
        width, address = number(parameters["BIT_WIDTH"]), nets("AD")
        port = BlockPort(
            width, address, nets("CE")[0], nets("WRE")[0], _bytes(width, address), nets("DI"), nets("DO"),
            _GOWIN_MODES[number(parameters.get("WRITE_MODE", "0"))],
        )  # fmt: skip
        return Block(_gowin_init(parameters, nine), (port,), _zero(nets, "RESET BLKSEL"))

    return read


BLOCKS: dict[str, BlockReader] = {
    "DP16KD": _dp16kd,
    "DPB": _gowin_dual(False),
    "DPX9B": _gowin_dual(True),
    "SDPB": _gowin_simple(False),
    "SDPX9B": _gowin_simple(True),
    "SP": _gowin_single(False),
    "SPX9": _gowin_single(True),
}
"""What reads each type of cell."""
