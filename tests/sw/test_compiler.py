from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CapacityError, CompileError, DeviceError
from xnorcore.isa.descriptor import Descriptor, Loop, MemoryMap, Nest, Place, encode
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, HEADER, WIDE_WORDS
from xnorcore.isa.protocol import Space
from xnorcore.isa.stores import StoreKind
from xnorcore.model.network import Dense, InputSpec, Network

LFC = (784, 1024, 1024, 1024, 10)


def dense_network(sizes: tuple[int, ...], bits: int = 1, scores: bool = True) -> Network:
    rng = np.random.default_rng(0)
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        last = scores and index == len(sizes) - 2
        weights = rng.choice([-1, 1], (outputs, inputs)).astype(np.int8)
        layers.append(Dense(weights, None if last else rng.integers(-5, 5, outputs)))
    return Network("net", InputSpec((sizes[0],), bits), layers)


def test_lfc_beats_are_the_arrays_bound() -> None:
    program = compile_network(dense_network(LFC), DeviceConfig())
    assert program.beats == 25 * 32 + 2 * 32 * 32 + 32
    assert program.used["weight_depth"] == program.beats
    assert program.image_bytes == 98


def test_lfc_compiles_fast() -> None:
    network = dense_network(LFC)
    start = time.process_time()
    compile_network(network, DeviceConfig())
    assert time.process_time() - start < 2


def test_identifier_names_program_and_device() -> None:
    store = [DeviceConfig(store_words=1024, store_kind=kind) for kind in (0, StoreKind.RAM)]
    assert len({compile_network(dense_network((20, 10)), device).identifier for device in store}) == 1
    first = compile_network(dense_network((20, 10)), DeviceConfig())
    again = compile_network(dense_network((20, 10)), DeviceConfig())
    wider = compile_network(dense_network((20, 10)), DeviceConfig(Geometry(1, 64, 32)))
    network = dense_network((20, 10))
    (layer,) = network.layers
    assert isinstance(layer, Dense)
    weights = layer.weights.copy()
    weights[0, 0] *= -1
    other = compile_network(Network("net", network.input, [Dense(weights)]), DeviceConfig())
    assert first.identifier == again.identifier
    assert len({first.identifier, wider.identifier, other.identifier}) == 3


@pytest.mark.parametrize(
    "sizes, bits, options, message",
    [
        ((2100, 10), 1, {"weight_depth": 64}, "needs 66 words per weight buffer and 1 start values at once"),
        ((30, 99, 10), 1, {"columns": 4, "width": 128, "threshold_depth": 16}, "and 25 start values at once"),
        ((784, 64, 10), 8, {"act_depth": 128}, "needs 2[0-9]+ words of activation memory"),
        ((8,) * 11, 1, {"program_depth": 64}, "needs 72 words of program memory"),
        ((784, 64, 10), 8, {"acc_width": 16}, "needs an accumulator of 18 bits, the device has 16"),
    ],
)
def test_what_does_not_fit(sizes, bits, options, message) -> None:
    with pytest.raises(CapacityError, match=message):
        compile_network(dense_network(sizes, bits), DeviceConfig.parse(**options))


def test_blocks_fit_the_memories_and_the_header_comes_last() -> None:
    config = DeviceConfig(Geometry(2, 8, 16))
    program = compile_network(dense_network((30, 21, 9), bits=3), config)
    for block in program.blocks:
        size = 4 if block.space in (Space.PROGRAM, Space.THRESHOLDS) else 2
        assert len(block.data) % size == 0
        limit = {
            Space.PROGRAM: config.program_depth,
            Space.THRESHOLDS: config.threshold_depth,
            Space.WEIGHTS: config.weight_depth,
            Space.ACTIVATIONS: config.act_depth,
        }[block.space]
        assert block.address + len(block.data) // size <= limit
    words = np.frombuffer(program.blocks[-1].data, "<u4").tolist()
    header = HEADER.unpack(words[: HEADER.words])
    assert header["image_bytes"] == 30 and header["in_bits_last"] == 2
    assert header["entry"] == HEADER.words
    assert len(words) == HEADER.words + 2 * (DESCRIPTOR.words - len(WIDE_WORDS))


def test_decode_checks_the_length() -> None:
    program = compile_network(dense_network((20, 10)), DeviceConfig())
    with pytest.raises(DeviceError, match="2 images gave 3 result bytes"):
        program.decode(bytes(3), 2)


def test_program_fields_are_checked() -> None:
    with pytest.raises(CompileError, match="out_words is 65536, but has only 16 bits"):
        HEADER.pack({"out_words": 1 << 16})
    values = {"delta_row": -3, "tile_last": 7, "slices": 5, "end": 1}
    unpacked = DESCRIPTOR.unpack(DESCRIPTOR.pack(values))
    assert unpacked["delta_row"] == 0xFFFD
    assert {name: unpacked[name] for name in ("tile_last", "slices", "end")} == {
        "tile_last": 7, "slices": 5, "end": 1,
    }  # fmt: skip


def test_weights_that_do_not_fit_arrive_in_passes() -> None:
    network = dense_network((784, 1024, 10))
    program = compile_network(network, DeviceConfig(weight_depth=512, threshold_depth=16))
    assert program.passes == 3
    assert program.used["weight_depth"] == 832
    weights = 832 * 32 * 4
    starts = 33 * 32 * 4
    assert program.bytes_per_call == weights + starts
    assert compile_network(network, DeviceConfig()).bytes_per_call == 0
    for blocks in (program.blocks, *(further.blocks for further in program.later)):
        for block in blocks:
            if block.space is Space.WEIGHTS:
                assert len(block.data) <= 512 * 4
            if block.space is Space.THRESHOLDS:
                assert len(block.data) <= 16 * 4


def test_what_is_needed_of_a_ring_is_a_power_of_two() -> None:
    """With a store nothing else is legal, and a search by halves would end at the largest."""
    network = dense_network((9000, 40, 10))
    config = DeviceConfig(Geometry(1, 16, 64), weight_depth=64, store_words=1 << 16)
    (lack,) = obstacles(network, config)
    assert (lack.field, lack.there, lack.needed) == ("weight_depth", 64, 256)
    assert obstacles(network, replace(config, weight_depth=256)) == []


def test_maps_beyond_what_addresses_move() -> None:
    far = Descriptor(Nest({"x": Loop(2, 40_000 * 8)}), Place("image"), Place("results"))
    regions = MemoryMap({"image": 0, "results": 9}, {})
    with pytest.raises(CompileError, match="loop x moves the address by 40,000 words, and the limit is"):
        encode(far, regions, 8)
