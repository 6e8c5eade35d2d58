"""Writes a program into a device, and checks what has arrived there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ..compiler.group import variant
from ..errors import DeviceError, VerifyError
from ..isa.kept import check_kept
from ..isa.layout import HEADER
from ..isa.program import Block, Program
from ..isa.protocol import DeviceInfo, Space
from ..isa.stores import FLASHES
from ..link.session import Session
from .flashchip import check_flash
from .flashwriter import FlashWriter
from .progress import Callback, Progress
from .readback import Readback
from .requests import erase_requests, read_requests, write_requests

__all__ = [
    "Callback", "Lost", "Progress", "claim", "is_loaded", "marked", "remark", "upload", "without_mark",
    "write",
]  # fmt: skip


class Lost(Exception):
    """The device has lost the program; nobody outside this package sees it."""


def write(
    session: Session,
    program: Program,
    blocks: Iterable[Block],
    advance: Callable[[int], None] | None = None,
) -> None:
    """Write `blocks`; `advance` is called with the number of bytes that arrived since the last call.

    Those of a store in flash are each in sectors of their own, which are erased before.
    """
    blocks = list(blocks)
    for block in blocks:
        for _ in session.stream(erase_requests(program.config, block)):
            pass
    sizes: list[int] = []

    def requests() -> Iterator[tuple[int, bytes]]:
        for block in blocks:
            for request in write_requests(program.config, block, session.max_payload):
                sizes.append(len(request[1]) - 4)
                yield request

    for index, _ in enumerate(session.stream(requests())):
        if advance:
            advance(sizes[index])


_MARK = HEADER.fields["id_low"].word


def mark(session: Session, program: Program) -> None:
    """Write the program's identifier into a device that has none, and disarm it.

    A device that is switched off and on forgets it with everything else, or finds that of its baked program,
    which is another one. Nothing writes the mark's second word again until the next `mark`, so that `marked`
    tells whether all that was written since is still there.
    """
    write(session, program, [Block(Space.PROGRAM, 0, 0, bytes(4 * _MARK) + program.identifier)])


def marked(session: Session, program: Program) -> bool:
    """Return whether the device has kept its memories since `mark`."""
    return _read_mark(session, program) == program.identifier


def claim(session: Session, program: Program) -> None:
    """Write the first word of the mark: from now on, what is armed is no other program.

    Whoever changes weights without `mark` does so before ARM. On a device that has become another's in the
    meantime, the mark is then nobody's, and not still that of a program whose weights are gone.
    """
    write(session, program, [Block(Space.PROGRAM, 0, _MARK, program.identifier[:4])])


def remark(session: Session, old: Program, new: Program) -> bool:
    """Change program memory, and the mark, from one program to another that uses the same weights.

    The words of the mark change one after the other, so that each tells of a loss while the other is new.

    Returns
    -------
    bool
        False if the device has lost its memories since the old mark was written. A loss at the very end
        shows only in the identifier of what is armed.
    """
    claim(session, new)
    # Of the store only what it begins with may differ: its length. Lanes that no image reaches may be used.
    blocks = [block for block in new.blocks if block.space in (Space.ACTIVATIONS, Space.PROGRAM)]
    first, length = ([block for block in one.blocks if _begins(block)] for one in (old, new))
    write(session, new, without_mark([*(length if length != first else ()), *blocks]))
    if _read_mark(session, new) != new.identifier[:4] + old.identifier[4:]:
        return False
    write(session, new, [Block(Space.PROGRAM, 0, _MARK + 1, new.identifier[4:])])
    return True


def _begins(block: Block) -> bool:
    return (block.space, block.bank, block.address) == (Space.STORE, 0, 0)


def _read_mark(session: Session, program: Program) -> bytes:
    return b"".join(session.stream(read_requests(program.config, Space.PROGRAM, 0, _MARK, 2)))


def without_mark(blocks: Iterable[Block]) -> Iterator[Block]:
    """Leave the words of the mark out."""
    at = _MARK
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


def is_loaded(session: Session, info: DeviceInfo, program: Program, keep: bool) -> bool:
    """Return whether a device, which is `info` now, holds a program, for any number of images per row.

    With `keep`, also without power.

    Raises
    ------
    UsageError, CapacityError
        It cannot keep that.
    """
    if keep:
        check_kept(program)
    held = info.armed and variant(program, info.network_id) is not None
    return held and (not keep or FlashWriter(session, program, keep, lambda progress: None).there())


def upload(
    session: Session,
    program: Program,
    verify: bool,
    progress: Callback,
    *,
    keep: bool = False,
    force: bool = False,
) -> None:
    """Write all of a program's first pass; with `verify`, read everything back.

    Parameters
    ----------
    session : Session
    program : Program
    verify : bool
        What goes into a flash is always read back.
    progress : callable
    keep : bool
        The flash holds it so that the device starts with it.
    force : bool
        Look at all of a store in flash, although it says that it holds this program.

    Raises
    ------
    VerifyError
        The device holds something else than what was written.
    WrongFlashError
        Its store is in a flash that cannot be used.
    """
    if keep or (program.streams and program.config.store_kind in FLASHES):
        check_flash(session, program.config)
        FlashWriter(session, program, keep, progress).write(force)
    mark(session, program)
    try:
        _upload(session, program, verify, progress)
        kept = marked(session, program)
    except (DeviceError, VerifyError):
        kept = marked(session, program)
        if kept:
            raise
    if not kept:
        raise VerifyError("the device lost its memories while it was loaded (reset?); load again")


def _upload(session: Session, program: Program, verify: bool, progress: Callback) -> None:
    written = program.blocks
    if program.config.store_kind in FLASHES:
        written = tuple(block for block in written if block.space != Space.STORE)
    total = sum(len(block.data) for block in written)
    counts = {"load": 0, "verify": 0}

    def advance(stage: str, count: int) -> None:
        counts[stage] = min(counts[stage] + count, total)
        progress(Progress(stage, counts[stage], total))

    check = Readback(session, program.config, lambda count: advance("verify", count))

    def send(*spaces: Space) -> list[Block]:
        blocks = [block for block in written if block.space in spaces]
        write(session, program, without_mark(blocks), lambda count: advance("load", count))
        return blocks

    advance("load", len(program.identifier))
    # Checking weights and thresholds uses the other memories, which are therefore written last.
    weights = send(Space.WEIGHTS)
    if verify and weights:
        check.weights(weights)
    thresholds = send(Space.THRESHOLDS)
    # Words of the results unit are not read back: what it makes of sums is checked, as all results are.
    compared = [block for block in thresholds if block.bank < program.config.geometry.columns]
    if verify and compared:
        check.thresholds(compared)
    for block in send(Space.STORE, Space.ACTIVATIONS, Space.PROGRAM):
        if verify:
            check.plain(block)
