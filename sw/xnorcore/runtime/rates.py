"""What a program reaches on a board's device: computed from its cycles and the driver's requests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..boards import BoardDevice
from ..compiler.compile import compile_network
from ..isa.program import Program
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, Space
from ..link.transport import BITS_PER_BYTE
from .requests import image_requests, read_requests, write_requests

__all__ = ["Rates", "rates"]

_EXTRA = 3
"""Bytes of a frame on the wire beyond its body: COBS code, delimiter, code of a second block."""
_STATUS = 1


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
        From end to end. In passes, wire and array wait for each other; else they overlap.
    latency_us : float
        Of one image, from its first bit on the wire to the last bit of its result; in passes, of a batch.
    """

    device_images_per_s: float
    wire_images_per_s: float
    images_per_s: float
    latency_us: float


def rates(program: Program, device: BoardDevice) -> Rates:
    """Return what a program reaches on a board's device, over its own UART.

    Parameters
    ----------
    program : Program
        For `device`'s configuration.
    device : BoardDevice
    """
    byte_s = BITS_PER_BYTE * device.clocks_per_bit[device.baud] / device.clock_hz
    array_s = program.cycles / device.clock_hz / program.batch
    if program.passes > 1:
        down, up = _pass_bytes(program)
        wire_s = max(down, up) * byte_s / program.batch
        batch_s = program.batch * (wire_s + array_s)
        return Rates(1 / array_s, 1 / wire_s, program.batch / batch_s, batch_s * 1e6)
    images = _step(program)
    down, up = _image_bytes(program, images)
    wire_s = max(down, up) * byte_s / images
    alone = compile_network(program.network, program.config, at_once=1)
    one_s = sum(_image_bytes(alone, 1)) * byte_s + alone.latency / device.clock_hz
    return Rates(1 / array_s, 1 / wire_s, 1 / max(array_s, wire_s), one_s * 1e6)


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


def _pass_bytes(program: Program) -> tuple[int, int]:
    """Return the bytes to the device, and back, for a batch in passes."""
    config = program.config
    blocks = [block for block in program.blocks if block.space != Space.ACTIVATIONS]
    blocks += [block for part in program.later for block in part.blocks]
    down = [len(payload) for block in blocks for _, payload in write_requests(config, block, _room(program))]
    up = [_STATUS] * len(down)
    entries = sum(len(part.entries) for part in program.later)
    down += [2] * entries
    up += [_STATUS] * entries
    results = program.results
    for row in range(program.batch):
        for _, payload in read_requests(config, Space.ACTIVATIONS, row, results.base, results.words):
            down.append(len(payload))
            up.append(int.from_bytes(payload[4:], "little") * config.geometry.width // 8 + _STATUS)
    images = _image_bytes(program, program.batch)
    return _frames(down) + images[0], _frames(up) + images[1]
