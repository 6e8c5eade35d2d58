"""A device that interprets programs in place of running gateware, behind the driver's own link.

``machine:rows=2,columns=16`` opens it: the same driver, requests and answers as on a board, in plain NumPy
and without timing. It has no counters.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from ..errors import CompileError
from ..isa.blocks import Block, word_bytes
from ..isa.device import DeviceConfig
from ..isa.kept import kept_requests
from ..isa.machine import Machine
from ..isa.protocol import KEY_BYTES, STORE_BANK, Command, DeviceInfo, Space, Status
from ..isa.regions import flash_words
from ..link.frames import Splitter, decode_request, encode_response
from ..link.pieces import END
from ..link.transport import Progress

__all__ = ["InterpretedDevice", "open_machine"]

_MAX_REQUEST = 4096
_Answer = tuple[bytes, Status]


class _Refused(Exception):
    """A request is answered with this status."""

    def __init__(self, status: Status) -> None:
        self.status = status


class InterpretedDevice:
    """A `Transport` whose other end is a `Machine`. Its time goes on by a millisecond a request.

    Parameters
    ----------
    config : DeviceConfig
        Whose counters are left out.
    name : str
    """

    def __init__(self, config: DeviceConfig, name: str = "machine:") -> None:
        self.name = name
        self.config = replace(config, counters=0)
        self.machine = Machine(self.config)
        self._splitter = Splitter(_MAX_REQUEST)
        self._requests: deque[tuple[int, int, bytes]] = deque()
        self._time = 0.0
        self._armed: bytes | None = None
        self._group: bytes | None = None
        self._next_part, self._answered, self._parity = 0, 0, 0

    # What the driver sees.

    def write(self, data: bytes) -> None:
        """Take requests."""
        self._requests += filter(None, map(decode_request, self._splitter.feed(data)))

    def read(self, timeout: float) -> bytes:
        """Execute the oldest request and return its answer."""
        if not self._requests:
            self._time += timeout
            return b""
        command, tag, payload = self._requests.popleft()
        self._time += 0.001
        try:
            answer, status = self._execute(command, payload)
        except _Refused as refusal:
            answer, status = b"", refusal.status
            self._group = None
        except CompileError:
            answer, status = b"", Status.BAD_PROGRAM
        return encode_response(command, tag, answer, status)

    def now(self) -> float:
        """Return the device's own time in seconds."""
        return self._time

    def discard(self) -> None:
        """Forget requests that wait: their answers would have arrived by now."""
        self._requests.clear()

    def restart(self) -> None:
        """Switch it off and on: it forgets all but its flash, and starts with what that keeps."""
        flash = self.machine.memories.flash
        self.machine = Machine(self.config)
        self._splitter, self._armed, self._group = Splitter(_MAX_REQUEST), None, None
        self._requests.clear()
        if not flash_words(self.config):
            return
        self.machine.memories.flash[:] = flash
        for command, payload in kept_requests(flash, self.config):
            try:
                self._execute(command, payload)
            except (_Refused, CompileError):
                continue  # as the device, whose answers nobody hears

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    # What the device does.

    def _execute(self, command: int, payload: bytes) -> _Answer:
        if command == Command.INFER:
            return self._infer(payload), Status.OK
        self._group = None
        self.machine.rewind()
        if command == Command.INFO and not payload:
            info = DeviceInfo(self.config, 0, build_id=self.config.digest())
            if self._armed is not None:
                info = replace(info, armed=True, network_id=self._armed)
            return info.pack(), Status.OK
        if command == Command.WRITE:
            return self._write(payload)
        if command == Command.READ:
            return self._read(payload), Status.OK
        if command == Command.ARM and not payload:
            return self._arm()
        if command == Command.RUN:
            return self._run(payload)
        if command == Command.RESET and not payload:
            self._armed = None
            return b"", Status.OK
        known = command in (Command.INFO, Command.ARM, Command.RESET)
        raise _Refused(Status.BAD_LENGTH if known else Status.BAD_COMMAND)

    def _place(self, payload: bytes) -> tuple[Space, int, int]:
        config, g = self.config, self.config.geometry
        if payload[0] > max(Space):
            raise _Refused(Status.BAD_ADDRESS)
        space, bank, address = Space(payload[0]), payload[1], int.from_bytes(payload[2:4], "little")
        store, flash = (
            (-(-words // STORE_BANK), min(words, STORE_BANK))
            for words in (config.store_words, flash_words(config))
        )
        banks, depth = {
            Space.PROGRAM: (1, config.program_depth),
            Space.THRESHOLDS: (g.columns * (2 if config.result_lanes else 1), config.threshold_depth),
            Space.WEIGHTS: (g.columns, config.weight_depth),
            Space.ACTIVATIONS: (g.rows, config.act_depth),
            Space.STORE: store,
            Space.CHIP: flash,
            Space.KEPT: flash if config.kept_words else (0, 0),
        }[space]
        if bank >= banks or address >= depth:
            raise _Refused(Status.BAD_ADDRESS)
        return space, bank, depth - address

    def _write(self, payload: bytes) -> _Answer:
        if len(payload) < 4:
            raise _Refused(Status.BAD_LENGTH)
        space, bank, room = self._place(payload)
        data, size = payload[4:], word_bytes(self.config, space)
        if space != Space.ACTIVATIONS:
            self._armed = None
        whole = len(data) // size
        kept = data[: min(whole, room) * size]
        self.machine.memories.write(Block(space, bank, int.from_bytes(payload[2:4], "little"), kept))
        if whole > room:
            raise _Refused(Status.BAD_ADDRESS)
        if len(data) % size:
            raise _Refused(Status.BAD_LENGTH)
        return b"", Status.OK

    def _read(self, payload: bytes) -> bytes:
        if len(payload) != 6:
            raise _Refused(Status.BAD_LENGTH)
        space, bank, room = self._place(payload)
        address, count = (int.from_bytes(payload[at : at + 2], "little") for at in (2, 4))
        if space in (Space.WEIGHTS, Space.THRESHOLDS) or count > room:
            raise _Refused(Status.BAD_ADDRESS)
        return self.machine.memories.read(space, bank, address, count)

    def _arm(self) -> _Answer:
        self._armed = None
        header = self.machine.header
        self._armed = b"".join(header[name].to_bytes(4, "little") for name in ("id_low", "id_high"))
        self._parity = 0
        return b"", Status.OK

    def _run(self, payload: bytes) -> _Answer:
        if len(payload) != 2:
            raise _Refused(Status.BAD_LENGTH)
        entry = int.from_bytes(payload, "little")
        if entry >= self.config.program_depth:
            raise _Refused(Status.BAD_ADDRESS)
        self.machine.run(entry)
        return b"", Status.OK

    def _infer(self, payload: bytes) -> bytes:
        if not payload:
            raise _Refused(Status.BAD_LENGTH)
        part, end = payload[0] & ~END, bool(payload[0] & END)
        if self._armed is None:
            raise _Refused(Status.NOT_ARMED)
        data = payload[1:]
        if part == 0:
            if len(data) < KEY_BYTES:
                raise _Refused(Status.BAD_LENGTH)
            if data[:KEY_BYTES] != self._armed[:KEY_BYTES]:
                raise _Refused(Status.WRONG_PROGRAM)
            data, self._group = data[KEY_BYTES:], b""
        elif self._group is None or part != self._next_part:
            raise _Refused(Status.SEQUENCE)
        header = self.machine.header
        size = header["image_bytes"]
        batch = 1 if header["spread"] else self.config.geometry.rows
        waiting = (self._group or b"") + data
        if end and len(waiting) % size:
            raise _Refused(Status.BAD_LENGTH)
        count = len(waiting) // size if end else len(waiting) // size // batch * batch
        images = np.frombuffer(waiting[: count * size], np.uint8).reshape(count, size)
        answers = []
        for first in range(0, count, batch):
            sent, _ = self.machine.infer(images[first : first + batch], self._parity)
            self._parity ^= 1
            answers.append(sent)
        self._group = None if end else waiting[count * size :]
        self._next_part = part + 1
        return b"".join(answers)


def open_machine(rest: str, *, progress: Progress | None = None) -> InterpretedDevice:
    """Open what ``machine:`` names: options of `DeviceConfig.parse`, as in ``machine:rows=2,columns=16``.

    ``board=NAME`` is a board's configuration, of which the other options change a part.

    Raises
    ------
    UsageError
        If an option is no ``NAME=N``, or there is no such board.
    GeometryError
        If an option is unknown or a value illegal.
    """
    from ..boards import board_config
    from ..errors import UsageError

    board: str | None = None
    options: dict[str, int] = {}
    for item in filter(None, rest.split(",")):
        name, equals, text = item.partition("=")
        if name == "board" and equals:
            board = text
            continue
        if not equals or not (text.isascii() and text.isdecimal() and len(text) < 19):
            raise UsageError(f"machine: option {item!r} is not NAME=N, for instance rows=2")
        options[name] = int(text)
    return InterpretedDevice(board_config(board, options), f"machine:{rest}")
