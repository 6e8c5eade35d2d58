"""What `rates` does not exceed, in a small part of its time: for a search among many devices."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..boards import BoardDevice
from ..isa.blocks import Block
from ..isa.program import Program
from ..isa.protocol import CRC_BYTES, HEADER_BYTES, Space
from ..link.transport import BITS_PER_BYTE
from .rates import CALL, Rates, of_use, wire_bytes
from .requests import image_requests, read_requests, write_requests
from .stages import Stage, stages

__all__ = ["most_rates"]

_LEAST = HEADER_BYTES + CRC_BYTES + 2
"""Bytes of a frame beside its payload: header, checksum, a COBS code, the delimiter."""
_ANSWER = _LEAST + 1
"""With the status."""


def most_rates(program: Program, device: BoardDevice, images: int = CALL) -> Rates:
    """Return rates that those of `rates` do not exceed; the latency is 0.

    Where results come with the images they are the same ones. Else nothing waits but for the wire or the
    array, frames are as short as they may be, and a batch's answers are no later than its last word.

    Parameters
    ----------
    program, device, images
        As of `rates`.
    """
    program = of_use(program, device)
    byte_s = BITS_PER_BYTE * device.clocks_per_bit[device.baud] / device.clock_hz
    array_s = program.cycles / device.clock_hz / program.batch
    if not program.results_read:
        wire_s = wire_bytes(program) * byte_s
        return Rates(1 / array_s, 1 / wire_s, 1 / max(array_s, wire_s), 0)
    batches = images / program.batch
    infer, *runs = (cycles.active / device.clock_hz for cycles in program.by_itself)
    run_s = sum(runs) / max(len(runs), 1)
    wire_s = call_s = 0.0
    for stage in stages(program, -(-images // program.batch)):
        once, down, answers = _bytes(program, stage)
        if program.passes == 1:
            once = 0  # its weights stay on the device
        if stage.repeated:
            once, down = 0, down + once
        entries = sum(len(program.later[number - 1].entries) for number in stage.passes if number)
        computed = entries * run_s + (infer if not stage.passes.start else 0)
        if program.turns:
            computed = program.latency / device.clock_hz
        wire_s += (once + batches * down) * byte_s
        # The device reads no word of a batch before the array is done with it.
        call_s += once * byte_s + batches * max(down * byte_s, computed + answers * byte_s)
    return Rates(1 / array_s, images / wire_s, images / call_s, 0)


def _bytes(program: Program, stage: Stage) -> tuple[int, int, int]:
    """Return the bytes of a stage's weights, those of a batch to the device, and of words read from it."""
    config, spread = program.config, program.spread
    room = config.max_frame - HEADER_BYTES - CRC_BYTES
    buffers = [block for number in stage.passes for block in program.sections[number].buffers]
    once = sum(_frames(payload for _, payload in write_requests(config, block, room)) for block in buffers)
    down = answers = 0
    for span in stage.restored:
        block = Block(Space.ACTIVATIONS, 0, 0, bytes(span.words * config.geometry.width // 8))
        down += config.geometry.rows * _frames(load for _, load in write_requests(config, block, room))
    for span in stage.saved:
        asked = [payload for _, payload in read_requests(config, Space.ACTIVATIONS, 0, 0, span.words)]
        words = span.words * config.geometry.width // 8
        rows = 1 if spread else config.geometry.rows
        down += rows * _frames(asked)
        answers += rows * (words + len(asked) * _ANSWER)
    if not stage.passes.start:
        wire = np.zeros((program.batch, program.image_bytes), np.uint8)
        down += _frames(payload for _, payload in image_requests(program, wire, room, []))
    return once, down, answers


def _frames(payloads: Iterable[bytes]) -> int:
    return sum(len(payload) + _LEAST for payload in payloads)
