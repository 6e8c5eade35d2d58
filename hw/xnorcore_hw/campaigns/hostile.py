"""A host that sends anything at all to a device, and what the device must be like afterwards."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from zlib import crc32

import numpy as np

from xnorcore.errors import LinkError
from xnorcore.isa.protocol import CRC_BYTES, HEADER_BYTES, KEY_BYTES, Command, Space
from xnorcore.link.cobs import encode
from xnorcore.link.frames import decode_request, encode_request
from xnorcore.link.session import Session
from xnorcore.link.transport import BITS_PER_BYTE
from xnorcore.model.network import Network
from xnorcore.reference import fast
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.requests import read_requests

from ..sim.native import TO_DEVICE, NativeEngine
from ..sim.transport import SimTransport

__all__ = ["KINDS", "Attack", "Outcome", "Target"]

_MOST_CYCLES = 100
"""Cycles per byte time within which a device takes bytes, whatever they are."""
_TIMEOUT = 0.01


def noise(pick: random.Random, size: int, longest: int, key: bytes) -> bytes:
    """Return random bytes: any; with many delimiters; few different ones; runs of one."""
    flavour = pick.randrange(4)
    if flavour == 0:
        return pick.randbytes(size)
    if flavour == 1:
        return bytes(byte if pick.random() < 0.9 else 0 for byte in pick.randbytes(size))
    if flavour == 2:
        return bytes(pick.choices((0, 1, 2, 3, 8, 254, 255), k=size))
    out = bytearray()
    while len(out) < size:
        out += bytes([pick.choice((0, 1, 255, pick.randrange(256)))]) * pick.randrange(1, 2 * longest)
    return bytes(out[:size])


def mutated(pick: random.Random, size: int, longest: int, key: bytes) -> bytes:
    """Return requests that are nearly good: some bits, a byte, the length or the order of bytes are wrong."""
    out = bytearray()
    while len(out) < size:
        frame = bytearray(_request(pick, longest, key))
        for _ in range(pick.choice((1, 1, 1, 2, 4))):
            _mutate(pick, frame, longest)
        out += frame
    # What is good all the same, or became so, goes: a prefix without a delimiter joins the next frame.
    return b"".join(part + b"\0" for part in bytes(out).split(b"\0") if not _good(part, longest))


def requests(pick: random.Random, size: int, longest: int, key: bytes) -> bytes:
    """Return good frames with any content: programs of random words run, too."""
    out = bytearray()
    while len(out) < size:
        out += _request(pick, longest, key)
        if pick.random() < 0.1:
            out += pick.randbytes(pick.randrange(40))
    return bytes(out)


def _request(pick: random.Random, longest: int, key: bytes) -> bytes:
    most = longest - HEADER_BYTES - CRC_BYTES
    command = pick.choice((*Command, Command.WRITE, Command.WRITE, Command.RUN, pick.randrange(256)))
    tag, address = pick.randrange(1 << 16), pick.choice((0, pick.randrange(64), pick.randrange(1 << 16)))
    place = bytes([pick.choice((*Space, pick.randrange(256))), pick.choice((0, 0, pick.randrange(256)))])
    place += address.to_bytes(2, "little")
    count = pick.choice((0, 1, 4, pick.randrange(64), pick.randrange(most)))
    rest = pick.choice((bytes, pick.randbytes))(count)
    part = pick.choice((0, 0x80, 0x81, pick.randrange(256)))
    payload = {
        Command.WRITE: place + rest,
        Command.READ: place + pick.choice((0, 1, 40, pick.randrange(1 << 16))).to_bytes(2, "little"),
        Command.INFER: bytes([part]) + (pick.choice((key, key, b"")) if part in (0, 0x80) else b"") + rest,
        Command.RUN: address.to_bytes(2, "little"),
        Command.COUNTERS: bytes([pick.randrange(256)]),
    }.get(command, b"")  # type: ignore[call-overload]
    if pick.random() < 0.1:
        payload = pick.choice((payload[:-1], payload + b"\0", rest))
    return encode_request(command, tag, payload[:most])


def _mutate(pick: random.Random, frame: bytearray, longest: int) -> None:
    if not frame:
        return
    place, kind = pick.randrange(len(frame)), pick.randrange(9)
    if kind < 3:
        frame[place] ^= 1 << pick.randrange(8)
    elif kind == 3:
        del frame[place]
    elif kind == 4:
        frame.insert(place, pick.choice((0, 1, 255, pick.randrange(256))))
    elif kind == 5:
        frame[place:] = b"\0" if pick.random() < 0.7 else b""
    elif kind == 6:
        end = pick.randrange(len(frame) + 1)
        frame[place:end] = frame[place:end] * 2
    elif kind == 7:
        frame[place:] = frame[place:][::-1]
    else:  # a right CRC, but too short or too long
        over = longest - HEADER_BYTES - CRC_BYTES + pick.choice((1, 2, pick.randrange(1, 100)))
        content = bytes([pick.randrange(128)]) + pick.randbytes(pick.randrange(2))
        frame[:] = pick.choice((_seal(content), encode_request(content[0], 1, pick.randbytes(over))))


def _seal(content: bytes) -> bytes:
    return encode(content + crc32(content).to_bytes(CRC_BYTES, "little")) + b"\0"


def _good(encoded: bytes, longest: int) -> bool:
    request = decode_request(encoded)
    return request is not None and len(request[2]) + HEADER_BYTES + CRC_BYTES <= longest


@dataclass(frozen=True)
class Attack:
    """A kind of hostile host.

    Attributes
    ----------
    make : callable
        Called as ``make(pick, size, longest, key)``, `key` that of the program; returns about `size` bytes.
    harmless : bool
        There is no good frame among them: nothing may have changed.
    mendable : bool
        A disturbed line may make one of them good: of a request with two bytes too many, it may take these.
    """

    make: Callable[[random.Random, int, int, bytes], bytes]
    harmless: bool
    mendable: bool = False


KINDS = {
    "noise": Attack(noise, True),
    "mutated requests": Attack(mutated, True, mendable=True),
    "any requests": Attack(requests, False),
}
"""All kinds by name."""


@dataclass
class Outcome:
    """What attacks came to; they may be added up.

    Attributes
    ----------
    bytes, frames, bursts : Counter
        Of each kind: sent, delimiters among them, attacks after which everything was looked at.
    wrong : list of str
        What was not as it must be.
    """

    bytes: Counter[str] = field(default_factory=Counter)
    frames: Counter[str] = field(default_factory=Counter)
    bursts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count the attacks of `other`, too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Target:
    """A simulated device under attack, with a network in it.

    Parameters
    ----------
    transport : SimTransport
        Native engine; the device has counters.
    network : Network
    seed : int
        Of the images.
    """

    def __init__(self, transport: SimTransport, network: Network, seed: int) -> None:
        assert isinstance(transport.engine, NativeEngine) and transport.config.counters
        self.transport, self.engine, self.network = transport, transport.engine, network
        shape = (5, network.input.size)
        rng = np.random.default_rng(seed)
        self.images = rng.integers(0, network.input.maximum + 1, shape, dtype=np.uint8)
        self.scores = fast.run(network, self.images)
        self.device = Accelerator(Session(transport, timeout=_TIMEOUT, seed=seed))
        self.device.load(network)
        self.device.infer(self.images)
        self.key = self.device.program.identifier[:KEY_BYTES]

    def attack(self, kind: str, size: int, seed: int, *, noisy: bool = False) -> Outcome:
        """Send a burst of about `size` bytes, then look at the device.

        After bytes that cannot become a good frame, INFO, program and activation memory and the device's
        count of good frames must be as before, and the scores right. Otherwise RESET must be answered, INFO
        right, and the scores right as soon as the network is loaded again.

        Parameters
        ----------
        kind : str
            Of `KINDS`.
        size, seed : int
        noisy : bool
            Disturb the line, too; link ``uart``.
        """
        pick, config = random.Random(seed), self.transport.config
        harmless = KINDS[kind].harmless and not (noisy and KINDS[kind].mendable)
        data = KINDS[kind].make(pick, size, config.max_frame, self.key)
        label = f"{kind}, seed {seed}"
        outcome = Outcome(Counter({kind: len(data)}), Counter({kind: data.count(0)}), Counter({kind: 1}))
        try:
            before = self._state() if harmless else []
            if harmless:
                self.device.clear_counters()
            if noisy:
                self.engine.disturb(TO_DEVICE, seed + 1, pick.choice((0, 1e-3, 0.05)), 1e-3, 50)
            if not self._send(data):
                outcome.wrong.append(f"{label}: the device takes no more bytes")
            if noisy:
                self.engine.disturb(TO_DEVICE, 0)
            outcome.wrong += [f"{label}: {text}" for text in self._look(harmless, before)]
        except LinkError as error:
            outcome.wrong.append(f"{label}: {type(error).__name__}: {error}")
        if outcome.wrong:  # else the next burst would find the same again
            self.engine.reset()
            self.device.load(self.network, force=True)
        return outcome

    def _look(self, harmless: bool, before: list[bytes]) -> list[str]:
        wrong, device = [], self.device
        if harmless:
            device.session.transport.write(b"\0")
            good = (device.counters or {})["frames_good"]
            if good != 1:  # the request of the counters itself
                wrong.append(f"{good - 1} frames were taken for good")
            after = self._state()
            names = ("INFO", "program memory", *(f"activations of row {i}" for i in range(len(before))))
            wrong += [f"{name} changed" for name, a, b in zip(names, before, after, strict=False) if a != b]
        else:
            # A program may run for ever: RESET alone gets through.
            device.session.transport.write(b"\0")
            info = device.info
            device.reset()
            now = device.info
            if (now.armed, now.config, now.clock_hz, now.build_id) != (
                False, info.config, info.clock_hz, info.build_id
            ):  # fmt: skip
                wrong.append("INFO is wrong")
            device.load(self.network, verify=False)
        try:
            if not np.array_equal(device.infer(self.images), self.scores):
                wrong.append("wrong scores")
        except LinkError as error:
            wrong.append(f"{type(error).__name__}: {error}")
        return wrong

    def _send(self, data: bytes) -> bool:
        self.engine.write(data)
        bits = 1 if self.transport.link == "direct" else BITS_PER_BYTE * self.transport.divisor
        left = len(data) * bits * _MOST_CYCLES
        while self.engine.pending and left > 0:
            start = self.engine.cycles
            self.engine.run(min(left, self.engine.pending * bits))
            left -= self.engine.cycles - start
        return not self.engine.pending

    def _state(self) -> list[bytes]:
        session, config = self.device.session, self.transport.config
        places = [(Space.PROGRAM, 0, config.program_depth)]
        places += [(Space.ACTIVATIONS, row, config.act_depth) for row in range(config.geometry.rows)]
        memory = [
            b"".join(session.stream(read_requests(config, space, bank, 0, depth)))
            for space, bank, depth in places
        ]
        return [session.call(Command.INFO), *memory]
