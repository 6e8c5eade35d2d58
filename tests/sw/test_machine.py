"""The interpreter of compiled programs against the golden model."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.stops import stop_after, sums_network, sums_of
from xnorcore.errors import CapacityError, CompileError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import HEADER
from xnorcore.isa.machine import Machine
from xnorcore.isa.program import Block, Program
from xnorcore.isa.protocol import Space
from xnorcore.model.bits import pack_images
from xnorcore.model.layers import Dense, InputSpec
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.verify.case import draw
from xnorcore.verify.random_devices import random_config

from ..campaigns import some


def infer(program: Program, images: NDArray, parity: int = 0) -> NDArray:
    """Run images batch after batch, in passes where the program has several; memories start as noise."""
    machine = Machine(program.config)
    shape = machine.memories.activations.shape
    machine.memories.activations[:] = np.random.default_rng(0).integers(0, 2, shape)
    wire, raw = pack_images(program.network, images), b""
    for block in program.blocks:
        machine.memories.write(block)
    for first in range(0, len(wire), program.batch):
        batch = wire[first : first + program.batch]
        if program.later and first:
            for block in program.blocks:
                if block.space != Space.ACTIVATIONS:
                    machine.memories.write(block)
        sent, _ = machine.infer(batch, parity)
        if not program.results_read:
            raw, parity = raw + sent, 1 - parity
            continue
        for later in program.later:
            for block in later.blocks:
                machine.memories.write(block)
            for entry in later.entries:
                machine.run(entry)
        results = program.results
        for row in range(len(batch)):
            data = machine.memories.read(Space.ACTIVATIONS, row, results.base, results.words)
            words = np.frombuffer(data, np.uint8).reshape(results.words, -1)
            raw += words[:, : results.word_bytes].tobytes()
    return program.decode(raw, len(wire))


@pytest.mark.parametrize("first", some(range(0, 240, 30), 1))
def test_random_networks(first: int) -> None:
    kinds = set()
    for number in range(first, first + 30):
        case = draw(5, number, random_config(np.random.default_rng([5, number])))
        program = compile_network(case.network, case.config, case.at_once)
        kinds |= {"spread"} if program.spread else {"passes"} if program.later else {"plain"}
        images = case.images.reshape(len(case.images), -1)
        assert np.array_equal(infer(program, images), golden.run(case.network, images)), number
    assert "plain" in kinds


@pytest.mark.campaign
def test_kinds_that_the_random_networks_reach() -> None:
    kinds = ("spread", "passes", "padded", "balance", "double", "strips", "score", "pooling")
    seen = dict.fromkeys(kinds, 0)
    for number in range(360):
        case = draw(5, number, random_config(np.random.default_rng([5, number])))
        program = compile_network(case.network, case.config, case.at_once)
        seen["spread"] += program.spread
        seen["passes"] += bool(program.later)
        for section in program.sections:
            for one in section.descriptors:
                seen["padded"] += one.padding is not None
                seen["balance"] += one.padding is not None and one.padding.balance
                seen["double"] += one.double
                seen["strips"] += one.strips is not None
                seen["score"] += one.slices > 0
                seen["pooling"] += one.nest.count("row") == 2 and not one.nest.step("row")
    assert min(seen.values()) > 5, seen


@pytest.mark.parametrize("first", some(range(0, 120, 10), 1))
def test_every_layer_and_every_sum(first: int) -> None:
    """Programs that stop early, made by replacing descriptors, give what golden's layers give."""
    cut = 0
    for number in range(first, first + 10):
        case = draw(6, number, random_config(np.random.default_rng([6, number])))
        program = compile_network(case.network, case.config, case.at_once)
        images = case.images.reshape(len(case.images), -1)
        layers = golden.layers(case.network, images)
        for stop in program.stops:
            assert np.array_equal(infer(stop_after(program, stop.index), images), layers[stop.index]), number
        for index in {stop.plan for stop in program.stops if stop.sums}:
            try:
                ending = sums_of(program, index)
            except CapacityError:
                continue
            found = infer(ending, images[:3])
            wanted = golden.run(sums_network(case.network, index), images[:3])
            cut += found.shape != wanted.shape
            assert np.array_equal(found, wanted[:, : found.shape[1]]), (number, index)
            assert len({ending.identifier, program.identifier}) == 2
            assert stop_after(ending, program.stops[-1].index) is program
    assert cut < 30


def dense(outputs: int = 12) -> tuple[Program, NDArray]:
    rng = np.random.default_rng(1)
    hidden = Dense(rng.choice([-1, 1], (16, 20)), rng.integers(-5, 6, 16))
    network = Network("small", InputSpec((20,), 1), [hidden, Dense(rng.choice([-1, 1], (outputs, 16)))])
    config = DeviceConfig(Geometry(2, 8, 8), weight_depth=64, threshold_depth=32, act_depth=128, line_bytes=0)
    return compile_network(network, config), rng.integers(0, 2, (2, 20))


def test_traces_hold_every_sum() -> None:
    program, images = dense()
    machine = Machine(program.config)
    for block in program.blocks:
        machine.memories.write(block)
    _, (hidden, last) = machine.infer(pack_images(program.network, images))
    network = program.network
    layer = network.layers[0]
    assert isinstance(layer, Dense) and layer.thresholds is not None
    sums = (2 * images - 1) @ layer.weights.T
    assert np.array_equal(hidden.sums[:, 0, :16] >= 0, sums >= layer.thresholds)
    values = program.values
    assert np.array_equal(last.sums[:, 0, :12] * values.factor + values.offset, golden.run(network, images))
    assert hidden.place == HEADER.words and not hidden.fields["end"] and last.fields["end"]
    assert set(hidden.writes).isdisjoint(last.writes)


@pytest.mark.parametrize("space", [Space.WEIGHTS, Space.THRESHOLDS, Space.PROGRAM])
def test_a_wrong_bit_anywhere_shows(space: Space) -> None:
    program, images = dense()
    rng = np.random.default_rng(2)
    images = rng.integers(0, 2, (200, 20))
    whole = infer(program, images)
    blocks = list(program.blocks)
    at, block = next((i, b) for i, b in enumerate(blocks) if b.space == space)
    data = bytearray(block.data)
    # The delta of the second layer's tiles, the first start value, the first weight.
    place = 4 * (HEADER.words + 6 + 4) if space == Space.PROGRAM else 0
    data[place] ^= 2
    blocks[at] = Block(block.space, block.bank, block.address, bytes(data))
    program.__dict__["blocks"] = tuple(blocks)
    assert not np.array_equal(infer(program, images), whole)


def test_no_program() -> None:
    machine = Machine(dense()[0].config)
    with pytest.raises(CompileError, match="program word 0 is 0x00000000"):
        machine.infer(np.zeros((1, 3), np.uint8))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (Block(Space.WEIGHTS, 8, 0, bytes(1)), "bank 8 of weights, which has 8"),
        (Block(Space.ACTIVATIONS, 0, 127, bytes(2)), "reaches word 128, but the memory ends at 127"),
        (Block(Space.PROGRAM, 0, 0, bytes(4 * 9999)), "reaches word 9998"),
    ],
)
def test_blocks_outside(block: Block, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        Machine(dense()[0].config).memories.write(block)


def test_descriptors_that_do_not_end() -> None:
    program, images = dense()
    machine = Machine(program.config)
    for block in program.blocks:
        machine.memories.write(block)
    machine.memories.program[HEADER.words + 6] &= 0xFFFFFFFE
    with pytest.raises(CompileError, match="end flag"):
        machine.infer(pack_images(program.network, images))
