"""Codes between layers: compiled for a device, and run by the interpreter of programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.sw.codenets import branches, dense, maps
from tests.sw.fewbits import by_hand
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CompileError, GeometryError
from xnorcore.isa.check import validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, HEADER
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import DeviceInfo, Space
from xnorcore.model.network import Concat, Conv2d, Dense, InputSpec, MaxPool2d, Network, Node
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_images, signs

from ..campaigns import some

DEVICES = (
    DeviceConfig(Geometry(1, 8, 8), code_bits=2),
    DeviceConfig(Geometry(3, 16, 8), code_bits=2, whole_windows=1, act_ports=1),
    DeviceConfig(Geometry(2, 4, 16), code_bits=3),
    DeviceConfig(Geometry(2, 8, 24), code_bits=3, whole_windows=1),
)


def networks(steps: int) -> list[Network]:
    """Networks whose layers have so many thresholds, with every kind of padding."""
    bits = steps.bit_length()
    return [
        dense(steps, bits), dense(steps, 1, ends=steps), maps(steps), maps(steps, pad=1, end="sum"),
        maps(steps, pad=steps, pooled=False, end="codes"), maps(steps, pad=2, pooled=False),
        branches(steps),
    ]  # fmt: skip


@pytest.mark.parametrize(("number", "steps"), some([(0, 3), (1, 2), (2, 7), (3, 5)], 1, many=True))
def test_every_layer_is_that_of_the_golden_model(number: int, steps: int) -> None:
    with Accelerator.open(machine_url(DEVICES[number])) as device:
        # Cycles of memories of one port take long to tell.
        for index, network in enumerate(networks(steps)[:: DEVICES[number].act_ports % 2 + 1]):
            images = random_images(np.random.default_rng(index), network, 4)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat, at_once=1 if index % 2 else None)
            found = checks(network, "machine", seen, flat, golden.layers(network, images))
            assert {check.verdict for check in found} <= {"equal", "-"}, found
            assert sum(check.verdict == "equal" for check in found) > len(network.layers)


def test_by_hand() -> None:
    network, config = maps(3, pad=2), DEVICES[0]
    images = random_images(np.random.default_rng(0), network, 2)
    with Accelerator.open(machine_url(config)) as device:
        device.load(network)
        assert device.infer(images).tolist() == [by_hand(network, image)[-1] for image in images]


def test_in_passes() -> None:
    """Planes of a map are written by several passes, and go to the host and back between them."""
    config = DeviceConfig(Geometry(2, 8, 8), code_bits=2, weight_depth=128, threshold_depth=16)
    for network in (maps(3, pad=2), dense(3, 2)):
        program = compile_network(network, config)
        assert program.passes > 1
        images = random_images(np.random.default_rng(0), network, 7)
        with Accelerator.open(machine_url(config)) as device:
            device.load(network)
            assert (device.infer(images) == golden.run(network, images)).all()


def test_thresholds_far_apart_and_out_of_reach() -> None:
    limit = 2**31 - 1
    rows = [
        [-limit - 1, 0, limit],
        [-4, 4, 4],
        [-5, -5, 5],
        [limit] * 3,
        [-limit - 1] * 3,
        [-limit - 1, -4, limit],
    ]
    network = Network("far", InputSpec((4,)), [Dense(np.ones((6, 4)), rows), Dense(np.ones((2, 6)))])
    images = np.array([[number >> bit & 1 for bit in range(4)] for number in range(16)], np.uint8)
    config = DeviceConfig(Geometry(1, 8, 8), acc_width=10, code_bits=2)
    with Accelerator.open(machine_url(config)) as device:
        device.load(network)
        assert (device.infer(images) == golden.run(network, images)).all()
        device.stop_after(0)
        assert (device.infer(images) == golden.layers(network, images)[0]).all()


def test_strips_beside_a_map_without_them() -> None:
    """A padded map has no strips, but planes as far apart as one that has, whose rows do not fill them."""
    rng = np.random.default_rng(0)

    def conv(outputs: int, inputs: int, side: int, name: str) -> Conv2d:
        rows = np.sort(rng.integers(-6, 7, (outputs, 3)), axis=1)
        half = side // 2
        around = half, half, half, half
        return Conv2d(signs(rng, outputs, side, side, inputs), rows, padding=around, name=name)

    layers = [
        conv(4, 2, 1, "first"), conv(4, 4, 1, "strips"), Node(conv(4, 4, 3, "none"), "first"),
        Node(Concat("join"), ("strips", "none")), Dense(signs(rng, 2, 8 * 42)),
    ]  # fmt: skip
    network = Network("strips", InputSpec((7, 6, 2), 2), layers)
    images = random_images(rng, network, 1)
    with Accelerator.open(machine_url(DeviceConfig(Geometry(4, 4, 16), 24, code_bits=2))) as device:
        device.load(network, at_once=1)
        assert (device.infer(images) == golden.run(network, images)).all()


def test_what_a_device_has_not() -> None:
    one = DeviceConfig(Geometry(1, 8, 8))
    with pytest.raises(
        CompileError, match=r"values of 2 bits, the device has 1 \(code_bits\); build it with code_bits=2"
    ):
        compile_network(dense(3, 2), one)
    with pytest.raises(CompileError, match="gives values of 3 bits, the device has 2"):
        compile_network(dense(4, 2), DEVICES[0])
    (found,) = obstacles(dense(5, 2), one)
    assert (found.field, found.there, found.needed) == ("code_bits", 1, 3)
    assert not obstacles(dense(5, 2), replace(one, code_bits=3))
    shared = replace(one, threshold_share=2)
    lacking = obstacles(dense(5, 2), shared)
    assert [(a.field, a.there, a.needed) for a in lacking] == [("threshold_share", 2, 1), ("code_bits", 1, 3)]
    assert not obstacles(dense(5, 2), replace(shared, **{a.field: a.needed for a in lacking}))
    rng = np.random.default_rng(0)
    conv = Conv2d(signs(rng, 4, 1, 1, 2), np.sort(rng.integers(-3, 4, (4, 3))), name="conv")
    bits = Conv2d(signs(rng, 4, 1, 1, 2), np.sort(rng.integers(-3, 4, (4, 4))), name="more")
    end = Dense(signs(rng, 2, 8 * 5 * 5))
    spec = InputSpec((5, 5, 2), 2)
    overlap = [conv, MaxPool2d((3, 3), (1, 1), name="pool"), Dense(signs(rng, 2, 36))]
    unequal = [conv, Node(bits, "input"), Node(Concat("join"), ("conv", "more")), Node(end, "join")]
    for layers, message in (
        (overlap, "layer 'pool' pools codes in a layer of its own"),
        (unequal, "layer 'join' joins values of 2 and 3 bits"),
    ):
        with pytest.raises(CompileError, match=message):
            compile_network(Network("no", spec, layers), DEVICES[2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code_bits": 9}, "code_bits is 9, but must be 1 to 8"),
        ({"code_bits": 0}, "code_bits is 0, but must be 1 to 8"),
        (
            {"code_bits": 2, "threshold_share": 2},
            "threshold_share is 2, but must be 1 where code_bits is above 1",
        ),
        ({"code_bits": 2, "row_sums": 2}, "row_sums is 2, but must be 0 to 1"),
        ({"row_sums": 1}, "row_sums is 1, which needs code_bits above 1 and convolution 1; they are 1 and 1"),
        (
            {"code_bits": 3, "row_sums": 1, "convolution": 0, "line_bytes": 0},
            "row_sums is 1, which needs .*; they are 3 and 0",
        ),
    ],
)
def test_configurations_that_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        DeviceConfig.parse(**options)


def test_a_device_says_how_many_bits_it_has() -> None:
    for config in (*DEVICES, DeviceConfig(), replace(DEVICES[0], row_sums=1)):
        assert DeviceInfo.unpack(DeviceInfo(config).pack()).config == config
    devices = [replace(DeviceConfig(), code_bits=bits) for bits in (1, 2, 3)]
    assert len({config.digest() for config in (*devices, replace(devices[1], row_sums=1))}) == 4


def test_the_listing_shows_planes() -> None:
    program = compile_network(maps(3, pad=2), DEVICES[0])
    text = "\n".join(listing_lines(listing(program)))
    assert "result   codes of 2 bits; 2 words per position, 1 per tile, 84 per plane" in text
    assert "padding of code 2, 1 above and 2 left of 7 x 6" in text
    first = listing(program)["passes"][0]["descriptors"][0]
    assert first["starts"] == [0, 3 * first["tiles"]] and first["out_plane"] == 84


def words_of(program: Program) -> list[int]:
    return program.contents(Space.PROGRAM, 0)


def test_a_program_is_checked() -> None:
    program = compile_network(maps(3), DEVICES[0])
    words = words_of(program)
    reaches = validate_program(words, program.config)
    second = reaches[1]
    # Both planes are read, and both are written; a tile has three start values.
    assert len(second.reads) == 2 * 84 and len(second.starts) == 3 * 2
    assert len(reaches[0].writes) == 2 * 84
    with pytest.raises(CompileError, match=r"gives codes of 2 bits, but the device has 1 \(code_bits\)"):
        validate_program(words, replace(program.config, code_bits=1))
    field = DESCRIPTOR.fields["plane_high"]
    words[HEADER.words + field.word] |= 0x1FF << field.low
    with pytest.raises(CompileError, match=r"writes words .* the memory ends at"):
        validate_program(words, program.config)
