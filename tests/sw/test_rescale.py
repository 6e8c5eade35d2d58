"""Thresholds as multiplications: exact for every sum, or refused; and devices with a results unit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.draws import RNG
from tests.sw import codenets
from tests.sw.evennets import dense, maps
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.compiler.rescale import Scales, scales_of
from xnorcore.errors import CompileError, GeometryError, XnorcoreError
from xnorcore.isa.beats import Beats
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import DeviceInfo
from xnorcore.isa.scales import packed_scales, rescaled
from xnorcore.model.network import Dense, InputSpec, Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_images, signs

CONFIG = DeviceConfig(Geometry(2, 8, 16), 22, code_bits=8, result_lanes=2, act_depth=4096, weight_depth=1024)


def codes(bounds: NDArray[np.int64], sums: NDArray[np.int64]) -> NDArray[np.int64]:
    return (sums[:, np.newaxis] >= bounds).sum(axis=1)


def steps(bits: int, reach: int) -> NDArray[np.int64]:
    """Thresholds of a batch norm: the ceilings of equally spaced numbers."""
    width = reach * RNG.uniform(0.02, 1.5)
    first = RNG.uniform(-0.8, 0.3) * width
    found = np.ceil(first + width * (np.arange((1 << bits) - 1) + 0.5) / (1 << bits))
    return np.clip(found, -reach, reach + 1).astype(np.int64)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6])
def test_every_sum_has_its_code(bits: int) -> None:
    exact = 0
    for _ in range(60):
        reach = int(RNG.choice([20, 72, 288, 1000, 5000]))
        bounds = steps(bits, reach)
        found = scales_of(bounds[np.newaxis], (reach, 1), 1 << 20)
        if isinstance(found, Scales):
            sums = np.arange(-reach, reach + 1)
            assert np.array_equal(rescaled(sums + found.starts, found.words, bits), codes(bounds, sums))
            exact += 1
    assert exact > 50


def test_what_no_sum_reaches_is_free() -> None:
    """Constant channels, several thresholds at one sum, and sums of one parity."""
    for bounds in ([-9, -9, -9], [10, 10, 10], [-9, 10, 10], [-9, -9, 10], [0, 0, 0], [-9, 3, 10], [1, 1, 2]):
        found = scales_of(np.array([bounds]), (9, 1), 1 << 20)
        assert isinstance(found, Scales)
        sums = np.arange(-9, 10)
        got = rescaled(sums + found.starts, found.words, 2)
        assert np.array_equal(got, codes(np.array(bounds), sums)), bounds
    # Twice a line's ceilings: no line itself, but even sums do not see that.
    uneven = 2 * np.array([[0, 1, 3, 4, 6, 7, 8]])
    assert scales_of(uneven, (40, 1), 1 << 20) == 0
    found = scales_of(uneven, (40, 2), 1 << 20)
    assert isinstance(found, Scales)
    sums = np.arange(-40, 41, 2)
    assert np.array_equal(rescaled(sums + found.starts, found.words, 3), codes(uneven[0], sums))


def test_uneven_thresholds_are_compared_or_refused() -> None:
    assert scales_of(np.array([[0, 1, 2], [0, 1, 20]]), (30, 1), 1 << 20) == 1
    assert scales_of(np.array([[12, 16, 20]]), (30, 1), 0) == 0  # no start value has room
    three = codenets.dense(7, 2)
    program = compile_network(three, replace(CONFIG, code_bits=3))
    assert not any(one.rescaled for one in program.sections[0].descriptors)
    limits = np.sort(RNG.integers(-40, 40, (11, 15)), axis=1)
    four = Network("n", InputSpec((60,)), [Dense(signs(RNG, 11, 60), limits), Dense(signs(RNG, 3, 11))])
    with pytest.raises(CompileError, match=r"'layer0' gives codes of 4 bits and has thresholds of channel 0"):
        compile_network(four, CONFIG)
    fewer = four.with_layer(0, Dense(signs(RNG, 11, 60), limits[:, :12]))
    with pytest.raises(
        CompileError, match="12 thresholds, not 15 as a quantiser that is not narrow, but only codes of 3"
    ):
        compile_network(fewer, CONFIG)
    with pytest.raises(
        CompileError, match=r"has 3 .code_bits.; build it with code_bits=4 and result_lanes=1"
    ):
        compile_network(four, replace(CONFIG, code_bits=3, result_lanes=0))
    (lacking,) = obstacles(four, replace(CONFIG, code_bits=3, result_lanes=0))
    assert not lacking.field and "no multiplication of 16 bits" in lacking.reason
    even = four.with_layer(0, Dense(signs(RNG, 11, 60), np.tile(np.arange(-28, 29, 4), (11, 1))))
    stored = replace(CONFIG, code_bits=1, result_lanes=0, store_words=1024)
    found = obstacles(even, stored)
    assert {a.field: a.needed for a in found} == {"result_lanes": 1, "code_bits": 4}
    assert not obstacles(even, replace(stored, **{a.field: a.needed for a in found}))


def test_padding_that_has_no_place_is_refused() -> None:
    with pytest.raises(CompileError, match=r"pads codes of 5 bits with 5, whose bits between"):
        compile_network(maps(5, pad=5), CONFIG)


def test_the_interpreted_device_gives_the_same() -> None:
    networks = (dense(8, 1), dense(4, 2, ends=4), maps(5, pad=31), maps(3, end="sum"))
    with Accelerator.open(machine_url(CONFIG)) as device:
        for network in networks:
            images = random_images(RNG, network, 3)
            flat = images.reshape(len(images), -1)
            found = checks(
                network, "machine", observe(device, network, flat), flat, golden.layers(network, images)
            )
            assert {one.verdict for one in found} <= {"equal", "-"}, found


def test_a_layer_takes_what_is_faster() -> None:
    """Thresholds of 2 bits are two beats; a lane of 8 columns takes 8 cycles where a position takes 2."""
    config = replace(CONFIG, geometry=Geometry(1, 8, 16), result_lanes=1)
    few, many = dense(2, 1), dense(3, 8)
    assert [one.rescaled for one in compile_network(few, config).sections[0].descriptors] == [False] * 3
    program = compile_network(many, config)
    first = program.sections[0].descriptors[0]
    assert first.rescaled and Beats(first, config).apart == 8
    assert program.cycles < compile_network(many, replace(config, code_bits=3, result_lanes=0)).cycles


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"result_lanes": 3}, "must be a power of two that divides columns 8 and column_group 16"),
        ({"result_lanes": 32}, "result_lanes is 32, but must be 0 to 16"),
        ({"result_lanes": 16}, "divides columns 8"),
        ({"code_bits": 1}, "needs code_bits above 1; it is 1"),
        ({"result_lanes": 0}, "code_bits is 8, but must be at most 3 where result_lanes is 0"),
    ],
)
def test_illegal_devices(change: dict[str, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        replace(CONFIG, **change)


def test_info_says_it() -> None:
    for lanes in (0, 1, 2, 4, 8):
        for bits in (2, 3, 5, 8) if lanes else (1, 2, 3):
            config = replace(CONFIG, result_lanes=lanes, code_bits=bits)
            assert DeviceInfo.unpack(DeviceInfo(config).pack()).config == config
    stored = replace(CONFIG, result_lanes=0, code_bits=3, store_words=1 << 24, threshold_depth=256)
    assert DeviceInfo.unpack(DeviceInfo(stored).pack()).config == stored


def test_words() -> None:
    assert int(packed_scales(0xFFFF, 0, 0)) == 0xFFFF and int(packed_scales(0, 0x7FF, 0)) == 0x7FF << 16
    assert int(packed_scales(0, 0, 31)) == 31 << 27
    word = packed_scales(3, 2, 4)
    assert rescaled(np.array([-30, 0, 30, 999]), word, 4).tolist() == [0, 4, 9, 15]


def test_a_program_for_another_device_is_refused() -> None:
    program = compile_network(dense(4, 1), CONFIG)
    other = replace(CONFIG, code_bits=3, result_lanes=0)
    with pytest.raises(XnorcoreError):
        Accelerator.open(machine_url(other)).load_program(program)
