"""The interpreted device behind the driver: the same answers as a device, and the same refusals."""

from __future__ import annotations

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import DeviceError, GeometryError, NotLoadedError, UsageError
from xnorcore.isa.protocol import Command, Space, Status
from xnorcore.link.session import Session
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.interpreted import InterpretedDevice, open_machine
from xnorcore.verify.ask import checks, observe
from xnorcore.verify.case import draw
from xnorcore.verify.random_devices import random_config

from ..campaigns import some


@pytest.mark.parametrize("first", some(range(0, 40, 5), 1))
def test_every_layer_of_random_networks(first: int) -> None:
    for number in range(first, first + 5):
        case = draw(4, number, random_config(np.random.default_rng([4, number])))
        images = case.images.reshape(len(case.images), -1)
        with Accelerator(Session(InterpretedDevice(case.config), seed=0)) as device:
            seen = observe(device, case.network, images, at_once=case.at_once)
            found = checks(case.network, "machine", seen, images, golden.layers(case.network, images))
            assert not [one for one in found if one.mismatches], number
            assert device.counters is None


@pytest.fixture
def device():
    with Accelerator(Session(open_machine("rows=2,columns=8,width=8,act_depth=128"), seed=0)) as opened:
        yield opened


def refused(device: Accelerator, command: Command, payload: bytes) -> Status:
    with pytest.raises(DeviceError) as caught:
        device.session.call(command, payload)
    assert caught.value.status is not None
    return Status(caught.value.status)


def test_refusals(device: Accelerator) -> None:
    assert refused(device, Command.INFO, b"x") == Status.BAD_LENGTH
    assert refused(device, Command.COUNTERS, b"\0") == Status.BAD_COMMAND
    assert refused(device, Command.WRITE, bytes([Space.WEIGHTS, 8, 0, 0, 1])) == Status.BAD_ADDRESS
    assert refused(device, Command.WRITE, bytes([9, 0, 0, 0, 1])) == Status.BAD_ADDRESS
    assert refused(device, Command.WRITE, bytes([Space.PROGRAM, 0, 0, 0, 1])) == Status.BAD_LENGTH
    assert refused(device, Command.WRITE, bytes([Space.ACTIVATIONS, 0, 127, 0, 1, 2])) == Status.BAD_ADDRESS
    assert refused(device, Command.READ, bytes([Space.WEIGHTS, 0, 0, 0, 1, 0])) == Status.BAD_ADDRESS
    assert refused(device, Command.READ, bytes([Space.ACTIVATIONS, 0, 127, 0, 2, 0])) == Status.BAD_ADDRESS
    assert refused(device, Command.RUN, b"\xff\xff") == Status.BAD_ADDRESS
    assert refused(device, Command.ARM, b"") == Status.BAD_PROGRAM
    assert refused(device, Command.INFER, b"\x80") == Status.NOT_ARMED


def test_groups_and_keys(device: Accelerator) -> None:
    case = draw(4, 1, device.info.config)
    device.load(case.network)
    program = device.program
    key, images = program.identifier[:4], case.images.reshape(len(case.images), -1)
    assert np.array_equal(device.infer(images), golden.run(case.network, images))
    assert refused(device, Command.INFER, b"\x01") == Status.SEQUENCE
    assert refused(device, Command.INFER, b"\x80" + key[:3]) == Status.BAD_LENGTH
    assert refused(device, Command.INFER, b"\x80" + bytes(4) + b"x") == Status.WRONG_PROGRAM
    assert refused(device, Command.INFER, b"\x80" + key + bytes(program.image_bytes + 1)) == Status.BAD_LENGTH
    device.session.call(Command.RESET)
    with pytest.raises(NotLoadedError, match="has lost its network"):
        device.infer(images)
    assert device.load(case.network)


def test_what_another_host_loads_is_found_out(device: Accelerator) -> None:
    one, other = (draw(4, number, device.info.config).network for number in (1, 2))
    device.load(one)
    with Accelerator(device.session) as second:
        second.load_program(compile_network(other, second.info.config))
        with pytest.raises(NotLoadedError, match="holds another one"):
            device.infer(np.zeros((1, one.input.size), np.uint8))


@pytest.mark.parametrize(
    ("rest", "error", "message"),
    [
        ("rows", UsageError, "option 'rows' is not NAME=N"),
        ("rows=x", UsageError, "option 'rows=x'"),
        ("rows=9", GeometryError, "rows is 9"),
        ("lanes=9", GeometryError, "lanes"),
    ],
)
def test_urls(rest: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_machine(rest)
