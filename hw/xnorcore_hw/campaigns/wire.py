"""A bad wire between the driver and the simulated device, and all that can be wrong with it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from xnorcore.errors import (
    LinkError,
    LinkTimeoutError,
    NotLoadedError,
    UsageError,
    VerifyError,
    WrongDeviceError,
)

from ..sim.native import TO_DEVICE, TO_HOST, NativeEngine
from ..sim.transport import SimTransport

__all__ = ["BROKEN_WIRE", "LOST_MEMORY", "Fault", "Hang", "Killed", "Wire"]

BROKEN_WIRE = (LinkTimeoutError, WrongDeviceError)
"""Documented errors of a wire that is too bad for the number of retries."""
LOST_MEMORY = (*BROKEN_WIRE, NotLoadedError, VerifyError)
"""Documented errors where the device also loses its memories."""
_READS = 500_000


class Hang(Exception):
    """The driver did not come to an end within the watchdog's limit."""


class Killed(BaseException):
    """The host's program ends here; nothing may catch it."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a wire. Chances are for both directions.

    Attributes
    ----------
    flips : float
        Chance of an inverted line, per bit time.
    breaks, longest : float, int
        Chance that the line goes low, per bit time, for 1 to `longest` bit times.
    drops, inserts, duplicates, truncates : float
        Chance, per frame, that a byte is lost, that a random one comes in, that the frame or a byte of it
        comes twice, that the end of the frame is lost, half of the time with its delimiter.
    offset : float
        The host's baud rate is off by up to this part of it, either way.
    resets : int
        Most times that the device is switched off and on.
    restarts : int
        Most times that the host's program ends and starts again.
    cuts : int
        Most times that the device is switched off and on before or during a call of `infer`.
    seconds : int
        Most times that a second host loads a network between two calls of `infer`.
    baked : bool
        The device brings a network along, and arms itself.
    errors : tuple of type
        Errors that may end a run.
    """

    flips: float = 0
    breaks: float = 0
    longest: int = 1
    drops: float = 0
    inserts: float = 0
    duplicates: float = 0
    truncates: float = 0
    offset: float = 0
    resets: int = 0
    restarts: int = 0
    cuts: int = 0
    seconds: int = 0
    baked: bool = False
    errors: tuple[type[LinkError], ...] = BROKEN_WIRE

    @property
    def of_bytes(self) -> bool:
        """Whether all of this can also happen to bytes that no UART sends."""
        return not self.breaks and not self.offset


class Wire:
    """A `Transport` to a simulated device whose wire can be bad.

    Over a UART, flips, breaks and the baud rate are those of the lines. Otherwise only faults that are
    `Fault.of_bytes` are possible, and flips are those of the bytes' bits: the same to the driver and all of
    the device but its UART, and many times faster.

    Parameters
    ----------
    transport : SimTransport
        A native engine.

    Attributes
    ----------
    link : str
        ``uart`` or ``direct``.
    divisor : int
        Cycles of a UART's bit.
    damaged, resets : int
        As in `Outcome`, since `begin`; what is damaged as bytes only.
    """

    def __init__(self, transport: SimTransport) -> None:
        assert isinstance(transport.engine, NativeEngine)
        self.inner, self.engine, self.link = transport, transport.engine, transport.link
        self.divisor, self.name = transport.divisor, transport.name
        self.fault = Fault()
        self.damaged = self.resets = self._frames = 0
        self.random = random.Random(0)
        self._open = 0
        self._limit = self._reads = 0
        self._reset_at: list[int] = []
        self._killed_at: float = 0

    def begin(self, fault: Fault, seed: int, *, cycles: int, span: int) -> None:
        """Make the wire bad, or with ``Fault()`` good.

        Parameters
        ----------
        fault : Fault
        seed : int
        cycles : int
            Limit of the watchdog.
        span : int
            Cycles within which resets and restarts come.
        """
        self.fault, self.random = fault, random.Random(seed)
        self.damaged = self.resets = 0
        self._reads, self._limit = 0, self.engine.cycles + cycles
        pick = self.random
        if self.link == "uart":
            for line in (TO_DEVICE, TO_HOST):
                noisy = pick.getrandbits(63) | 1
                self.engine.disturb(line, noisy, fault.flips, fault.breaks, fault.longest)
            self.engine.pace(1 + pick.uniform(-fault.offset, fault.offset))
        elif not fault.of_bytes:
            raise UsageError("breaks and the baud rate are a UART's; use a device with link=uart")
        self._span = span
        moments = [self.engine.cycles + pick.randrange(span) for _ in range(fault.resets)]
        self._reset_at = sorted(moments[: pick.randint(1, 3)])
        self.live()

    def cut(self, after: int) -> None:
        """Switch the device off and on after so many cycles."""
        self._reset_at = sorted([*self._reset_at, self.engine.cycles + after])

    def live(self, doomed: bool = False) -> None:
        """Begin a new life of the host's program; `doomed`: it will be killed."""
        self._killed_at = self.engine.cycles + self.random.randrange(self._span) if doomed else float("inf")

    def line_frames(self) -> tuple[int, int]:
        """Return the frames on both lines since power-on, and those hit there and not as bytes."""
        if self.link == "direct":
            return self._frames, 0
        lines = [self.engine.frames(line) for line in (TO_DEVICE, TO_HOST)]
        return sum(all_ for all_, _ in lines), sum(hit for _, hit in lines)

    def write(self, data: bytes) -> None:
        """Send bytes, damaged."""
        out = b"".join(self._damage(frame) for frame in _frames(data))
        self._open += sum(len(frame) > 1 for frame in _frames(data))
        if self.engine.cycles >= self._killed_at:
            self.inner.write(out[: self.random.randrange(len(out) + 1)])
            raise Killed
        self.inner.write(out)

    def read(self, timeout: float) -> bytes:
        """Receive bytes, damaged."""
        self._reads += 1
        if self.engine.cycles > self._limit or self._reads > _READS:
            raise Hang(f"{self._reads} reads, cycle {self.engine.cycles}, limit {self._limit}")
        if self.engine.cycles >= self._killed_at:
            raise Killed
        if self._reset_at:
            left = self._reset_at[0] - self.engine.cycles
            if left <= 0:
                self.engine.restart()
                self._reset_at.pop(0)
                self.resets += 1
                self.damaged += self._open
                self._open = 0
            else:
                timeout = min(timeout, left / self.inner.clock_hz)
        data = self.inner.read(timeout)
        self._open = max(0, self._open - (data[-1:] == b"\0"))
        return b"".join(self._damage(frame) for frame in _frames(data))

    def now(self) -> float:
        """Return the device's time."""
        return self.inner.now()

    def discard(self) -> None:
        """Drop what has arrived."""
        self.inner.discard()

    def close(self) -> None:
        """Leave the device running: the next driver finds it as it is."""

    def _damage(self, frame: bytes) -> bytes:
        fault, pick = self.fault, self.random
        if len(frame) < 2:
            return frame
        self._frames += 1
        before, place = frame, pick.randrange(len(frame))
        if fault.flips and self.link == "direct":
            frame = _flip(pick, frame, fault.flips)
        if fault.drops and pick.random() < fault.drops:
            frame = frame[:place] + frame[place + 1 :]
        if fault.inserts and pick.random() < fault.inserts:
            byte = pick.choice((0, pick.randrange(256)))
            frame = frame[:place] + bytes([byte]) + frame[place:]
        if fault.duplicates and pick.random() < fault.duplicates:
            frame = frame * 2 if pick.random() < 0.5 else frame[: place + 1] + frame[place:]
        if fault.truncates and pick.random() < fault.truncates:
            frame = frame[:place] + (b"\0" if pick.random() < 0.5 else b"")
        self.damaged += frame != before
        return frame


def _flip(pick: random.Random, frame: bytes, chance: float) -> bytes:
    """Invert each bit with a chance."""
    out, scale = bytearray(frame), math.log1p(-chance)
    bit = int(math.log(1 - pick.random()) / scale)
    while bit < 8 * len(out):
        out[bit // 8] ^= 1 << bit % 8
        bit += 1 + int(math.log(1 - pick.random()) / scale)
    return bytes(out)


def _frames(data: bytes) -> list[bytes]:
    """Cut bytes behind each delimiter."""
    *whole, rest = data.split(b"\0")
    return [part + b"\0" for part in whole] + ([rest] if rest else [])
