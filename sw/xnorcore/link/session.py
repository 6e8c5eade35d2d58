"""Requests and responses over a transport that may lose, damage or delay any of them.

How it works. Every transmission gets a fresh tag. The device answers in the order of the wire, so an
answer to one transmission proves that all earlier unanswered ones are lost; those are sent again at
once. Only when nothing comes at all does the clock decide: then the oldest unanswered request is
sent again as a probe, and its answer settles the rest. A late answer to an earlier transmission is
as good as a new one, so a slow device is not asked for ever.

Parts of one inference group (INFER with part numbers) mean something only together: they go out
back to back, are sent again together, and the answer to a part counts only if all parts before it
in the same attempt were answered.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from ..errors import DeviceError, GeometryError, LinkTimeoutError, UsageError, WrongDeviceError
from ..protocol import CRC_BYTES, HEADER_BYTES, Command, DeviceInfo, Status
from .frames import DELIMITER, MAX_RESPONSE, Splitter, decode_response, encode_request
from .transport import Transport

FIRST_WINDOW = 512
"""Bytes in flight before the device has told its buffer size: the smallest legal buffer."""
NOISE = 256
"""Bytes without a valid frame after which `Session.synchronise` does not wait longer for their sake."""

_END = 0x80
_HINTS = {
    Status.BAD_COMMAND: "this device does not know the command; rebuild its bitstream",
    Status.BAD_LENGTH: "the payload has a length that the command does not take",
    Status.BAD_ADDRESS: "the space, bank or address is outside the device's memories",
    Status.NOT_ARMED: "load a network first",
    Status.SEQUENCE: "the parts of an image group came out of order",
    Status.BAD_PROGRAM: "the program memory holds no valid program; load the network again",
}


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


@dataclass
class _Request:
    index: int
    command: int
    payload: bytes
    sends: int = 0
    answer: bytes | DeviceError | None = None


@dataclass(eq=False)
class _Attempt:
    """One try to get a group across: `sent` of its requests are out, `confirmed` of them answered."""

    sent: int = 0
    confirmed: int = 0


@dataclass(eq=False)
class _Group:
    """Requests that are sent again together; all but parts of an inference group stand alone."""

    requests: list[_Request] = field(default_factory=list)
    attempt: _Attempt = field(default_factory=_Attempt)
    complete: bool = False
    abandoned: bool = False
    failures: int = 0
    error: DeviceError | None = None

    @property
    def done(self) -> bool:
        return self.abandoned or (
            self.complete and all(request.answer is not None for request in self.requests)
        )

    @property
    def to_send(self) -> bool:
        return self.attempt.sent < len(self.requests) and not self.done

    @property
    def half_sent(self) -> bool:
        return self.attempt.sent > 0 and not self.done and (self.to_send or not self.complete)

    def restart(self) -> None:
        self.attempt = _Attempt()


@dataclass(eq=False)
class _Transmission:
    group: _Group
    attempt: _Attempt
    position: int
    size: int


class Session:
    """The request and response layer over one transport.

    Parameters
    ----------
    transport : Transport
    window_bytes : int
        Most encoded bytes in flight, the size of the device's receive buffer. `synchronise` sets it
        to what the device says.
    timeout : float
        Seconds of the transport's time without an answer after which a request is sent again.
    retries : int
        How often a request is sent again, without any progress, before the session gives up.
    seed : int, optional
        Fixes the first tag; random if not given, so that answers meant for an earlier program are
        not taken for ours.

    Attributes
    ----------
    info : DeviceInfo or None
        What the device said about itself when `synchronise` last ran.
    stats : Stats
    """

    def __init__(
        self,
        transport: Transport,
        *,
        window_bytes: int = FIRST_WINDOW,
        timeout: float = 1.0,
        retries: int = 5,
        seed: int | None = None,
    ) -> None:
        self.transport = transport
        self.window_bytes = window_bytes
        self.timeout = timeout
        self.retries = retries
        self.info: DeviceInfo | None = None
        self.stats = Stats()
        self._splitter = Splitter()
        self._tag = random.Random(seed).randrange(1 << 16)
        self._flying: dict[int, _Transmission] = {}  # by tag, in the order of the wire
        self._flying_bytes = 0
        self._last_group: _Group | None = None
        self._late = 0
        self._noise = 0
        self._noise_limit = MAX_RESPONSE

    @property
    def max_payload(self) -> int:
        """Most payload bytes of a request; before `synchronise`, what every device can take."""
        limit = self.info.config.max_frame if self.info else FIRST_WINDOW // 2 - 4
        return limit - HEADER_BYTES - CRC_BYTES

    def close(self) -> None:
        """Close the transport."""
        self.transport.close()

    def synchronise(self) -> DeviceInfo:
        """Find the device, whatever state the wire is in, and ask what it is.

        Returns
        -------
        DeviceInfo
            Also kept in `info`; the window is set to the device's receive buffer.

        Raises
        ------
        LinkTimeoutError
            If nothing comes back.
        WrongDeviceError
            If something comes back, but not an xnorcore device's answer.
        ProtocolVersionError
            If the device speaks another version of the protocol.
        """
        self.info = None
        self.window_bytes = FIRST_WINDOW
        self._ground()
        self._last_group = None
        self._write(DELIMITER * 4)  # ends whatever frame the device believes to be in
        self.transport.discard()
        self._splitter.clear()
        before = self.stats.bytes_received
        self._noise_limit = NOISE
        try:
            payload = self.call(Command.INFO)
        except LinkTimeoutError:
            count = self.stats.bytes_received - before
            if not count:
                raise
            raise WrongDeviceError(
                f"{self.transport.name} sends {count} bytes but no valid answer to INFO: "
                "either it is not an xnorcore accelerator, or the baud rate is wrong"
            ) from None
        finally:
            self._noise_limit = MAX_RESPONSE
        try:
            info = DeviceInfo.unpack(payload)
        except GeometryError as error:
            raise WrongDeviceError(f"{self.transport.name} reports an impossible device: {error}") from error
        self.info = info
        self.window_bytes = info.config.fifo_bytes
        return info

    def call(self, command: int, payload: bytes = b"", *, timeout: float | None = None) -> bytes:
        """Send one request and return the payload of its response, without the status byte.

        Parameters
        ----------
        command : int
            Type byte, a `Command`.
        payload : bytes
        timeout : float, optional
            Instead of the session's own, for one slow request.

        Raises
        ------
        DeviceError
            If the device refuses; `status` says why.
        LinkTimeoutError
            If no valid response comes, after all retries.
        DisconnectedError
            If the device is gone.
        UsageError
            If the payload is longer than `max_payload`.
        """
        (response,) = self.stream([(command, payload)], timeout=timeout)
        return response

    def stream(
        self,
        requests: Iterable[tuple[int, bytes]],
        *,
        on_response: Callable[[int, bytes], None] | None = None,
        timeout: float | None = None,
    ) -> Generator[bytes, None, None]:
        """Send many requests, several in flight, and yield their responses in order, each once.

        The device may execute a request more than once, and after later ones of the same stream: put
        only requests in one stream that do not depend on each other (parts of one INFER group may).

        Parameters
        ----------
        requests : iterable of (int, bytes)
            Command and payload; taken one by one as the window lets them go.
        on_response : callable, optional
            Called with the request's index and the response, just before it is yielded.
        timeout : float, optional
            Instead of the session's own.

        Yields
        ------
        bytes
            Payload of a response, without the status byte.

        Raises
        ------
        DeviceError, LinkTimeoutError, DisconnectedError, UsageError
            As `call`; `DeviceError.index` counts the requests of this stream. Responses of earlier
            requests have been yielded by then.
        """
        return _Stream(self, requests, self.timeout if timeout is None else timeout).run(on_response)

    def _ground(self) -> None:
        """Expect no more answers to what has been sent."""
        self._flying.clear()
        self._flying_bytes = 0

    def _encode(self, request: _Request) -> tuple[int, bytes]:
        while True:
            self._tag = (self._tag + 1) & 0xFFFF
            if self._tag not in self._flying:
                return self._tag, encode_request(request.command, self._tag, request.payload)

    def _transmit(self, group: _Group) -> bytes:
        """Return the next frame of `group`, counted as being on the wire."""
        last = self._last_group
        if last is not None and last is not group and last.half_sent:
            last.restart()  # its parts would no longer be back to back
        self._last_group = group
        position = group.attempt.sent
        request = group.requests[position]
        tag, frame = self._encode(request)
        self._flying[tag] = _Transmission(group, group.attempt, position, len(frame))
        self._flying_bytes += len(frame)
        group.attempt.sent += 1
        self.stats.sent += 1
        self.stats.resent += request.sends > 0
        request.sends += 1
        return frame

    def _write(self, data: bytes) -> None:
        if data:
            self.stats.bytes_sent += len(data)
            self.transport.write(data)

    def _receive(self, timeout: float) -> bool | None:
        """Read once; return whether that was a reason to wait longer, None if nothing came in time."""
        data = self.transport.read(timeout)
        if not data:
            return None
        self.stats.bytes_received += len(data)
        self._noise += len(data)
        alive = False
        for frame in self._splitter.feed(data):
            alive |= self._dispatch(frame)
        # A long response shows only that it has begun; a babbling device must not keep us for ever.
        return alive or (self._splitter.pending > 0 and self._noise <= self._noise_limit)

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
            self._late += 1
        else:
            self.stats.received += 1
        while True:
            first = self._flying.pop(next(iter(self._flying)))
            self._flying_bytes -= first.size
            if first is flying:
                break
            self._lose(first)
        self._answer(flying, payload, status)
        return True

    def _lose(self, lost: _Transmission) -> None:
        group = lost.group
        if lost.attempt is group.attempt and not group.done:
            group.failures += 1
            group.restart()

    def _answer(self, flying: _Transmission, payload: bytes, status: int) -> None:
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
        error = _refusal(request, status)
        if status == Status.SEQUENCE and flying.position:
            group.error = error
            self._lose(flying)
        elif request.answer is None:
            request.answer = error
            group.complete = True


class _Stream:
    """One run of `Session.stream`: which requests are waiting, and what to do next."""

    def __init__(self, session: Session, requests: Iterable[tuple[int, bytes]], timeout: float) -> None:
        self.session = session
        self.timeout = timeout
        self.source = iter(requests)
        self.count = 0
        self.exhausted = False
        self.groups: deque[_Group] = deque()
        self.waiting: deque[_Request] = deque()

    def run(self, on_response: Callable[[int, bytes], None] | None) -> Generator[bytes, None, None]:
        session, clock = self.session, self.session.transport.now
        try:
            self._send()
            deadline = clock() + self.timeout
            while self.waiting:
                late = session._late
                news = session._receive(max(0.0, deadline - clock()))
                if session._late > late:  # the device is still busy with repetitions: no failure of ours
                    for group in self.groups:
                        group.failures = 0
                if news is None or (not news and clock() >= deadline):
                    self._probe()
                    news = True
                if news:
                    deadline = clock() + self.timeout
                self._check()
                self._send()
                while self.waiting and self.waiting[0].answer is not None:
                    request = self.waiting.popleft()
                    if isinstance(request.answer, DeviceError):
                        raise request.answer
                    assert request.answer is not None
                    if on_response:
                        on_response(request.index, request.answer)
                    yield request.answer
        finally:
            for group in self.groups:  # nobody waits any more: answers are only counted
                group.abandoned = True

    def _pull(self) -> bool:
        """Take one request from the caller; return whether there was one."""
        if self.exhausted:
            return False
        try:
            command, payload = next(self.source)
        except StopIteration:
            self.exhausted = True
            if self.groups:
                self.groups[-1].complete = True
            return False
        limit = self.session.max_payload
        if len(payload) > limit:
            raise UsageError(
                f"{_name(command)} request with {len(payload)} payload bytes; at most {limit} fit"
            )
        part = payload[0] if command == Command.INFER and payload else _END
        if not part & ~_END or not self.groups or self.groups[-1].complete:
            if self.groups:
                self.groups[-1].complete = True
            self.groups.append(_Group())
        request = _Request(self.count, command, bytes(payload))
        self.groups[-1].requests.append(request)
        self.groups[-1].complete = bool(part & _END)
        self.waiting.append(request)
        self.count += 1
        return True

    def _send(self) -> None:
        """Fill the window."""
        session = self.session
        frames = []
        while True:
            group = next((group for group in self.groups if group.to_send), None)
            if group is None:
                while self.groups and self.groups[0].done:
                    self.groups.popleft()
                if self._pull():
                    continue
                break
            request = group.requests[group.attempt.sent]
            body = HEADER_BYTES + len(request.payload) + CRC_BYTES
            size = body + body // 254 + 2
            if session._flying and session._flying_bytes + size > session.window_bytes:
                break
            frames.append(session._transmit(group))
        session._write(b"".join(frames))

    def _probe(self) -> None:
        """Nothing came: send the oldest unanswered request again, to see what was lost."""
        session = self.session
        session.stats.timeouts += 1
        session._noise = 0
        session._splitter.clear()
        group = next((group for group in self.groups if not group.done), None)
        if group is None:
            return
        group.failures += 1
        self._check()
        group.restart()
        session._write(DELIMITER + session._transmit(group))

    def _check(self) -> None:
        for group in self.groups:
            if group.failures > self.session.retries:
                raise group.error or self._timeout(group)

    def _timeout(self, group: _Group) -> LinkTimeoutError:
        stats = self.session.stats
        unanswered = [request for request in group.requests if request.answer is None]
        name = _name((unanswered or group.requests)[0].command)
        self.session._ground()
        return LinkTimeoutError(
            f"no valid answer to {name} from {self.session.transport.name} in {group.failures} tries of "
            f"{self.timeout:g} s ({stats.damaged} damaged); check the baud rate, the cable and that the "
            "bitstream is loaded"
        )


def _name(command: int) -> str:
    try:
        return Command(command).name
    except ValueError:
        return f"command {command}"


def _refusal(request: _Request, status: int) -> DeviceError:
    try:
        name, hint = Status(status).name, _HINTS[Status(status)]
    except ValueError:
        name, hint = f"status {status}", "this driver does not know that status"
    text = f"the device refused {_name(request.command)} (request {request.index}): {name}; {hint}"
    return DeviceError(text, status, request.index)
