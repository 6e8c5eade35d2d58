"""A device that computes nothing, but takes its time: how long a call takes on a board.

The driver itself talks to it.
"""

from __future__ import annotations

from collections import deque

from ..isa.blocks import word_bytes
from ..isa.program import Program
from ..isa.protocol import Command, DeviceInfo, Space
from ..link.frames import Splitter, decode_request, encode_response
from ..link.pieces import END

__all__ = ["TimedDevice"]

_MAX_REQUEST = 1 << 16


class TimedDevice:
    """A `Transport` to a device, behind a UART, that holds a program whose results the host reads.

    Requests come one after the other over one line, are executed in order, and answered over the other. Only
    reading takes as long as its answer; other answers wait for the line by themselves.

    Parameters
    ----------
    program : Program
    clock_hz : int
    byte_s : float
        Seconds of a byte on either line.

    Attributes
    ----------
    name : str
    """

    name = "timed:"

    def __init__(self, program: Program, clock_hz: int, byte_s: float) -> None:
        self._program, self._clock_hz, self._byte_s = program, clock_hz, byte_s
        first, *runs = (cycles.active / clock_hz for cycles in program.by_itself)
        self._infer_s = first
        self._turns = dict(zip(program.turns, runs, strict=False))
        self._run_s = sum(runs) / max(len(runs), 1)  # of passes all are taken to be alike
        self._splitter = Splitter(_MAX_REQUEST)
        self._time = self._received = self._done = self._sent = 0.0
        self._answers: deque[tuple[float, bytes]] = deque()

    def write(self, data: bytes) -> None:
        """Take requests, and work out when their answers will have come."""
        self._received = max(self._received, self._time)
        for part in data.split(b"\0"):
            self._received += (len(part) + 1) * self._byte_s
            for frame in self._splitter.feed(part + b"\0"):
                request = decode_request(frame)
                if request is not None:
                    self._execute(*request)

    def _execute(self, command: int, tag: int, payload: bytes) -> None:
        self._done = max(self._done, self._received)
        answer = b""
        if command == Command.INFO:
            answer = DeviceInfo(self._program.config, self._clock_hz).pack()
        elif command == Command.READ:
            answer = self._read(payload)
        elif command == Command.RUN:
            self._done += self._turns.get(int.from_bytes(payload, "little"), self._run_s)
        elif command == Command.INFER and payload[0] & END:
            self._done += self._infer_s
            answer = bytes(self._program.filled_rows)
        frame = encode_response(command, tag, answer)
        self._sent = max(self._sent, self._done) + len(frame) * self._byte_s
        if command == Command.READ:
            self._done = self._sent
        self._answers.append((self._sent, frame))

    def _read(self, payload: bytes) -> bytes:
        space, count = Space(payload[0]), int.from_bytes(payload[4:6], "little")
        if space == Space.PROGRAM:  # nothing is read there but the mark
            return self._program.identifier
        return b"\x55" * (count * word_bytes(self._program.config, space))

    def read(self, timeout: float) -> bytes:
        """Return the next answer, if it comes in time."""
        if self._answers and self._answers[0][0] <= self._time + timeout:
            at, answer = self._answers.popleft()
            self._time = max(self._time, at)
            return answer
        self._time += timeout
        return b""

    def now(self) -> float:
        """Return the device's time in seconds."""
        return self._time

    def discard(self) -> None:
        """Do nothing: there is nothing else on the line."""

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""
