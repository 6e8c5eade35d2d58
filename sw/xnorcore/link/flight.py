"""What is on the wire: transmissions in its order, and what each answer proves about them.

Every transmission gets a fresh tag. The device answers in the order of the wire, so an
answer to one transmission proves that all earlier unanswered ones are lost; those are sent again at
once. Only when nothing comes at all does the clock decide: then the oldest unanswered request is
sent again as a probe, and its answer settles the rest. A late answer to an earlier transmission is
as good as a new one, so a slow device is not asked for ever.

Parts of one inference group (INFER with part numbers) mean something only together, and so do the requests
of a chain: they go out back to back, are sent again together, and the answer to a part counts only if all
parts before it in the same attempt were answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..isa.protocol import Status
from .frames import MAX_RESPONSE, Splitter, decode_response, encode_request
from .groups import Attempt, Group, Request, refusal
from .pieces import Pace
from .transport import Transport


@dataclass
class Stats:
    """What went over the link since the session began.

    Attributes
    ----------
    sent, resent : int
        Frames sent, and how many of them repeated an earlier one.
    received : int
        Valid answers that were waited for.
    stale : int
        Valid answers that nobody waited for any more.
    damaged : int
        Frames that arrived damaged or too long.
    timeouts : int
        Times that nothing came within the time limit.
    bytes_sent, bytes_received : int
        Bytes on the wire.
    """

    sent: int = 0
    resent: int = 0
    received: int = 0
    stale: int = 0
    damaged: int = 0
    timeouts: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


@dataclass(eq=False)
class Transmission:
    """One frame that went out: the request at `position` of `group`, as part of `attempt`."""

    group: Group
    attempt: Attempt
    position: int
    size: int
    counted: bool = False


class Arrival(NamedTuple):
    """What a read gave: an answer to a frame in flight, and bytes of a frame that has only begun."""

    answer: bool
    begun: int


class Flight:
    """The frames in flight over one transport.

    Parameters
    ----------
    transport : Transport
    tag : int
        Tag before the first one to use.

    Attributes
    ----------
    stats : Stats
    size : int
        Encoded bytes of the transmissions whose fate is open.
    late : int
        Answers to repetitions of what had been answered already.
    pace : Pace
        How long frames should be.
    noise_limit : int
        Bytes without a valid frame in them for which `receive` thinks a long response is coming.
    """

    def __init__(self, transport: Transport, tag: int) -> None:
        self.transport = transport
        self.stats = Stats()
        self.size = 0
        self.late = 0
        self.pace = Pace()
        self.noise_limit = MAX_RESPONSE
        self._tag = tag
        self._flying: dict[int, Transmission] = {}  # by tag, in the order of the wire
        self._last_group: Group | None = None
        self._splitter = Splitter()
        self._noise = 0

    @property
    def awaited(self) -> int | None:
        """The command whose answer comes next, if any."""
        oldest = next(iter(self._flying.values()), None)
        return None if oldest is None else oldest.group.requests[oldest.position].command

    def quieten(self) -> None:
        """Forget the frame that has begun to come in, if any."""
        self._splitter.clear()
        self._noise = 0

    def ground(self) -> None:
        """Expect no more answers to what has been sent."""
        self._flying.clear()
        self.size = 0
        self._last_group = None
        self.quieten()

    def _encode(self, request: Request) -> tuple[int, bytes]:
        while True:
            self._tag = (self._tag + 1) & 0xFFFF
            if self._tag not in self._flying:
                return self._tag, encode_request(request.command, self._tag, request.payload)

    def transmit(self, group: Group) -> bytes:
        """Return the next frame of `group`, counted as being on the wire."""
        last = self._last_group
        if last is not None and last is not group and last.half_sent:
            last.restart()  # its parts would no longer be back to back
        self._last_group = group
        position = group.attempt.sent
        request = group.requests[position]
        tag, frame = self._encode(request)
        self._flying[tag] = Transmission(group, group.attempt, position, len(frame))
        self.size += len(frame)
        group.attempt.sent += 1
        self.stats.sent += 1
        self.stats.resent += request.sends > 0
        request.sends += 1
        return frame

    def write(self, data: bytes) -> None:
        """Send bytes now."""
        if data:
            self.stats.bytes_sent += len(data)
            self.transport.write(data)

    def receive(self, timeout: float) -> Arrival | None:
        """Read once; return what that gave, None if nothing came in time."""
        data = self.transport.read(timeout)
        if not data:
            return None
        self.stats.bytes_received += len(data)
        self._noise += len(data)
        alive = False
        for frame in self._splitter.feed(data):
            alive |= self._dispatch(frame)
        # A long response shows only that it has begun; a babbling device must not keep us for ever.
        begun = self._splitter.pending > 0 and self._noise <= self.noise_limit
        return Arrival(alive, len(data) if begun else 0)

    def _dispatch(self, frame: bytes) -> bool:
        response = decode_response(frame)
        if response is None:
            self.stats.damaged += 1
            return False
        self._noise = 0
        command, tag, payload, status = response
        flying = self._flying.get(tag)
        if flying is None or flying.group.requests[flying.position].command != command:
            self.stats.stale += 1
            return False
        if flying.group.done:
            self.stats.stale += 1
            self.late += 1
        else:
            self.stats.received += 1
        while True:
            first = self._flying.pop(next(iter(self._flying)))
            self.size -= first.size
            if first is flying:
                break
            self._lose(first)
        self.pace.note(flying.size + len(frame) + 1, lost=False)
        self._answer(flying, payload, status)
        return True

    def unheard(self, group: Group) -> None:
        """Count the latest transmission of `group` as lost: nothing came."""
        for transmission in reversed(self._flying.values()):
            if transmission.group is group:
                self._count(transmission)
                break

    def _count(self, lost: Transmission) -> None:
        if not lost.counted:
            lost.counted = True
            self.pace.note(lost.size, lost=True)

    def _lose(self, lost: Transmission) -> None:
        self._count(lost)
        group = lost.group
        if lost.attempt is group.attempt and not group.done:
            group.failures += 1
            group.restart()

    def _answer(self, flying: Transmission, payload: bytes, status: int) -> None:
        group, attempt = flying.group, flying.attempt
        if attempt.confirmed != flying.position:
            return  # a part before it is not proved: its bytes may have joined another group
        request = group.requests[flying.position]
        if status == Status.OK:
            attempt.confirmed += 1
            if request.answer is None:
                request.answer = payload
                group.failures, group.error = 0, None
            return
        error = refusal(request, status)
        if status == Status.SEQUENCE and flying.position:
            group.error = error
            self._lose(flying)
            return
        # A part that was answered before stays so; whoever waits for a later one must hear of the refusal.
        waiting = next((later for later in group.requests if later.answer is None), None)
        if waiting is not None:
            waiting.answer = error
            group.complete = True
