"""C++ of a circuit, in the form that the simulator's harness drives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from xnorcore.errors import EngineError
from xnorcore_hw.sim import compiled

from .circuit import Circuit, Memory

__all__ = ["emit"]

STATEMENTS = 400
"""Of a function: compilers take more than linear time."""
INLINE = 12
"""Gates of an expression at most."""
_FORMS = {
    "$_BUF_": "{0}", "$_NOT_": "({0} ^ 1)", "$_AND_": "({0} & {1})", "$_NAND_": "(({0} & {1}) ^ 1)",
    "$_OR_": "({0} | {1})", "$_NOR_": "(({0} | {1}) ^ 1)", "$_XOR_": "({0} ^ {1})",
    "$_XNOR_": "({0} ^ {1} ^ 1)", "$_ANDNOT_": "({0} & ({1} ^ 1))", "$_ORNOT_": "({0} | ({1} ^ 1))",
    "$_MUX_": "mux({2}, {0}, {1})",
}  # fmt: skip
_MEMBERS = (
    "i_uart_rx", "i_direct", "i_divisor", "i_host_to_device__valid", "i_host_to_device__payload",
    "i_device_to_host__ready", "o_uart_tx", "o_host_to_device__ready", "o_device_to_host__valid",
    "o_device_to_host__payload",
)  # fmt: skip
"""Ports that the harness knows; a netlist has only the UART's."""


def emit(circuit: Circuit, files: int = 2) -> dict[str, str]:
    """Return the files of a simulator by name; its class is ``Design`` of ``design.h``.

    Parameters
    ----------
    circuit : Circuit
        With the input ``uart_rx`` and the output ``uart_tx``.
    files : int
        Among which the functions are distributed, for compilers that run at once.

    Raises
    ------
    EngineError
        If it has a combinational loop, or reads a net that nothing drives.
    """
    return _Emitter(circuit).files(files)


class _Emitter:
    def __init__(self, circuit: Circuit) -> None:
        self.c = circuit
        self.names: dict[int, str] = {0: "0", 1: "1"}
        self.names |= {net: f"(u8)i_{name}" for name, net in circuit.inputs.items()}
        self.init: list[int] = []
        for _, q, init in circuit.registers:
            self.names[q] = f"q[{len(self.init)}]"
            self.init.append(init)
        # Words that memories give without a clock, as gates of several outputs.
        self.words: list[tuple[Memory, int, tuple[int, ...]]] = []
        self.word_of: dict[int, int] = {}
        self.outputs: dict[tuple[str, int, int], int] = {}
        for index, memory in enumerate(circuit.memories):
            for number, port in enumerate(memory.reads):
                if port.enable is None:
                    self.word_of |= dict.fromkeys(port.data, len(self.words))
                    for bit, net in enumerate(port.data):
                        self.names[net] = f"(u8)(w[{len(self.words)}] >> {bit} & 1)"
                    self.words.append((memory, index, port.address))
                else:
                    self._state("m", index, number, port.data)
        for index, block in enumerate(circuit.blocks):
            for number, block_port in enumerate(block.ports):
                self._state("b", index, number, block_port.output)
        self.kept: set[int] = set()
        self.statements: list[tuple[str, int, str]] = []
        self.stored: dict[int, int] = {}

    def _state(self, kind: str, index: int, port: int, nets: tuple[int, ...]) -> None:
        self.outputs[kind, index, port] = len(self.init)
        for net in nets:
            self.names[net] = f"q[{len(self.init)}]"
            self.init.append(0)

    def _later(self) -> Iterator[int]:
        """Nets that are read when all gates have their values."""
        yield from self.c.outputs.values()
        for memory in self.c.memories:
            for read in memory.reads:
                if read.enable is not None:
                    yield from (*read.address, read.enable)
            for write in memory.writes:
                yield from (*write.address, *write.data, *write.enable)
        for block in self.c.blocks:
            for port in block.ports:
                yield from (*port.address, port.enable, port.write, *port.bytes, *port.data)

    def _order(self, sinks: Iterable[int]) -> list[tuple[bool, int]]:
        """Return gates (False) and words (True) such that each one follows what it reads."""
        gates, done, order = self.c.gates, set(), []
        for sink in sinks:
            stack = [(sink, False)]
            while stack:
                net, ready = stack.pop()
                word = self.word_of.get(net)
                key = net if word is None else -1 - word
                if ready:
                    done.add(key)
                    self.busy.discard(key)
                    order.append((word is not None, net if word is None else word))
                    continue
                if key in done or (word is None and net in self.names):
                    continue
                if key in self.busy:
                    raise EngineError("the netlist has a combinational loop, which cannot be simulated")
                if word is None and net not in gates:
                    raise EngineError("the netlist reads a net that nothing drives")
                self.busy.add(key)
                stack.append((net, True))
                inputs = gates[net][1] if word is None else self.words[word][2]
                stack += [(one, False) for one in inputs]
        return order

    def files(self, files: int) -> dict[str, str]:
        self.busy: set[int] = set()
        later = list(self._later())
        order = self._order([*(d for d, _, _ in self.c.registers), *later])
        uses = Counter(
            net for word, key in order for net in (self.words[key][2] if word else self.c.gates[key][1])
        )
        uses.update(d for d, _, _ in self.c.registers)
        always = set(later)
        sizes: dict[int, int] = {}
        self.texts: dict[int, str] = {}
        lines: list[tuple[int, str, str]] = []  # net, or -1; left side; expression with {net} for others
        for word, key in order:
            if word:
                memory, index, address = self.words[key]
                lines.append((-1, f"w[{key}]", f"at(m{index}, {memory.size}, {self._number(address)})"))
                continue
            kind, inputs = self.c.gates[key]
            size = 1 + sum(sizes.get(net, 0) for net in inputs)
            text = _FORMS[kind].format(*(self._text(net) for net in inputs))
            if uses[key] == 1 and key not in always and size < INLINE:
                self.texts[key], sizes[key] = text, size
            else:
                lines.append((key, "", text))
                self.texts[key] = f"<{key}>"
        lines += [(-1, f"d[{k}]", self._text(d)) for k, (d, _, _) in enumerate(self.c.registers)]
        chunks = [lines[i : i + STATEMENTS] for i in range(0, len(lines), STATEMENTS)]
        home = {net: n for n, chunk in enumerate(chunks) for net, _, _ in chunk if net >= 0}
        shared = {net for net in always if net in home}
        for n, chunk in enumerate(chunks):
            for _, _, text in chunk:
                shared |= {net for net in _mentioned(text) if home[net] != n}
        self.stored = {net: slot for slot, net in enumerate(sorted(shared))}
        functions = [self._function(n, chunk) for n, chunk in enumerate(chunks)]
        made = {"prelude.h": Path(compiled.__file__).with_name("prelude.h").read_text()}
        made["gates.h"] = Path(__file__).with_name("gates.h").read_text()
        made["design.h"] = self._header(len(chunks))
        made["design.cc"] = self._clock(len(chunks))
        for number in range(files):
            body = "\n".join(functions[number::files])
            made[f"gates{number}.cc"] = f'#include "design.h"\n{body}\n'
        return made

    def _text(self, net: int) -> str:
        return self.names[net] if net in self.names else self.texts[net]

    def _number(self, nets: Iterable[int]) -> str:
        parts = [
            f"(u64){self._text(net)}" + (f" << {bit}" if bit else "") for bit, net in enumerate(nets) if net
        ]
        return "(" + (" | ".join(parts) or "0") + ")"

    def _settle(self, text: str, local: bool) -> str:
        """Put names in place of ``<net>``."""
        for net in set(_mentioned(text)):
            slot = self.stored.get(net)
            text = text.replace(
                f"<{net}>", f"t{net}" if slot is None or (local and net in self.here) else f"n[{slot}]"
            )
        return text

    def _function(self, number: int, chunk: list[tuple[int, str, str]]) -> str:
        self.here = {net for net, _, _ in chunk if net >= 0}
        rows = [f"void Design::part{number}() {{"]
        for net, left, text in chunk:
            value = self._settle(text, True)
            if net < 0:
                rows.append(f"  {left} = {value};")
            else:
                rows.append(f"  const u8 t{net} = {value};")
                if net in self.stored:
                    rows.append(f"  n[{self.stored[net]}] = t{net};")
        return "\n".join([*rows, "}"])

    def _header(self, parts: int) -> str:
        c = self.c
        rows = ["#pragma once", '#include "gates.h"', "struct Design {"]
        rows += [f"  u64 {name};" for name in _MEMBERS]
        rows += [
            "  int failed;",
            f"  u8 q[{len(self.init) or 1}], d[{len(self.init) or 1}], n[{len(self.stored) or 1}];",
            f"  u64 w[{len(self.words) or 1}];",
            *(f"  u64 m{index}[{memory.size}];" for index, memory in enumerate(c.memories)),
            *(f"  u16 b{index}[2048];" for index in range(len(c.blocks))),
            "  const char *failure() const { return nullptr; }",
            "  void power_on();",
            "  void power_off() {}",
            "  void cycle();",
            *(f"  void part{number}();" for number in range(parts)),
            "};",
            "static inline u64 at(const u64 *m, u64 size, u64 a) { return a < size ? m[a] : 0; }",
        ]
        return "\n".join(rows) + "\n"

    def _clock(self, parts: int) -> str:
        c = self.c
        rows = ['#include "design.h"', f"static const u8 first[] = {{{_list(self.init or [0])}}};"]
        power = ["  failed = 0;", "  memset(n, 0, sizeof n);", "  memcpy(q, first, sizeof q);"]
        for name, memories, kind in (("m", c.memories, "u64"), ("b", c.blocks, "u16")):
            for index, memory in enumerate(memories):
                power.append(f"  memset({name}{index}, 0, sizeof {name}{index});")
                if any(memory.init):
                    rows.append(f"static const {kind} {name}{index}_first[] = {{{_list(memory.init)}}};")
                    power.append(f"  memcpy({name}{index}, {name}{index}_first, sizeof {name}{index}_first);")
        rows += ["void Design::power_on() {", *power, "}", "void Design::cycle() {"]
        rows += [f"  part{number}();" for number in range(parts)]
        rows += [self._settle(f"  o_{name} = {self._text(net)};", False) for name, net in c.outputs.items()]
        for index, memory in enumerate(c.memories):
            rows += [self._settle(row, False) for row in self._memory(index, memory)]
        for index in range(len(c.blocks)):
            rows += [self._settle(row, False) for row in self._block(index)]
        return "\n".join([*rows, "  memcpy(q, d, sizeof q);", "}", ""])

    def _keep(self, start: int, count: int, value: str, condition: str) -> Iterator[str]:
        new, old = f"{value} >> i & 1", f"q[{start} + i]"
        yield f"    for (int i = 0; i < {count}; ++i) d[{start} + i] = {condition} ? {new} : {old};"

    def _memory(self, index: int, memory: Memory) -> Iterator[str]:
        """Reads, then writes. A word that is read while it is written comes as its complement."""
        if all(port.enable is None for port in memory.reads) and not memory.writes:
            return
        yield "  {"
        for number, write in enumerate(memory.writes):
            yield f"    const u64 a{number} = {self._number(write.address)};"
            yield f"    const u64 e{number} = {self._number(write.enable)};"
        for number, read in enumerate(memory.reads):
            if read.enable is None:
                continue
            yield f"    const u64 r{number} = {self._number(read.address)};"
            hit = " || ".join(f"(e{k} && a{k} == r{number})" for k in range(len(memory.writes))) or "false"
            yield f"    u64 v{number} = at(m{index}, {memory.size}, r{number});"
            yield f"    if ({hit}) v{number} = ~v{number};"
            start = self.outputs["m", index, number]
            yield from self._keep(start, memory.width, f"v{number}", self._text(read.enable))
        for number, write in enumerate(memory.writes):
            place, mask = f"m{index}[a{number}]", f"e{number}"
            yield (
                f"    if ({mask} && a{number} < {memory.size}) "
                f"{place} = ({place} & ~{mask}) | ({self._number(write.data)} & {mask});"
            )
        yield "  }"

    def _block(self, index: int) -> Iterator[str]:
        ports = self.c.blocks[index].ports
        yield "  {"
        yield f"    u64 out[{len(ports)}]; bool changed[{len(ports)}];"
        yield f"    const Port p[{len(ports)}] = {{"
        for port in ports:
            yield (
                f"      {{{port.width}, {port.during_write.upper()}, (bool){self._text(port.enable)}, "
                f"(bool){self._text(port.write)}, (u32){self._number(port.bytes)}, "
                f"{self._number(port.address)}, {self._number(port.data)}}},"
            )
        yield "    };"
        yield f"    block_clock(b{index}, p, {len(ports)}, out, changed);"
        for number, port in enumerate(ports):
            if port.output:
                start = self.outputs["b", index, number]
                yield from self._keep(start, len(port.output), f"out[{number}]", f"changed[{number}]")
        yield "  }"


def _mentioned(text: str) -> Iterator[int]:
    for part in text.split("<")[1:]:
        number, closed, _ = part.partition(">")
        if closed and number.isdecimal():
            yield int(number)


def _list(values: Iterable[int]) -> str:
    return ",".join(f"{value}u" if value < 1 << 32 else f"{value}ull" for value in values)
