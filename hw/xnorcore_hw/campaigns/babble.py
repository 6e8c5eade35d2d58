"""Things that are no device, at the other end of the driver's wire: they say whatever they like."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field

from xnorcore.errors import CompileError, LinkError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import INFO_BYTES, Command, DeviceInfo, Space, Status
from xnorcore.link.frames import Splitter, decode_request, encode_response
from xnorcore.link.session import Session
from xnorcore.model.network import Network
from xnorcore.runtime.accelerator import Accelerator

__all__ = ["KINDS", "MOST_MEMORY", "MOST_SECONDS", "Babble", "Outcome", "meet"]

KINDS = (
    "silence",
    "random bytes",
    "few different bytes",
    "bytes without a delimiter",
    "one byte at a time",
    "echo",
    "random answers",
    "any INFO",
    "answers of a wrong length",
    "answers with random status",
    "many answers",
    "nearly right answers",
)
"""What the other end does."""
CONFIG = DeviceConfig(Geometry(2, 4, 8), weight_depth=512, threshold_depth=32, act_depth=1024)
MOST_MEMORY = 24 << 20
"""Bytes that the driver may have in use: a response may have 1 MiB, and there are copies on its way."""
MOST_SECONDS = 600.0
"""Of the wire's time, within which the driver must give up: a slow clock in INFO grants long time-outs."""
_MOST_READS = 1_000_000
_BYTE_S = 10 / 3_000_000
_MOST_QUEUE = 4 << 20


class Hang(BaseException):
    """The driver did not come to an end; nothing may catch it."""


class Babble:
    """A `Transport` that answers as its kind says.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    seed : int

    Attributes
    ----------
    given : int
        Bytes that the driver has been given.
    """

    name = "babble:"

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.random = kind, random.Random(seed)
        self.given = self.reads = 0
        self.time = 0.0
        self._splitter = Splitter(1 << 16)
        self._out = bytearray()
        self._memory: dict[bytes, bytearray] = {}
        self._armed = False
        # Requests that are answered as a device would, before this kind begins.
        self._sane = self.random.choice((0, 1, 2, 5, 12, 30))

    def write(self, data: bytes) -> None:
        """Take requests; what answers them is queued."""
        self.time += len(data) * _BYTE_S
        if self.kind == "echo" and self._sane <= 0:
            self._out += data
        for frame in self._splitter.feed(data):
            request = decode_request(frame)
            if request is not None and len(self._out) < _MOST_QUEUE:
                self._out += self._answer(*request)

    def read(self, timeout: float) -> bytes:
        """Give what is queued, or what this kind says without being asked."""
        self.reads += 1
        if self.time > MOST_SECONDS or self.reads > _MOST_READS:
            raise Hang
        slow = self.kind == "one byte at a time"
        data = self._unasked() if self._sane <= 0 else b""
        data = data or bytes(self._out[: 1 if slow else 1 << 16])
        if data:
            del self._out[: len(data)]
            self.given += len(data)
            self.time += len(data) * _BYTE_S
        else:
            self.time += timeout
        return data

    def now(self) -> float:
        """Return seconds of this wire."""
        return self.time

    def discard(self) -> None:
        """Drop what is queued."""
        self._out.clear()

    def close(self) -> None:
        """Do nothing."""

    def _unasked(self) -> bytes:
        pick, size = self.random, self.random.choice((1, 60, 4096))
        if self.kind == "random bytes":
            return pick.randbytes(size)
        if self.kind == "few different bytes":
            return bytes(pick.choices((0, 1, 2, 254, 255), k=size))
        if self.kind == "bytes without a delimiter":
            return bytes(byte or 1 for byte in pick.randbytes(size))
        if self.kind == "one byte at a time" and not self._out:
            return pick.randbytes(1)
        return b""

    def _answer(self, command: int, tag: int, payload: bytes) -> bytes:
        pick = self.random
        right = self._right(command, payload)
        self._sane -= 1
        if self._sane >= 0:
            return encode_response(command, tag, right)
        match self.kind:
            case "random answers":
                any_ = pick.randbytes(pick.choice((0, 1, INFO_BYTES, pick.randrange(5000))))
                return encode_response(command, tag, any_, pick.choice((0, 0, pick.randrange(256))))
            case "any INFO" if command == Command.INFO:
                return encode_response(command, tag, self._any_info())
            case "answers of a wrong length" if command != Command.INFO:
                size = pick.choice((0, 1, len(right) - 1, len(right) + 1, pick.randrange(1 << 16), 900_000))
                return encode_response(command, tag, bytes(max(size, 0)))
            case "answers with random status" if command != Command.INFO:
                status = pick.choice((0, 0, 0, *Status, pick.randrange(256)))
                return encode_response(command, tag, right, status)
            case "many answers":
                return encode_response(command, tag, right) * pick.choice((1, 2, 1000))
            case "nearly right answers":
                frame = bytearray(encode_response(command, tag, right))
                if pick.random() < 0.3:
                    frame[pick.randrange(len(frame))] ^= 1 << pick.randrange(8)
                return bytes(frame)
            case (
                "any INFO" | "answers of a wrong length" | "answers with random status" | "one byte at a time"
            ):
                return encode_response(command, tag, right)
        return b""

    def _right(self, command: int, payload: bytes) -> bytes:
        """Return an answer of the right form: a device that cannot compute, but remembers."""
        place, size = payload[:2], _word(payload[:1])
        at = size * int.from_bytes(payload[2:4], "little")
        memory = self._memory.setdefault(place, bytearray()) if len(payload) >= 4 else bytearray()
        match command:
            case Command.INFO:
                return self._info()
            case Command.ARM | Command.RESET:
                self._armed = command == Command.ARM
            case Command.WRITE if len(payload) >= 4:
                memory.extend(bytes(max(at - len(memory), 0)))
                memory[at : at + len(payload) - 4] = payload[4:]
            case Command.READ if len(payload) == 6:
                count = size * int.from_bytes(payload[4:], "little")
                return bytes(memory[at : at + count]).ljust(count, b"\0")
            case Command.INFER:
                return self.random.randbytes(self.random.randrange(200))
        return b""

    def _info(self) -> bytes:
        program = bytes(self._memory.get(bytes(2), b""))
        name = program[40:48].ljust(8, b"\0") if self._armed else bytes(8)
        return DeviceInfo(CONFIG, 12_000_000, self._armed, b"babbling", name).pack()

    def _any_info(self) -> bytes:
        """Return INFO with some fields at random, so that many are of a device that could be."""
        pick, info = self.random, bytearray(self._info())
        for _ in range(pick.randrange(1, 4)):
            place = pick.randrange(5, INFO_BYTES)
            info[place] = pick.choice((0, 1, 255, pick.randrange(256), 1 << pick.randrange(8)))
        return bytes(info[: pick.choice((INFO_BYTES,) * 8 + (INFO_BYTES - 1, 5, 4, 0))])


def _word(space: bytes) -> int:
    return 4 if space in (bytes([Space.PROGRAM]), bytes([Space.THRESHOLDS])) else CONFIG.geometry.width // 8


@dataclass
class Outcome:
    """What drivers came to; outcomes may be added up.

    Attributes
    ----------
    runs, bytes : Counter
        Of each kind: drivers, bytes that they were given.
    ends : Counter
        Names of the errors that ended them; ``none`` where they took everything for right.
    wrong : list of str
        Runs without an end, with an error that is not one of ours, or with too much memory in use.
    peak : int
        Most bytes in use by a run.
    """

    runs: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    peak: int = 0

    def add(self, other: Outcome) -> None:
        """Count the runs of `other`, too."""
        for name in ("runs", "bytes", "ends"):
            getattr(self, name).update(getattr(other, name))
        self.wrong += other.wrong
        self.peak = max(self.peak, other.peak)


def meet(kind: str, seed: int, network: Network) -> Outcome:
    """Let a driver open, load and infer, with babble at the other end.

    Memory is what Python's own allocator counts, which is all of this driver's: this takes `tracemalloc`,
    and twice the time.
    """
    babble = Babble(kind, seed)
    pick = random.Random(seed)
    label, ended, wrong = f"{kind}, seed {seed}", "none", []
    images = [[0] * network.input.size] * pick.choice((1, 40))
    traced = tracemalloc.is_tracing()
    tracemalloc.start()
    tracemalloc.reset_peak()
    start = tracemalloc.get_traced_memory()[0]
    try:
        device = Accelerator(Session(babble, timeout=0.05, retries=3, seed=seed))
        device.load(network, verify=pick.random() < 0.5)
        device.infer(images)
        device.counters  # noqa: B018
        device.reset()
    except (LinkError, CompileError) as error:  # the documented ones
        ended = type(error).__name__
    except Hang:
        wrong.append(f"{label}: no end after {babble.reads} reads, {babble.time:.0f} s")
    except Exception as error:
        wrong.append(f"{label}: {type(error).__name__}: {error}")
    finally:
        peak = tracemalloc.get_traced_memory()[1] - start
        if not traced:
            tracemalloc.stop()
    if peak > MOST_MEMORY:
        wrong.append(f"{label}: {peak:,} bytes in use")
    return Outcome(Counter({kind: 1}), Counter({kind: babble.given}), Counter({ended: 1}), wrong, peak)
