"""A device in plain Python behind a `Transport`, on a wire that can be made to fail."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from xnorcore.errors import DisconnectedError
from xnorcore.isa.protocol import Command, DeviceConfig, DeviceInfo, Status
from xnorcore.link.frames import Splitter, decode_request, encode_response

INFO = DeviceInfo(DeviceConfig(fifo_bytes=512), 12_000_000, build_id=b"buildone")


@dataclass
class Faults:
    """Probabilities of trouble, per frame in each direction."""

    flip: float = 0.0
    drop: float = 0.0
    insert: float = 0.0
    truncate: float = 0.0
    duplicate: float = 0.0
    lose_frame: float = 0.0
    delay: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def damage(self, frame: bytes) -> bytes:
        """Return what becomes of one frame."""
        r = self.random
        data = bytearray(frame)
        if r.random() < self.flip:
            data[r.randrange(len(data))] ^= 1 << r.randrange(8)
        if r.random() < self.drop:
            del data[r.randrange(len(data))]
        if r.random() < self.insert:
            data.insert(r.randrange(len(data) + 1), r.choice([0, r.randrange(256)]))
        if data and r.random() < self.truncate:
            del data[r.randrange(len(data)) :]
        if r.random() < self.lose_frame:
            return b""
        return bytes(data) * (2 if r.random() < self.duplicate else 1)


class FakeDevice:
    """Answers INFO, and INFER with the sum of the group's bytes; other commands echo their payload.

    Holds `fifo_bytes` of requests as the real one does and drops what does not fit. Time passes in
    `read` alone. Each request takes `service` seconds.
    """

    name = "fake:"

    def __init__(self, faults: Faults | None = None, info: DeviceInfo = INFO, service: float = 0.001) -> None:
        self.faults = faults or Faults()
        self.info = info
        self.service = service
        self.time = 0.0
        self.free_at = 0.0
        self.unplugged = False
        self.muted = False
        self.closed = False
        self.overflows = 0
        self.most_held = 0
        self.executed: list[tuple[int, bytes]] = []
        self.next_part = 0
        self.group = 0
        self._splitter = Splitter(4096)
        self._fifo: deque[tuple[int, int, bytes]] = deque()
        self._held = 0
        self._out: deque[tuple[float, bytes]] = deque()

    # What the driver sees.

    def write(self, data: bytes) -> None:
        if self.unplugged:
            raise DisconnectedError("fake: is gone")
        frames = data.split(b"\0")
        for frame in frames[:-1]:
            for body in self._splitter.feed(self.faults.damage(frame + b"\0") if frame else b"\0"):
                request = decode_request(body)
                if request is None:
                    continue
                size = 5 + len(request[2])
                if self._held + size > self.info.config.fifo_bytes:
                    self.overflows += 1
                    continue
                self._held += size
                self.most_held = max(self.most_held, self._held)
                self._fifo.append(request)

    def read(self, timeout: float) -> bytes:
        if self.unplugged:
            raise DisconnectedError("fake: is gone")
        deadline = self.time + timeout
        while True:
            while self._fifo:
                self._serve()
            if self._out and self._out[0][0] <= max(deadline, self.time):
                at, data = self._out.popleft()
                self.time = max(self.time, at)
                if data:
                    return data
            else:
                self.time = deadline
                return b""

    def now(self) -> float:
        return self.time

    def discard(self) -> None:
        self._out.clear()

    def close(self) -> None:
        self.closed = True

    # The device.

    def _serve(self) -> None:
        command, tag, payload = self._fifo.popleft()
        self._held -= 5 + len(payload)
        self.executed.append((command, payload))
        answer, status = self.execute(command, payload)
        self.free_at = max(self.free_at, self.time) + self.service
        if self.faults.random.random() < self.faults.delay:
            self.free_at += self.faults.random.random() * 3
        if not self.muted:
            frame = self.faults.damage(encode_response(command, tag, answer, status))
            cut = self.faults.random.randrange(len(frame) + 1)
            self._out += [(self.free_at, frame[:cut]), (self.free_at, frame[cut:])]

    def execute(self, command: int, payload: bytes) -> tuple[bytes, int]:
        if command == Command.INFO:
            return self.info.pack(), Status.OK
        if command == Command.RESET:
            return b"", Status.NOT_ARMED
        if command != Command.INFER:
            return payload, Status.OK
        part = payload[0] & 0x7F
        if part and part != self.next_part:
            self.next_part = 0
            return b"", Status.SEQUENCE
        self.group = sum(payload[1:]) + (self.group if part else 0)
        if payload[0] & 0x80:
            self.next_part = 0
            return self.group.to_bytes(4, "little"), Status.OK
        self.next_part = part + 1
        return bytes([part]), Status.OK
