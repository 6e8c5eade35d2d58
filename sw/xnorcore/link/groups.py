"""Requests and their answers, and the groups of them that are sent again together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import DeviceError
from ..isa.protocol import Command, Status

__all__ = ["Attempt", "Chain", "Group", "Request", "command_name", "refusal"]

_HINTS = {
    Status.BAD_COMMAND: "this device does not know the command; rebuild its bitstream",
    Status.BAD_LENGTH: "the payload has a length that the command does not take",
    Status.BAD_ADDRESS: "the space, bank or address is outside the device's memories",
    Status.NOT_ARMED: "load a network first",
    Status.SEQUENCE: "the parts of an image group came out of order",
    Status.BAD_PROGRAM: "the device holds no valid program, or its store is damaged; load the network again",
    Status.WRONG_PROGRAM: "the device holds another network; load the network again",
}


@dataclass(frozen=True)
class Chain:
    """Requests each of which needs what those before it did: a group, like the parts of images.

    Attributes
    ----------
    requests : sequence of (int, bytes)
        Command and payload. Repeating all of them, from the first one on, must do no harm.
    """

    requests: Sequence[tuple[int, bytes]]


@dataclass
class Request:
    """One request of a stream, how often it went out, and its answer or refusal.

    Attributes
    ----------
    pieces : list of Request
        Shorter requests that go out in place of it.
    """

    index: int
    command: int
    payload: bytes
    sends: int = 0
    answer: bytes | DeviceError | None = None
    pieces: list[Request] = field(default_factory=list)

    @property
    def result(self) -> bytes | DeviceError | None:
        """The answer or refusal, joined from those of the pieces if there are any; None before they came."""
        if self.answer is not None or not self.pieces:
            return self.answer
        results = [piece.result for piece in self.pieces]
        answers: list[bytes] = []
        for result in results:
            if not isinstance(result, bytes):
                return result
            answers.append(result)
        self.answer = b"".join(answers)
        return self.answer


@dataclass(eq=False)
class Attempt:
    """One try to get a group across: `sent` of its requests are out, `confirmed` of them answered."""

    sent: int = 0
    confirmed: int = 0


@dataclass(eq=False)
class Group:
    """Requests that are sent again together: parts of images, or a chain; all others stand alone.

    Attributes
    ----------
    requests : list of Request
    attempt : Attempt
        The latest one.
    complete : bool
        No more requests will join.
    abandoned : bool
        Nobody waits for the answers any more.
    failures : int
        Repetitions since there was progress.
    error : DeviceError or None
        Refusal that may be due to a loss.
    """

    requests: list[Request] = field(default_factory=list)
    attempt: Attempt = field(default_factory=Attempt)
    complete: bool = False
    abandoned: bool = False
    failures: int = 0
    error: DeviceError | None = None

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do for it."""
        return self.abandoned or (
            self.complete and all(request.answer is not None for request in self.requests)
        )

    @property
    def to_send(self) -> bool:
        """Whether a request of it can go out."""
        return self.attempt.sent < len(self.requests) and not self.done

    @property
    def half_sent(self) -> bool:
        """Whether the latest attempt is under way, so that nothing may come between its parts."""
        return self.attempt.sent > 0 and not self.done and (self.to_send or not self.complete)

    def restart(self) -> None:
        """Begin a new attempt."""
        self.attempt = Attempt()


def command_name(command: int) -> str:
    """Return what messages call a command."""
    try:
        return Command(command).name
    except ValueError:
        return f"command {command}"


def refusal(request: Request, status: int) -> DeviceError:
    """Return the error for a status other than OK."""
    try:
        name, hint = Status(status).name, _HINTS[Status(status)]
    except ValueError:
        name, hint = f"status {status}", "this driver does not know that status"
    text = f"the device refused {command_name(request.command)} (request {request.index}): {name}; {hint}"
    return DeviceError(text, status, request.index)
