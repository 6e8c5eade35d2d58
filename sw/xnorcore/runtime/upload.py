"""Writes a program into a device, and checks what has arrived there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from ..errors import VerifyError
from ..isa.layout import HEADER
from ..isa.program import Block, Program
from ..isa.protocol import Space
from ..link.session import Session
from .readback import Readback, read_requests, write_requests

__all__ = ["Callback", "Progress", "marked", "remark", "upload", "without_mark", "write"]


@dataclass(frozen=True)
class Progress:
    """What a progress callback is told.

    Attributes
    ----------
    stage : str
        ``"build"``, ``"load"``, ``"verify"`` or ``"infer"``.
    done, total : int
        Bytes (load, verify) or images (infer); both 0 for messages.
    message : str
        Text, for stages without a count.
    """

    stage: str
    done: int = 0
    total: int = 0
    message: str = ""


Callback = Callable[[Progress], None]


def write(
    session: Session,
    program: Program,
    blocks: Iterable[Block],
    advance: Callable[[int], None] | None = None,
) -> None:
    """Write `blocks`; `advance` is called with the number of bytes that arrived since the last call."""
    sizes: list[int] = []

    def requests() -> Iterator[tuple[int, bytes]]:
        for block in blocks:
            for request in write_requests(program.config, block, session.max_payload):
                sizes.append(len(request[1]) - 4)
                yield request

    for index, _ in enumerate(session.stream(requests())):
        if advance:
            advance(sizes[index])


def mark(session: Session, program: Program) -> None:
    """Write the program's identifier into a device that has none, and disarm it.

    A device that is switched off and on forgets it with everything else. Nothing writes it again until the
    next `mark`, so that `marked` tells whether all that was written since is still there.
    """
    at = HEADER.fields["id_low"].word
    write(session, program, [Block(Space.PROGRAM, 0, 0, bytes(4 * at) + program.identifier)])


def marked(session: Session, program: Program) -> bool:
    """Return whether the device has kept its memories since `mark`."""
    at = HEADER.fields["id_low"].word
    return (
        b"".join(session.stream(read_requests(program.config, Space.PROGRAM, 0, at, 2))) == program.identifier
    )


def remark(session: Session, old: Program, new: Program) -> None:
    """Change program memory, and the mark, from one program to another that uses the same weights.

    Raises
    ------
    VerifyError
        The device has lost its memories since the old mark was written.
    """
    blocks = [block for block in new.blocks if block.space == Space.PROGRAM]
    write(session, new, without_mark(blocks))
    if not marked(session, old):
        raise VerifyError("the device lost its memories (reset?); load again")
    write(session, new, [Block(Space.PROGRAM, 0, HEADER.fields["id_low"].word, new.identifier)])


def without_mark(blocks: Iterable[Block]) -> Iterator[Block]:
    """Leave the words of the mark out."""
    at = HEADER.fields["id_low"].word
    for block in blocks:
        if (
            block.space != Space.PROGRAM
            or block.address > at + 1
            or block.address + len(block.data) // 4 <= at
        ):
            yield block
            continue
        before, after = 4 * (at - block.address), 4 * (at + 2 - block.address)
        for address, data in ((block.address, block.data[: max(before, 0)]), (at + 2, block.data[after:])):
            if data:
                yield Block(block.space, block.bank, address, data)


def upload(session: Session, program: Program, verify: bool, progress: Callback) -> None:
    """Write all of a program's first pass; with `verify`, read everything back.

    Raises
    ------
    VerifyError
        The device holds something else than what was written.
    """
    total = sum(len(block.data) for block in program.blocks)
    counts = {"load": 0, "verify": 0}

    def advance(stage: str, count: int) -> None:
        counts[stage] = min(counts[stage] + count, total)
        progress(Progress(stage, counts[stage], total))

    check = Readback(session, program.config, lambda count: advance("verify", count))

    def send(*spaces: Space) -> list[Block]:
        blocks = [block for block in program.blocks if block.space in spaces]
        write(session, program, without_mark(blocks), lambda count: advance("load", count))
        return blocks

    mark(session, program)
    advance("load", len(program.identifier))
    # Checking weights and thresholds uses the other memories, which are therefore written last.
    weights = send(Space.WEIGHTS)
    if verify:
        check.weights(weights)
    thresholds = send(Space.THRESHOLDS)
    if verify:
        check.thresholds(thresholds)
    for block in send(Space.ACTIVATIONS, Space.PROGRAM):
        if verify:
            check.plain(block)
    if not marked(session, program):
        raise VerifyError("the device lost its memories while it was loaded (reset?); load again")
