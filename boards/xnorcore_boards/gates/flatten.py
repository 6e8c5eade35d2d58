"""Makes a `Circuit` of a hierarchy of modules, as Yosys writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xnorcore.errors import EngineError

from .circuit import Bits, Block, BlockPort, Circuit, Memory, ReadPort, WritePort
from .models import BlockReader, number

__all__ = ["build_circuit"]

GATES = {
    "$_BUF_": "A", "$_NOT_": "A", "$_AND_": "AB", "$_NAND_": "AB", "$_OR_": "AB", "$_NOR_": "AB",
    "$_XOR_": "AB", "$_XNOR_": "AB", "$_ANDNOT_": "AB", "$_ORNOT_": "AB", "$_MUX_": "ABS",
}  # fmt: skip
"""Gates of Yosys by the names of their inputs; all have the output Y."""


def build_circuit(
    modules: Mapping[str, Any], top: str, clock: str, blocks: Mapping[str, BlockReader]
) -> Circuit:
    """Return the circuit of a hierarchy of modules.

    Parameters
    ----------
    modules : mapping
        As Yosys writes them as JSON; their cells are gates, ``$_DFF_P_``, ``$mem_v2`` and modules.
    top, clock : str
        Top module, and its input that clocks everything.
    blocks : mapping
        Types of cells that are block RAMs, and what reads them.

    Raises
    ------
    EngineError
        If there is a cell of another type or clock.
    """
    builder = _Builder(modules, blocks)
    ports = modules[top]["ports"]
    nets: dict[Any, int] = {}
    for port in ports.values():
        for bit in port["bits"]:
            if isinstance(bit, int):
                nets.setdefault(bit, builder.new())
    for name, port in ports.items():
        found = [nets[bit] if isinstance(bit, int) else int(bit == "1") for bit in port["bits"]]
        if len(found) != 1:
            raise EngineError(f"port {name} of the netlist has {len(found)} bits, not 1")
        if name == clock:
            builder.clock = found[0]
        elif port["direction"] == "input":
            builder.circuit.inputs[name] = found[0]
        else:
            builder.circuit.outputs[name] = found[0]
    builder.instantiate(top, nets)
    return builder.finish()


class _Builder:
    def __init__(self, modules: Mapping[str, Any], blocks: Mapping[str, BlockReader]) -> None:
        self.modules, self.blocks = modules, blocks
        self.circuit = Circuit()
        self.clock = -1
        self.clocks: list[tuple[str, int]] = []
        self.same: dict[int, int] = {}
        self.count = 2
        self.defaults: dict[str, dict[int, int]] = {}

    def new(self) -> int:
        self.count += 1
        return self.count - 1

    def instantiate(self, name: str, nets: dict[Any, int]) -> None:
        """Add the cells of a module, whose ports have `nets`."""
        module = self.modules[name]
        init: dict[int, int] = {}
        for entry in module["netnames"].values():
            if "init" in entry["attributes"]:
                text = entry["attributes"]["init"]
                init |= {
                    bit: int(one == "1") for bit, one in zip(entry["bits"], reversed(text), strict=False)
                }

        def of(bits: Sequence[Any]) -> Bits:
            return tuple(
                (nets[bit] if bit in nets else nets.setdefault(bit, self.new()))
                if isinstance(bit, int)
                else int(bit == "1")
                for bit in bits
            )

        for cell in module["cells"].values():
            kind, pins = cell["type"], cell["connections"]
            if kind in GATES:
                inputs = tuple(of(pins[pin])[0] for pin in GATES[kind])
                self.circuit.gates[of(pins["Y"])[0]] = (kind, inputs)
            elif kind == "$_DFF_P_":
                q = pins["Q"][0]
                self.clocks.append((name, of(pins["C"])[0]))
                self.circuit.registers.append((of(pins["D"])[0], of([q])[0], init.get(q, 0)))
            elif kind == "$mem_v2":
                self._memory(name, cell["parameters"], lambda pin, pins=pins: of(pins[pin]))
            elif kind in self.blocks:
                read = self.blocks[kind]
                block = read(cell["parameters"], lambda pin, pins=pins: of(pins[pin]))
                self.circuit.blocks.append(block)
                self.clocks += [(kind, of(pins[pin])[0]) for pin in ("CLKA", "CLKB") if pin in pins]
            elif kind in self.modules:
                self._module(kind, {pin: of(bits) for pin, bits in pins.items()})
            elif kind != "$scopeinfo":
                raise EngineError(f"the netlist has a cell {kind}, for which there is no model")

    def _module(self, kind: str, pins: dict[str, Bits]) -> None:
        module = self.modules[kind]
        if kind not in self.defaults:
            given: dict[int, int] = {}
            for entry in module["netnames"].values():
                text = entry["attributes"].get("defaultvalue")
                if text is not None:
                    values = (int(one == "1") for one in reversed(text))
                    given |= dict(zip(entry["bits"], values, strict=False))
            self.defaults[kind] = given
        inner: dict[Any, int] = {}
        for name, port in module["ports"].items():
            if port["direction"] == "input":
                outer = pins.get(name) or tuple(self.defaults[kind].get(bit, 0) for bit in port["bits"])
                inner |= dict(zip(port["bits"], outer, strict=True))
        for name, port in module["ports"].items():
            if port["direction"] == "input" or name not in pins:
                continue
            for bit, outer in zip(port["bits"], pins[name], strict=True):
                if outer < 2:  # not connected
                    continue
                if isinstance(bit, str):
                    self.same[outer] = int(bit == "1")
                elif bit in inner:
                    self.same[outer] = inner[bit]
                else:
                    inner[bit] = outer
        self.instantiate(kind, inner)

    def _memory(self, place: str, parameters: Mapping[str, str], pin: Callable[[str], Bits]) -> None:
        value = {name: number(text) for name, text in parameters.items() if name != "MEMID"}
        width, size, bits = value["WIDTH"], value["SIZE"], value["ABITS"]
        if width > 64 or value["OFFSET"]:
            raise EngineError(f"{place} has a memory of {width} bits, which cannot be simulated")
        reads, writes = [], []
        for port in range(value["RD_PORTS"]):
            clocked = value["RD_CLK_ENABLE"] >> port & 1
            reset = pin("RD_SRST")[port] or pin("RD_ARST")[port]
            if clocked and (reset or not value["RD_CLK_POLARITY"] >> port & 1):
                raise EngineError(f"{place} has a memory port with a reset, which cannot be simulated")
            if clocked:
                self.clocks.append((place, pin("RD_CLK")[port]))
            address = pin("RD_ADDR")[port * bits : (port + 1) * bits]
            data = pin("RD_DATA")[port * width : (port + 1) * width]
            reads.append(ReadPort(address, data, pin("RD_EN")[port] if clocked else None))
        for port in range(value["WR_PORTS"]):
            self.clocks.append((place, pin("WR_CLK")[port]))
            address = pin("WR_ADDR")[port * bits : (port + 1) * bits]
            span = slice(port * width, (port + 1) * width)
            writes.append(WritePort(address, pin("WR_DATA")[span], pin("WR_EN")[span]))
        whole, mask = value["INIT"], (1 << width) - 1
        init = tuple(whole >> (width * index) & mask for index in range(size))
        self.circuit.memories.append(Memory(size, width, init, tuple(reads), tuple(writes)))

    def finish(self) -> Circuit:
        """Return the circuit, every net by one number."""

        def net(bit: int) -> int:
            while bit in self.same:
                bit = self.same[bit]
            return bit

        def nets(bits: Bits) -> Bits:
            return tuple(net(bit) for bit in bits)

        clock = net(self.clock)
        for place, found in self.clocks:
            if net(found) not in (clock, 0, 1):
                raise EngineError(f"{place} has a clock of its own; only one clock can be simulated")
        c = self.circuit
        if any(net(bit) for block in c.blocks for bit in block.idle):
            raise EngineError(
                "the netlist has a block RAM with a reset or a select, which cannot be simulated"
            )
        return Circuit(
            {name: net(bit) for name, bit in c.inputs.items()},
            {name: net(bit) for name, bit in c.outputs.items()},
            {out: (kind, nets(inputs)) for out, (kind, inputs) in c.gates.items()},
            [(net(d), net(q), init) for d, q, init in c.registers],
            [
                Memory(
                    m.size, m.width, m.init,
                    tuple(
                        ReadPort(nets(r.address), r.data, None if r.enable is None else net(r.enable))
                        for r in m.reads
                    ),
                    tuple(WritePort(nets(w.address), nets(w.data), nets(w.enable)) for w in m.writes),
                )
                for m in c.memories
            ],
            [
                Block(
                    b.init,
                    tuple(
                        BlockPort(
                            p.width, nets(p.address), net(p.enable), net(p.write), nets(p.bytes),
                            nets(p.data), p.output, p.during_write,
                        )
                        for p in b.ports
                    ),
                )
                for b in c.blocks
            ],
        )  # fmt: skip
