"""One run of requests: fills the window, waits, repeats what was lost, gives the answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable

from ..errors import DeviceError, LinkTimeoutError, UsageError
from ..isa.device import DeviceConfig
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, Command
from .flight import Flight
from .frames import DELIMITER
from .groups import Chain, Group, Request, command_name
from .patience import Patience
from .pieces import END, ImageBytes, divide


class Exchange:
    """Which requests are waiting, and what to do next.

    Parameters
    ----------
    flight : Flight
    requests : iterable of (int, bytes) or Chain
        Command and payload.
    window : int
        Most encoded bytes in flight; a single frame always goes.
    max_payload : int
        Most payload bytes of a request.
    timeout : float
        Seconds without an answer before a repetition.
    retries : int
        Repetitions without progress before giving up.
    config : DeviceConfig or None
        Of the device, once it is known.
    images : ImageBytes or None
        What the images of INFER requests cost.
    """

    def __init__(
        self,
        flight: Flight,
        requests: Iterable[tuple[int, bytes] | Chain],
        *,
        window: int,
        max_payload: int,
        timeout: float,
        retries: int,
        config: DeviceConfig | None = None,
        images: ImageBytes | None = None,
    ) -> None:
        self.flight = flight
        self.window = window
        self.max_payload = max_payload
        self.timeout = timeout
        self.retries = retries
        self.config = config
        self.images = images
        self.source = iter(requests)
        self.count = 0
        self.exhausted = False
        self.groups: deque[Group] = deque()
        self.waiting: deque[Request] = deque()

    def run(self, on_response: Callable[[int, bytes], None] | None) -> Generator[bytes, None, None]:
        """Yield the responses in order; see `Session.stream`."""
        flight, clock = self.flight, self.flight.transport.now
        try:
            self._send()
            patience = Patience(self.timeout)
            patience.restart(clock(), answered=False)
            while self.waiting:
                late = flight.late
                arrival = flight.receive(max(0.0, patience.until - clock()))
                if flight.late > late:  # the device is still busy with repetitions: no failure of ours
                    for group in self.groups:
                        group.failures = 0
                if arrival is not None and arrival.answer:
                    patience.restart(clock(), answered=True)
                elif arrival is not None and arrival.begun:
                    patience.extend(clock(), arrival.begun)
                if patience.early and flight.awaited == Command.RUN:
                    patience.settle()  # of all requests, it alone takes as long as a whole network
                if clock() >= patience.until:
                    self._probe(early=patience.early)
                    patience.restart(clock(), answered=False)
                self._check()
                self._send()
                while self.waiting and (result := self.waiting[0].result) is not None:
                    request = self.waiting.popleft()
                    if isinstance(result, DeviceError):
                        raise result
                    if on_response:
                        on_response(request.index, result)
                    yield result
        finally:
            for group in self.groups:  # nobody waits any more: answers are only counted
                group.abandoned = True

    def _pull(self) -> bool:
        """Take one request from the caller; return whether there was one."""
        if self.exhausted:
            return False
        try:
            pulled = next(self.source)
        except StopIteration:
            self.exhausted = True
            if self.groups:
                self.groups[-1].complete = True
            return False
        if isinstance(pulled, Chain):
            self._begin()
            for command, payload in pulled.requests:
                self._join(command, payload)
            self.groups[-1].complete = True
            return True
        command, payload = pulled
        part = payload[0] if command == Command.INFER and payload else END
        if not part & ~END or not self.groups or self.groups[-1].complete:
            self._begin()
        self._join(command, payload)
        self.groups[-1].complete = bool(part & END)
        if part == END:
            self._shorten(self.groups[-1])
        return True

    def _begin(self) -> None:
        """Begin a new group."""
        if self.groups:
            self.groups[-1].complete = True
        self.groups.append(Group())

    def _join(self, command: int, payload: bytes) -> None:
        """Add a request to the newest group."""
        if len(payload) > self.max_payload:
            raise UsageError(
                f"{command_name(command)} request with {len(payload)} payload bytes; "
                f"at most {self.max_payload} fit"
            )
        request = Request(self.count, command, bytes(payload))
        self.groups[-1].requests.append(request)
        self.waiting.append(request)
        self.count += 1

    def _shorten(self, group: Group) -> Group:
        """Put requests of the length that pays best in place of one; return the first of their groups."""
        request = group.requests[0]
        best = self.flight.pace.best
        parts = divide(request.command, request.payload, best, self.config, self.images)
        if len(parts) == 1 or len(group.requests) > 1 or not group.complete:
            return group
        request.pieces = [Request(request.index, request.command, part, request.sends) for part in parts]
        groups = [Group([piece], complete=True, failures=group.failures) for piece in request.pieces]
        group.abandoned = True
        at = self.groups.index(group)
        self.groups.rotate(-at)
        self.groups.popleft()
        self.groups.extendleft(reversed(groups))
        self.groups.rotate(at)
        return groups[0]

    def _send(self) -> None:
        """Fill the window."""
        flight = self.flight
        frames = []
        while True:
            group = next((group for group in self.groups if group.to_send), None)
            if group is None:
                while self.groups and self.groups[0].done:
                    self.groups.popleft()
                if self._pull():
                    continue
                break
            if group.requests[group.attempt.sent].sends:
                group = self._shorten(group)
            request = group.requests[group.attempt.sent]
            body = HEADER_BYTES + len(request.payload) + CRC_BYTES
            size = body + body // 254 + 2
            if flight.size and flight.size + size > self.window + self._ahead():
                break
            frames.append(flight.transmit(group))
        flight.write(b"".join(frames))

    def _ahead(self) -> int:
        """Return the bytes that the device takes beyond the window: of images, with nothing between them."""
        if not self.images or any(request.command != Command.INFER for request in self.waiting):
            return 0
        return self.images.ahead

    def _probe(self, early: bool) -> None:
        """Nothing came: send the oldest unanswered request again, to see what was lost."""
        flight = self.flight
        flight.stats.timeouts += not early
        flight.quieten()
        group = next((group for group in self.groups if not group.done), None)
        if group is None:
            return
        if not early:
            flight.unheard(group)
            group.failures += 1
            self._check()
        group.restart()
        group = self._shorten(group)
        flight.write(DELIMITER + flight.transmit(group))

    def _check(self) -> None:
        for group in self.groups:
            if group.failures > self.retries:
                raise group.error or self._timeout(group)

    def _timeout(self, group: Group) -> LinkTimeoutError:
        unanswered = [request for request in group.requests if request.answer is None]
        name = command_name((unanswered or group.requests)[0].command)
        self.flight.ground()
        return LinkTimeoutError(
            f"no valid answer to {name} from {self.flight.transport.name} in {group.failures} tries of "
            f"{self.timeout:g} s ({self.flight.stats.damaged} damaged); "
            "check the baud rate, the cable and that the bitstream is loaded"
        )
