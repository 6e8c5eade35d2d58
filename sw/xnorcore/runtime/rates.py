"""What a program reaches on a board's device: computed from its cycles and the driver's requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..boards import BoardDevice
from ..compiler.compile import compile_network
from ..compiler.group import largest
from ..isa.program import Program
from ..isa.protocol import CRC_BYTES, HEADER_BYTES
from ..link.session import Session
from ..link.transport import BITS_PER_BYTE
from .passes import Passes
from .requests import image_requests
from .stages import Stage, stages
from .timed import TimedDevice
from .upload import Progress

__all__ = ["CALL", "Rates", "of_use", "rates", "wire_bytes"]

CALL = 1000
"""Images of a call in passes, if nothing else is said."""

_EXTRA = 3
"""Bytes of a frame on the wire beyond its body: COBS code, delimiter, code of a second block."""
_STATUS = 1
_FEW = 8
"""Batches after which one takes as long as the next."""
_TIMEOUT = 1e9


@dataclass(frozen=True)
class Rates:
    """What one network reaches on one device.

    Attributes
    ----------
    device_images_per_s : float
        Of the array alone, by `Program.cycles`; all its rows have images.
    wire_images_per_s : float
        Of the wire alone, at its true rate, in the slower direction. Weights that cross it are counted.
    images_per_s : float
        From end to end, with wire and array at work at the same time as far as they can.
    latency_us : float
        Of one image, from its first bit on the wire to the last bit of its result; in passes, of a batch.
    """

    device_images_per_s: float
    wire_images_per_s: float
    images_per_s: float
    latency_us: float


def of_use(program: Program, device: BoardDevice) -> Program:
    """Return the program for as many images per row as are of use on a board, over its own UART."""
    return largest(program, BITS_PER_BYTE * device.clocks_per_bit[device.baud])


def rates(program: Program, device: BoardDevice, images: int = CALL) -> Rates:
    """Return what a program reaches on a board's device, over its own UART.

    Parameters
    ----------
    program : Program
        For `device`'s configuration.
    device : BoardDevice
    images : int
        Of a call, where the host reads the results: in passes, weights cross the wire once for all of them.
        Where they come from a store, as many are worked on at once as are of use
        (`xnorcore.compiler.group`). Else any number reaches the same, but for the beginning and the end.
    """
    program = of_use(program, device)
    byte_s = BITS_PER_BYTE * device.clocks_per_bit[device.baud] / device.clock_hz
    array_s = program.cycles / device.clock_hz / program.batch
    if program.results_read:
        call = _Read(program, device, byte_s)
        call_s, wire_s = call.seconds(images)
        return Rates(1 / array_s, images / wire_s, images / call_s, _latency(program, device, byte_s) * 1e6)
    wire_s = wire_bytes(program) * byte_s
    one_s = _latency(program, device, byte_s)
    return Rates(1 / array_s, 1 / wire_s, 1 / max(array_s, wire_s), one_s * 1e6)


def _latency(program: Program, device: BoardDevice, byte_s: float) -> float:
    """Return the seconds of a call of one image; where the host reads its results, of one for each row."""
    single = program.single or program
    if single.results_read:
        return _Read(single, device, byte_s).seconds(single.batch)[0]
    alone = compile_network(program.network, program.config, at_once=1)
    return sum(_image_bytes(alone, 1)) * byte_s + alone.latency / device.clock_hz


def wire_bytes(program: Program) -> float:
    """Return the bytes that an image takes on the wire, frames counted, in the slower direction.

    Parameters
    ----------
    program : Program
        In one pass; many images come one after the other.
    """
    step = _step(program)
    return max(_image_bytes(program, step)) / step


def _frames(payloads: Iterable[int]) -> int:
    """Return the bytes on the wire of frames with such payloads."""
    return sum(size + HEADER_BYTES + CRC_BYTES + _EXTRA for size in payloads)


def _room(program: Program) -> int:
    return program.config.max_frame - HEADER_BYTES - CRC_BYTES


def _step(program: Program) -> int:
    """Return the images after which the pattern of requests begins again."""
    return max(_room(program) // program.image_bytes, 1) * program.batch


def _image_bytes(program: Program, images: int) -> tuple[int, int]:
    """Return the bytes to the device, and back, for so many images."""
    expected: list[int] = []
    wire = np.zeros((images, program.image_bytes), np.uint8)
    requests = list(image_requests(program, wire, _room(program), expected))
    down = _frames(len(payload) for _, payload in requests)
    return down, _frames(count * program.result_bytes + _STATUS for count in expected)


class _Read:
    """A call of which the host reads the results, on a device that only takes its time.

    A few batches go through all passes. Each further one takes what the last of them took.

    Parameters
    ----------
    program : Program
    device : BoardDevice
    byte_s : float
    """

    def __init__(self, program: Program, device: BoardDevice, byte_s: float) -> None:
        self.program, self.clock_hz, self.byte_s = program, device.clock_hz, byte_s

    def seconds(self, images: int) -> tuple[float, float]:
        """Return the seconds that a call takes, and those that it takes the wire in its busier direction."""
        batches = -(-images // self.program.batch)
        plan, few = stages(self.program, batches), min(batches, _FEW)
        began, ended, told = self._run(plan, few)
        whole = ended - began
        if few > 1:
            first, last, _ = self._run(plan, 1)
            further = (whole - (last - first)) / (few - 1)
            # Requests are sent ahead of their turn: time alone goes on evenly with what has been done.
            further[0] = sum(times[-1] - times[-2] for times in told.values())
            whole += (images / self.program.batch - few) * further
        return float(whole[0]), float(max(whole[1:])) * self.byte_s

    def _run(
        self, plan: Sequence[Stage], batches: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], dict[str, list[float]]]:
        """Return time, bytes sent and received before and after some batches, and when each was done."""
        program = self.program
        session = Session(TimedDevice(program, self.clock_hz, self.byte_s))
        session.synchronise()
        told: dict[str, list[float]] = {}

        def now() -> NDArray[np.float64]:
            stats = session.stats
            return np.array([session.transport.now(), stats.bytes_sent, stats.bytes_received])

        def tell(progress: Progress) -> None:
            told.setdefault(progress.part, []).append(session.transport.now())

        images = np.full((batches * program.batch, program.image_bytes), 0x55, np.uint8)
        began = now()
        Passes(session, program, _TIMEOUT, tell, plan).run(images)
        return began, now(), told
