"""Runs images through a loaded program, and tells whether the device still holds it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, NotLoadedError
from ..isa.program import Program
from ..isa.protocol import KEY_BYTES, Command, DeviceInfo, Status
from ..link.pieces import ImageBytes
from ..link.session import Session
from .ahead import ahead
from .counters import LOOK, Watch, unpack_counters, watched
from .passes import Passes
from .progress import Callback, Progress
from .requests import filled, image_requests
from .upload import Lost, marked, remark

__all__ = ["Inference", "arm", "become", "holds", "lost"]

_SLOW_CLOCK_HZ = 1_000_000


def holds(session: Session, program: Program) -> bool:
    """Ask whether the device still holds a program that was loaded."""
    if (program.whole or program).later:
        return marked(session, program)  # its later passes leave the device disarmed
    info = session.identify()
    return info.armed and info.network_id == program.identifier


def arm(session: Session, program: Program) -> DeviceInfo:
    """Make a program that was written ready to run, and return what the device is then.

    Raises
    ------
    Lost
        The device does not hold it.
    """
    try:
        session.call(Command.ARM)
    except DeviceError as error:
        if error.status != Status.BAD_PROGRAM:
            raise
        raise Lost(program) from error
    info = session.identify()
    if info.network_id != program.identifier:
        raise Lost(program)
    return info


def become(session: Session, old: Program | None, new: Program) -> DeviceInfo:
    """Arm a program that was written, or that uses the weights of an old one, which the device holds.

    Raises
    ------
    Lost
        The device does not hold the old one, or lost its memories meanwhile; with the program that counts.
    """
    if old and not holds(session, old):
        raise Lost(old)
    if old and not remark(session, old, new):
        raise Lost(new)
    return arm(session, new)


def lost(program: Program, info: DeviceInfo) -> NotLoadedError:
    """Return the error that says what the device, which is `info` now, holds in place of a program."""
    # Half of it ours: what was written here after the loss, and claimed.
    if not info.armed or info.network_id[:KEY_BYTES] == program.identifier[:KEY_BYTES]:
        return NotLoadedError("the device has lost its network (power loss or reset?); load it again")
    return NotLoadedError(
        f"the device has lost its network (program {program.identifier.hex()}) and holds another one "
        f"({info.network_id.hex()}): the one in its bitstream, or one that somebody else loaded; "
        "load it again"
    )


class Inference:
    """Images on their way through a program that a device holds.

    Parameters
    ----------
    session : Session
    program : Program
    clock_hz : int
        Of the device; 0, if it does not know.
    progress : callable
        Called with a `Progress` where images are done.
    watch : Watch, optional
        Looks at the counters meanwhile, where results come with the images.
    """

    def __init__(
        self,
        session: Session,
        program: Program,
        clock_hz: int,
        progress: Callback,
        watch: Watch | None = None,
    ) -> None:
        self._session, self._program, self._progress = session, program, progress
        # What a device does not count, nobody looks at.
        self._watch = watch if program.config.counters else None
        # A full receive buffer may wait for everything that is in it.
        batch = program.cycles + 100 * len(program.layers)
        size = program.image_bytes * program.per_row
        waiting = program.config.fifo_bytes // size + 2 * program.config.geometry.rows
        self._timeout = session.timeout + 2 * waiting * batch / (clock_hz or _SLOW_CLOCK_HZ)

    def run(self, wire: NDArray[np.uint8]) -> bytes:
        """Return the result bytes of images, image after image.

        Parameters
        ----------
        wire : array of uint8, shape (n, image_bytes)
            As `pack_images` gives them.

        Raises
        ------
        Lost
            The device has lost the program.
        DeviceError
            It refuses the images, or answers with something else than their results.
        LinkError
            As for every request.
        """
        program, session = self._program, self._session
        if program.results_read:
            return Passes(session, program, self._timeout, self._progress).run(wire)
        expected: list[int] = []
        sent = filled(program, wire)
        requests = image_requests(program, sent, session.max_payload, expected)
        requests = watched(requests, expected, self._watch)
        row = program.per_row
        images, results = row * program.image_bytes, row * program.result_bytes
        cost = ImageBytes(images, results, program.filled_rows, ahead(program, session.max_payload))
        done, group, found = 0, b"", []
        for index, response in enumerate(session.stream(requests, timeout=self._timeout, images=cost)):
            count = expected[index]
            if count == LOOK:
                assert self._watch is not None
                self._watch.seen(unpack_counters(response))
                continue
            # An image's last rows may be ones that no kernel reads: its results come before its end.
            group += response
            if not count:
                continue
            if len(group) != count * program.result_bytes:
                raise DeviceError(
                    f"{count} images gave {len(group)} result bytes, not {count * program.result_bytes}"
                )
            done += count
            self._progress(Progress("infer", min(done, len(wire)), len(wire)))
            found.append(group)
            group = b""
        return b"".join(found)[: len(wire) * program.result_bytes]
