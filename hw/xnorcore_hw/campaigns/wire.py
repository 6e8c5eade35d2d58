"""A bad wire between the driver and the simulated device, and what one run over it came to."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from xnorcore.errors import (
    LinkError,
    LinkTimeoutError,
    NotLoadedError,
    UsageError,
    VerifyError,
    WrongDeviceError,
)
from xnorcore.model.network import Network

from ..sim.native import TO_DEVICE, TO_HOST, NativeEngine
from ..sim.transport import SimTransport
from .hosts import Host, Work, random_images

__all__ = ["BROKEN_WIRE", "LOST_MEMORY", "Fault", "Outcome", "Wire", "run"]

BROKEN_WIRE = (LinkTimeoutError, WrongDeviceError)
"""Documented errors of a wire that is too bad for the number of retries."""
LOST_MEMORY = (*BROKEN_WIRE, NotLoadedError, VerifyError)
"""Documented errors where the device also loses its memories."""
_READS = 500_000
_TIMEOUT_S = {"uart": 0.002, "direct": 0.000_5}
_SPAN = {"uart": 60_000, "direct": 4_000}


class Hang(Exception):
    """The driver did not come to an end within the watchdog's limit."""


class _Killed(BaseException):
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


@dataclass
class Outcome:
    """What runs over a bad wire came to; runs may be added up.

    Attributes
    ----------
    runs, frames, damaged : int
        Runs; frames that were sent in either direction; those that a fault hit.
    repeated, timeouts : int
        Frames that the driver sent again; times that it heard nothing.
    recovered : int
        Runs with damage that ended with the right scores in spite of it.
    errors : Counter
        Names of the errors that ended the others. After each, the wire was made good, and a new driver got
        the right scores.
    refused : int
        Times that `infer` said that the device has lost its network, which was then loaded again.
    resets, restarts : int
    wrong, hung, failed, stuck : list of str
        Runs with wrong scores, without an end, with an undocumented error, and those after which the device
        did not answer on a good wire until it was switched off and on; never any, we hope.
    """

    runs: int = 0
    frames: int = 0
    damaged: int = 0
    repeated: int = 0
    timeouts: int = 0
    recovered: int = 0
    refused: int = 0
    resets: int = 0
    restarts: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        """Count the runs of `other`, too."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def good(self) -> bool:
        """Whether all runs ended as they should."""
        return not (self.wrong or self.hung or self.failed or self.stuck)


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
    damaged, resets : int
        As in `Outcome`, since `begin`; what is damaged as bytes only.
    """

    def __init__(self, transport: SimTransport) -> None:
        assert isinstance(transport.engine, NativeEngine)
        self.inner, self.engine, self.link = transport, transport.engine, transport.link
        self.name = transport.name
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
            raise _Killed
        self.inner.write(out)

    def read(self, timeout: float) -> bytes:
        """Receive bytes, damaged."""
        self._reads += 1
        if self.engine.cycles > self._limit or self._reads > _READS:
            raise Hang(f"{self._reads} reads, cycle {self.engine.cycles}, limit {self._limit}")
        if self.engine.cycles >= self._killed_at:
            raise _Killed
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


def run(wire: Wire, fault: Fault, seed: int, networks: Sequence[Network]) -> Outcome:
    """Load a network over a bad wire, infer, compare; then, unless that went well, again over a good wire.

    The device is found in the state in which the run before left it.
    """
    pick = random.Random(seed)
    network = networks[pick.randrange(len(networks))]
    images = random_images(network, pick.choice((1, 9, 60, 150)), seed)
    verify, times = pick.random() < 0.2, pick.randrange(1, 5)
    lives = pick.randint(1, fault.restarts) if fault.restarts else 0
    plain = Work(network, images, networks, times, verify)
    work = replace(
        plain,
        seconds=pick.randint(1, fault.seconds) if fault.seconds else 0,
        cuts=pick.randint(1, fault.cuts) if fault.cuts else 0,
        stop=bool(fault.cuts or fault.seconds) and pick.random() < 0.15,
    )
    outcome, label = Outcome(runs=1), f"seed {seed}"
    frames, hit = wire.line_frames()
    span = _SPAN[wire.link] * (4 if verify else 1)
    wire.begin(fault, pick.getrandbits(32), cycles=200_000_000, span=span)
    ended = True
    host = Host(wire, _TIMEOUT_S[wire.link], pick)

    try:
        while True:
            wire.live(doomed=outcome.restarts < lives)
            try:
                if not host.live(work, pick.choice((5, 12)), force=pick.random() < 0.5):
                    outcome.wrong.append(label)
                break
            except _Killed:
                outcome.restarts += 1
                wire.damaged += 1
    except fault.errors as error:
        outcome.errors[type(error).__name__] += 1
        ended = False
    except Hang as error:
        outcome.hung.append(f"{label}: {error}")
        ended = False
    except Exception as error:
        outcome.failed.append(f"{label}: {type(error).__name__}: {error}")
        ended = False
    total, damaged = wire.line_frames()
    outcome.frames = total - frames
    outcome.damaged = min(damaged - hit + wire.damaged, outcome.frames)
    outcome.resets, outcome.refused = wire.resets, host.refused
    outcome.repeated = sum(session.stats.resent for session in host.sessions)
    outcome.timeouts = sum(session.stats.timeouts for session in host.sessions)
    outcome.recovered = int(ended and outcome.damaged > 0)
    if not ended or outcome.resets or fault.restarts or fault.seconds:
        wire.begin(Fault(), 1, cycles=50_000_000, span=1)
        try:
            if not host.live(plain, 5):
                outcome.wrong.append(f"{label}, on the good wire")
        except Hang as error:
            outcome.hung.append(f"{label}, on the good wire: {error}")
        except LinkTimeoutError:
            outcome.stuck.append(label)
        except Exception as error:
            outcome.failed.append(f"{label}, on the good wire: {type(error).__name__}: {error}")
    return outcome
