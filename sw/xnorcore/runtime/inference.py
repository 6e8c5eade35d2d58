"""Runs images through a loaded program, batch by batch, and tells whether the device still holds it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..errors import DeviceError, NotLoadedError
from ..isa.program import Program
from ..isa.protocol import KEY_BYTES, Command, DeviceInfo, Space, Status
from ..link.pieces import ImageBytes
from ..link.session import Session
from .counters import LOOK, Watch, unpack_counters, watched
from .requests import image_requests, read_requests
from .upload import Callback, Progress, claim, marked, without_mark, write

__all__ = ["Inference", "Lost", "arm", "holds", "lost"]

_SLOW_CLOCK_HZ = 1_000_000


class Lost(Exception):
    """The device has lost the program; nobody outside this package sees it."""


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
        raise Lost from error
    info = session.identify()
    if info.network_id != program.identifier:
        raise Lost
    return info


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
        waiting = program.config.fifo_bytes // program.image_bytes + 2 * program.config.geometry.rows
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
        if self._program.results_read:
            return b"".join(self._batches(wire))
        return b"".join(self._stream(wire, len(wire), self._program.result_bytes))

    def _stream(self, wire: NDArray[np.uint8], total: int, size: int) -> Iterator[bytes]:
        """Send images, and give the results that come of them, `size` bytes each."""
        program, session = self._program, self._session
        done, group = 0, b""
        expected: list[int] = []
        watch = None if program.results_read else self._watch
        requests = watched(image_requests(program, wire, session.max_payload, expected), expected, watch)
        # Where results are read from memory, a batch stays together.
        cost = None if program.results_read else ImageBytes(program.image_bytes, size, program.batch)
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
            if len(group) != count * size:
                raise DeviceError(f"{count} images gave {len(group)} result bytes, not {count * size}")
            done += count
            if len(wire) == total:
                self._progress(Progress("infer", done, total))
            yield group
            group = b""

    def _batches(self, wire: NDArray[np.uint8]) -> Iterator[bytes]:
        """Run batch after batch, and read the results; each pass of a batch brings its weights along."""
        program, session = self._program, self._session
        if not marked(session, program):
            raise Lost  # before another program's weights are overwritten
        for first in range(0, len(wire), program.batch):
            part = wire[first : first + program.batch]
            if (program.whole or program).later:
                # The first pass's program is there already only for the first batch after `load`.
                blocks = (block for block in program.blocks if block.space != Space.ACTIVATIONS)
                write(session, program, without_mark(blocks))
                claim(session, program)
                session.call(Command.ARM)
            for _ in self._stream(part, len(wire) + 1, 1):
                pass
            for further in program.later:
                write(session, program, further.blocks)
                for entry in further.entries:
                    session.call(Command.RUN, entry.to_bytes(2, "little"), timeout=self._timeout)
            read = [self._results(row) for row in range(len(part))]
            if not marked(session, program):
                raise Lost
            yield from read
            self._progress(Progress("infer", first + len(part), len(wire)))

    def _results(self, row: int) -> bytes:
        """Read the results of the image in a row from activation memory."""
        config, results = self._program.config, self._program.results
        requests = read_requests(config, Space.ACTIVATIONS, row, results.base, results.words)
        data = b"".join(self._session.stream(requests))
        if len(data) != results.words * config.geometry.width // 8:
            raise DeviceError(f"READ of {results.words} words gave {len(data)} bytes")
        words = np.frombuffer(data, np.uint8).reshape(results.words, -1)
        return words[:, : results.word_bytes].tobytes()
