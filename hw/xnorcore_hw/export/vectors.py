"""What a testbench plays, and what must come back: computed without any gateware."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xnorcore import zoo
from xnorcore.errors import EngineError, UsageError
from xnorcore.isa.machine import Machine
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import RESPONSE, Command, Status
from xnorcore.link.frames import encode_request, encode_response
from xnorcore.model.bits import pack_images
from xnorcore.model.layers import Dense, InputSpec
from xnorcore.model.network import Network, prepare
from xnorcore.reference import golden
from xnorcore.runtime.requests import image_requests, write_requests

__all__ = ["Vectors", "sample_images", "sample_network"]

_ROOM = 240
"""Bytes of a request's payload: every device takes that."""


def sample_network() -> Network:
    """Return a small network that the testbench loads where none is baked."""
    rng = np.random.default_rng(0)
    first, second = (rng.choice([-1, 1], size).astype(np.int8) for size in ((16, 24), (10, 16)))
    return Network("sample", InputSpec((24,)), [Dense(first, rng.integers(-3, 4, 16)), Dense(second)])


def sample_images(network: Network, name: str | None, count: int) -> NDArray[np.uint8]:
    """Return images: packaged ones of the network with that name, if there are, else random ones."""
    if name in zoo.names():
        return prepare(network, zoo.test_images(name)[0][:count])
    rng = np.random.default_rng(1)
    return rng.integers(0, 1 << network.input.bits, (count, *network.input.shape), dtype=np.uint8)


@dataclass(frozen=True)
class Vectors:
    """Requests that load a network, its images, and what the core answers.

    Attributes
    ----------
    requests : tuple of (int, bytes)
        Command and payload; none, if the network is baked.
    groups : tuple of (int, bytes)
        The images as requests.
    expected : tuple of int
        Images that each of these answers.
    images, scores : tuple of bytes
        For each image, what goes in and what comes out.
    early : bool
        No kernel reads the last rows of an image, so that it may be answered before it has ended.
    cycles : int
        A generous bound of the array's work on all images.
    """

    requests: tuple[tuple[int, bytes], ...]
    groups: tuple[tuple[int, bytes], ...]
    expected: tuple[int, ...]
    images: tuple[bytes, ...]
    scores: tuple[bytes, ...]
    early: bool
    cycles: int

    @classmethod
    def of(cls, network: Network, program: Program, images: NDArray[np.uint8], *, baked: bool) -> Vectors:
        """Compute them.

        Raises
        ------
        EngineError
            If the interpreter of programs and the reference model differ: a fault of xnorcore.
        """
        wire = pack_images(network, images)
        raw = _raw(program, wire)
        if not np.array_equal(program.decode(raw, len(images)), golden.run(network, images)):
            raise EngineError(f"the program of network {network.name!r} does not compute what it should")
        size = program.result_bytes
        load = [] if baked else _load(program)
        expected: list[int] = []
        groups = tuple(image_requests(program, wire, _ROOM, expected))
        return cls(
            tuple(load),
            groups,
            tuple(expected),
            tuple(bytes(row) for row in wire),
            tuple(raw[at : at + size] for at in range(0, len(raw), size)),
            _early(program.header),
            len(images) * (2 * program.cycles + 1000),
        )

    def stream_files(self) -> dict[str, Sequence[int]]:
        """Return the packets of the stream shell: words of a byte and the bit that it is the last one."""
        bodies = [
            bytes([command]) + tag.to_bytes(2, "little") + payload
            for tag, (command, payload) in enumerate(self.requests)
        ]
        answers = [bytes([body[0] | RESPONSE]) + body[1:3] + bytes([Status.OK]) for body in bodies]
        packets = {"requests": bodies, "responses": answers, "images": self.images, "scores": self.scores}
        return {name: _words(several) for name, several in packets.items()}

    def uart_files(self) -> dict[str, Sequence[int]]:
        """Return the frames of the UART shell: words of a byte and the bit that it ends a frame.

        Raises
        ------
        UsageError
            If nobody can say which answers hold results.
        """
        if self.early and 0 in self.expected:
            raise UsageError(
                "no kernel reads the last rows of these images, and an image takes several frames: which "
                "answer has its scores depends on time, and a testbench cannot tell; take --shell stream"
            )
        host, device, done = [], [], 0
        for tag, (command, payload) in enumerate(self.requests):
            host.append(encode_request(command, tag, payload))
            device.append(encode_response(command, tag))
        for number, ((command, payload), count) in enumerate(zip(self.groups, self.expected, strict=True)):
            tag = len(self.requests) + number
            host.append(encode_request(command, tag, payload))
            result = b"".join(self.scores[done : done + count])
            device.append(encode_response(command, tag, result))
            done += count
        return {"host": _words(host), "device": _words(device)}


def _load(program: Program) -> list[tuple[int, bytes]]:
    config = program.config
    blocks = [request for block in program.blocks for request in write_requests(config, block, _ROOM)]
    return [*blocks, (Command.ARM, b"")]


def _raw(program: Program, wire: NDArray[np.uint8]) -> bytes:
    machine = Machine(program.config)
    for block in program.blocks:
        machine.memories.write(block)
    step = program.batch
    batches = [wire[at : at + step] for at in range(0, len(wire), step)]
    return b"".join(machine.infer(batch, number % 2)[0] for number, batch in enumerate(batches))


def _early(header: Mapping[str, int]) -> bool:
    if not header.get("interleaved"):
        return False
    read = header["rows_last"] * header["stride"] + header["kernel_last"] + 1 - header["pad_top"]
    return read < header["map_height"]


def _words(packets: Iterable[bytes]) -> list[int]:
    words = []
    for packet in packets:
        words += [*packet[:-1], packet[-1] | 0x100]
    return words
