"""Weights of several bits as sums of signs: compiled for a device, and run by the interpreter of programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw import codenets, fewbits
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.copies import MAX_COPIES, Copies, copies_of
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CompileError
from xnorcore.isa.check import validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, HEADER
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.isa.protocol import Space
from xnorcore.model.network import Conv2d, Dense, InputSpec, Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_images

DEVICES = (
    DeviceConfig(Geometry(1, 8, 8), 24, code_bits=2),
    DeviceConfig(Geometry(2, 4, 16), 24, code_bits=3),
    DeviceConfig(Geometry(2, 8, 24), 24, code_bits=3, whole_windows=1),
)

SUMS = tuple(replace(config, row_sums=1) for config in DEVICES)


@pytest.mark.parametrize("doubles", [True, False])
@pytest.mark.parametrize("odd", [True, False])
@pytest.mark.parametrize("largest", range(1, 9))
def test_signs_make_up_every_weight(largest: int, odd: bool, doubles: bool) -> None:
    weights = np.arange(-largest, largest + 1, dtype=np.int8)
    weights = weights[weights % 2 != 0] if odd else weights
    made = copies_of(weights, doubles, "x")
    values = np.array([2] * made.twice + [1] * made.single)
    top = int(np.abs(weights).max())
    assert made.reach == top if odd else made.reach == 2 * top
    assert made.twice == 0 or doubles
    found = values @ (2 * made.signs(made.scale * weights.astype(np.int16)).astype(np.int64) - 1)
    assert (found == made.scale * weights).all()


def test_how_many_signs() -> None:
    cases = {(-1, 1): (0, 1, 1), (-1, 0, 1): (0, 2, 2), (-3, -1, 1, 3): (1, 1, 1), (-2, -1, 0, 1): (1, 2, 2)}
    for weights, (twice, single, scale) in cases.items():
        assert copies_of(np.array(weights, np.int8), True, "x") == Copies(twice, single, scale)
    with pytest.raises(CompileError, match=r"'x' has weights of 16 in magnitude, which take 17 signs each"):
        copies_of(np.array([16], np.int8), True, "x")


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 0), (-2, 1), (-3, 3), (-4, 3), (-5, 5), (-7, 6), (-8, 7), (-16, 15)]
)
def test_signs_beside_the_sums_of_rows(low: int, high: int) -> None:
    weights = np.arange(low, high + 1, dtype=np.int8)
    made = copies_of(weights, True, "x", SUMS[0], 9)
    assert (made.shift, made.scale, made.odd) == (1, 2, False)
    values = np.array([4] * made.four + [2] * made.twice + [1] * made.single)
    assert made.reach == values.sum() == max(2 * high + 1, -2 * low - 1) | 1
    signs = 2 * made.signs(2 * weights.astype(np.int16) + 1).astype(np.int64) - 1
    assert (values @ signs - 1 == 2 * weights).all()


def test_how_many_signs_beside_the_sums_of_rows() -> None:
    cases = {
        (-3, 0, 3): Copies(1, 1, 2, 1, 1), (-4, 3): Copies(1, 1, 2, 1, 1),
        (-2, -1, 0, 1): Copies(1, 1, 2, 0, 1), (-7, 1): Copies(1, 1, 1, 1), (-5, 1): Copies(2, 1, 1),
        (-1, 0, 1): Copies(0, 2, 2), (-4, 4, 0): Copies(1, 2, 2, 1), (-15, 1): Copies(1, 1, 1, 3),
    }  # fmt: skip
    for weights, made in cases.items():
        assert copies_of(np.array(weights, np.int8), True, "x", SUMS[0], 9) == made
    table = np.array([-3, 0, 3], np.int8)
    # The sums take a cycle for each row, which a sign less must save; they double with planes.
    assert copies_of(table, True, "x", SUMS[1], 2) == copies_of(table, True, "x", SUMS[0], 1)
    assert copies_of(table, True, "x", SUMS[1], 2).shift == 0 < copies_of(table, True, "x", SUMS[1], 3).shift
    assert copies_of(table, False, "x", SUMS[0], 9) == copies_of(table, False, "x")
    # What takes more signs than a loop has, but for the sums, runs whatever it saves.
    assert copies_of(np.array([-30, 29], np.int8), True, "x", SUMS[2], 1) == Copies(1, 1, 2, 14, 1)


def networks(config: DeviceConfig) -> list[Network]:
    """Weights with and without a zero; images of 1 to 8 bits; every kind of padding and of end."""
    top = (1 << config.code_bits) - 1
    return [
        codenets.dense(top, 1, weight=2), codenets.dense(top, 8, weight=3, ends=top),
        codenets.maps(top, weight=3, pad=1), codenets.maps(2, weight=2, pad=2, end="sum", image=2),
        codenets.maps(1, weight=3, image=1, end="sum"),
        codenets.maps(1, weight=5, pad=1, image=1, pooled=False),
        codenets.maps(1, weight=4, pad=-1, image=1, end="bits"), fewbits.chain(1, 2, 1),
        fewbits.chain(3, 4, top, ends=2),
    ]  # fmt: skip


def shifted(config: DeviceConfig) -> list[Network]:
    """Weights of both kinds of range, with images, padding and ends of every kind."""
    top, drawn = (1 << config.code_bits) - 1, codenets.redrawn
    return [
        drawn(codenets.dense(top, 8), -3, 3), drawn(codenets.dense(1, 1, ends=top), -4, 3),
        drawn(codenets.maps(top, pad=1), -4, 3), drawn(codenets.maps(2, pad=2, end="sum", image=2), -2, 1),
        drawn(codenets.maps(1, pad=-1, image=1, end="bits"), -3, 3),
        drawn(codenets.maps(1, image=1, pooled=False), -5, 5), codenets.maps(top, weight=7, pad=1),
        drawn(codenets.residual(top), -3, 3),
    ]  # fmt: skip


@pytest.mark.parametrize("config", [*some(DEVICES, 1), *some(SUMS, 1)])
def test_every_layer_is_that_of_the_golden_model(config: DeviceConfig) -> None:
    drawn = shifted(config) if config.row_sums else networks(config)
    with Accelerator.open(machine_url(config)) as device:
        for index, network in enumerate(drawn):
            images = random_images(np.random.default_rng(index), network, 3)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat, at_once=1 if index % 2 else None)
            found = checks(network, "machine", seen, flat, golden.layers(network, images))
            assert {check.verdict for check in found} <= {"equal", "-"}, (index, found)
            assert sum(check.verdict == "equal" for check in found) > len(network.layers)


@pytest.mark.parametrize("outputs", [1, 3, 5])
def test_columns_without_a_channel_are_never_positive(outputs: int) -> None:
    """What reads an odd number of results counts on it, also where images are dark."""
    layers = [Dense(np.full((outputs, 2), [-3, 0]), np.ones(outputs, int)), Dense(np.ones((2, outputs), int))]
    network = Network("dark", InputSpec((2,), 2), layers)
    images = np.array([[0, 0], [1, 0], [2, 3], [3, 1]], np.uint8)
    for config in (*DEVICES, *SUMS):
        with Accelerator.open(machine_url(config)) as device:
            device.load(network)
            np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_by_hand() -> None:
    network = codenets.maps(3, pad=2, weight=2)
    images = random_images(np.random.default_rng(0), network, 2)
    with Accelerator.open(machine_url(DEVICES[0])) as device:
        device.load(network)
        assert device.infer(images).tolist() == [fewbits.by_hand(network, image)[-1] for image in images]


@pytest.mark.parametrize("bits", [2, 3])
def test_from_a_store(bits: int) -> None:
    """Start values of all thresholds come with each tile, into a ring with room for few of them."""
    config = DeviceConfig(
        Geometry(1, 8, 8), 24, code_bits=bits, store_words=1 << 16, weight_depth=128, threshold_depth=16
    )
    top = (1 << bits) - 1
    with Accelerator.open(machine_url(config)) as device:
        for network in (
            codenets.maps(top, weight=2, pad=1),
            codenets.dense(top, 3),
            codenets.maps(1, weight=3, image=1),
        ):
            assert compile_network(network, config).streams
            images = random_images(np.random.default_rng(bits), network, 3)
            seen = observe(device, network, images.reshape(3, -1))
            found = checks(network, "machine", seen, images.reshape(3, -1), golden.layers(network, images))
            assert {check.verdict for check in found} <= {"equal", "-"}, found


def test_zero_padding_and_an_odd_lane() -> None:
    """A lane without a channel cancels in every copy, or, of odd weights, over two readings of the window."""
    rng = np.random.default_rng(5)
    for weight in (2, 3):
        around: Any = {"padding": (1, 1, 1, 1), "pad_value": 0}
        layers = [
            Conv2d(codenets.drawn(rng, weight, 3, 3, 3, 2), fewbits.limits(rng, 3, 1, 20), **around),
            Conv2d(codenets.drawn(rng, weight, 5, 3, 3, 3), fewbits.limits(rng, 5, 1, 20), **around),
            Dense(codenets.drawn(rng, weight, 4, 5 * 36)),
        ]
        network = Network("odd", InputSpec((6, 6, 2)), layers)
        images = random_images(rng, network, 4)
        with Accelerator.open(machine_url(DEVICES[0])) as device:
            device.load(network)
            assert (device.infer(images) == golden.run(network, images)).all()


def test_beats() -> None:
    """A layer takes the beats of one of 1-bit weights as often as a weight has signs."""
    plain = compile_network(codenets.maps(3, pad=2), DEVICES[0])
    for weight, signs in ((2, 3), (3, 2)):
        program = compile_network(codenets.maps(3, pad=2, weight=weight), DEVICES[0])
        assert [one.beats for one in program.layers] == [signs * one.beats for one in plain.layers]
        assert program.used["weight_depth"] == signs * plain.used["weight_depth"]


def test_beats_beside_the_sums_of_rows() -> None:
    """Weights of -3 to 3 take 3 signs instead of 4, and a cycle for each row at every position of a tile."""
    network = codenets.redrawn(codenets.dense(3, 8), -3, 3)
    plain, sums = (compile_network(network, config) for config in (DEVICES[0], SUMS[0]))
    assert [4 * one.beats for one in sums.layers] == [3 * one.beats for one in plain.layers]
    more = [one.drains - other.drains for one, other in zip(sums.layers, plain.layers, strict=True)]
    assert more == [5, 3, 2, 1] and sums.cycles < plain.cycles
    assert 4 * sums.used["weight_depth"] == 3 * plain.used["weight_depth"]


def test_one_sign_and_the_sums_of_rows_are_not_on_strips() -> None:
    """A descriptor has no place for both; weights of -1 and 0 are one sign beside the sums."""
    network = codenets.redrawn(codenets.maps(3, pad=1), -1, 0)
    program = compile_network(network, SUMS[1], 1)
    descriptors = program.sections[0].descriptors
    assert {(one.nest.count("copy"), one.row_sum, one.strips) for one in descriptors} == {(1, True, None)}
    images = random_images(np.random.default_rng(3), network, 2)
    with Accelerator.open(machine_url(SUMS[1])) as device:
        device.load(network, at_once=1)
        assert (device.infer(images) == golden.run(network, images)).all()


def test_what_a_device_has_not() -> None:
    network = codenets.dense(1, 1, weight=2)
    one = DeviceConfig(Geometry(1, 8, 8))
    with pytest.raises(
        CompileError, match=r"'layer0' has weights of 3 bits, but the device has 1 \(code_bits\)"
    ):
        compile_network(network, one)
    with pytest.raises(CompileError, match=r"lacks a loop \(convolution=0\)"):
        compile_network(network, DeviceConfig(Geometry(1, 8, 8), code_bits=2, convolution=0, line_bytes=0))
    (found,) = obstacles(network, one)
    assert (found.field, found.there, found.needed) == ("code_bits", 1, 2)


def test_a_program_is_checked_and_listed() -> None:
    program = compile_network(codenets.maps(3, pad=2, weight=2), DEVICES[0])
    text = "\n".join(listing_lines(listing(program)))
    assert "copy 3 x +0, " in text and "3 copies, 1 of them twice" in text
    words = program.contents(Space.PROGRAM, 0)
    reach = validate_program(words, program.config)[0]
    assert len(reach.weights) == program.layers[0].weight_words
    bits = compile_network(codenets.dense(1, 1, weight=2), DEVICES[0])
    with pytest.raises(CompileError, match=r"weights of several bits, for which .* needs code_bits of 2"):
        validate_program(bits.contents(Space.PROGRAM, 0), replace(bits.config, code_bits=1))
    field = DESCRIPTOR.fields["single_last"]
    words[HEADER.words + field.word] |= 0xF << field.low
    with pytest.raises(CompileError, match="counts 16 copies once, but has 3"):
        validate_program(words, program.config)


def test_a_program_with_sums_of_rows_is_checked_and_listed() -> None:
    program = compile_network(codenets.redrawn(codenets.dense(3, 8), -3, 3), SUMS[0])
    text = "\n".join(listing_lines(listing(program)))
    assert "3 copies, 1 four times, 1 of them twice; the rows' sums" in text
    words = program.contents(Space.PROGRAM, 0)
    validate_program(words, program.config)
    with pytest.raises(CompileError, match=r"signs that count four times, or adds .* row_sums"):
        validate_program(words, DEVICES[0])
    near = DESCRIPTOR.fields["near"]
    words[HEADER.words + near.word] += 1 << near.low
    with pytest.raises(CompileError, match="all but 3 copies four times, but has 3, of which 1 count once"):
        validate_program(words, program.config)


def test_the_largest_weight_is_told() -> None:
    """What a message says fits does, and one more does not."""
    for doubles in (True, False):
        with pytest.raises(CompileError, match=r"enough for weights of \d+; quantise them") as error:
            copies_of(np.array([[128, 0]]), doubles, "layer")
        most = int(str(error.value).split("weights of ")[2].split(";")[0])
        assert copies_of(np.array([[most, 0]]), doubles, "layer").count <= MAX_COPIES
        with pytest.raises(CompileError):
            copies_of(np.array([[most + 1, 0]]), doubles, "layer")
