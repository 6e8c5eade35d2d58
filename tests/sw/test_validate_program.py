"""The compiler's programs pass the validator, its reach is what a walk finds, and what is wrong is named."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.isa.check import Reach, validate_descriptors, validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, HEADER, LOOPS, pack_descriptor
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Space
from xnorcore.model.network import Dense, InputSpec, Network

from .convnets import network as random_network

GEOMETRIES = [(1, 32, 32), (1, 8, 32), (2, 32, 8), (3, 4, 16), (1, 64, 64)]


def program_words(program: Program) -> list[int]:
    return program.contents(Space.PROGRAM, 0)


def dense(config: DeviceConfig, sizes: tuple[int, ...] = (40, 24, 5), bits: int = 1) -> Program:
    rng = np.random.default_rng(1)
    layers = [
        Dense(
            rng.choice([-1, 1], (outputs, inputs)), np.zeros(outputs, int) if index < len(sizes) - 2 else None
        )
        for index, (inputs, outputs) in enumerate(itertools.pairwise(sizes))
    ]
    return compile_network(Network("dense", InputSpec((sizes[0],), bits), layers), config)


@pytest.mark.parametrize("seed", some(range(120), always=40))
def test_compiled_programs_pass(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns, width = GEOMETRIES[seed % len(GEOMETRIES)]
    small = seed % 4 == 0
    config = DeviceConfig(
        Geometry(rows, columns, width),
        acc_width=32,
        act_depth=int(rng.choice([16384, 9000])),
        weight_depth=600 if small else 40000,
        threshold_depth=128 if small else 4096,
    )
    shape = (int(rng.integers(1, 12)), int(rng.integers(1, 12)), int(rng.choice([1, 2, 3])))
    network = random_network(rng, shape, int(rng.integers(1, 9)))
    program = compile_network(network, config, at_once=1 if seed % 3 else None)
    reaches = validate_program(program_words(program), config)
    assert len(reaches) == 2 * len({reach.place for reach in reaches})
    for later in program.later:
        memory = program_words(program)[: HEADER.words]
        for block in later.blocks:
            if block.space == Space.PROGRAM:
                memory += np.frombuffer(block.data, "<u4").tolist()
        for entry in later.entries:
            validate_descriptors(memory, config, entry)


def test_dense_devices() -> None:
    config = DeviceConfig(
        Geometry(6, 8, 32), 12, 256, 64, 256, 128, 512, 8, 0, counters=0, convolution=0, threshold_share=4
    )
    first, second = validate_program(program_words(dense(config)), config)[:2]
    assert (first.reads, first.weights, first.starts) == (range(2), range(6), range(3))
    assert second.weights == range(6, 7)
    assert first.writes == second.reads


def walk(fields: dict[str, int], config: DeviceConfig) -> tuple[list[int], int, int]:
    """Addresses a layer reads, and how many weights and start values it goes through, loop by loop."""
    word = 1 << config.offset_bits
    address, reads = fields["in_base"] * word, []
    counts = [fields[f"{loop}_last"] + 1 for loop in LOOPS]
    for place in itertools.product(*(range(count) for count in reversed(counts))):
        at = dict(zip(LOOPS, reversed(place), strict=True))
        if reads:
            # The outermost loop that is not at its start has just moved, if all inside it have started again.
            moved = next(loop for loop in LOOPS if at[loop])
            delta = fields.get(f"delta_{moved}", 1)
            delta -= (delta >> 15) << 16
            address += delta * word + fields.get(f"bits_{moved}", 0)
        reads.append(address >> config.offset_bits)
    taps = counts[0] * counts[1] * counts[2] * counts[3] * counts[9]
    return reads, taps, counts[9]


@pytest.mark.parametrize("seed", some(range(60), 15))
def test_the_reach_is_what_a_walk_finds(seed: int) -> None:
    """Random nests, most of them nonsense: exactly those whose walk stays inside pass."""
    pick = random.Random(seed)
    config = DeviceConfig(Geometry(1, 8, 8), act_depth=pick.choice([64, 100]), weight_depth=64, code_bits=2)
    inside = 0
    for _ in range(100):
        fields = {f"{loop}_last": pick.choice([0, 0, 1, 2]) for loop in LOOPS}
        for name in DESCRIPTOR.fields:
            if name.startswith("delta_"):
                fields[name] = pick.choice([0, 1, 2, -1, -2, 3])
            if name.startswith("bits_"):
                fields[name] = pick.choice([0, 0, 1, 7])
        fields |= {"in_base": pick.randrange(100), "weight_base": pick.randrange(40), "end": 1}
        fields |= {"double": pick.randrange(2), "threshold_base": 3, "out_base": 200}
        words = [0] * HEADER.words + pack_descriptor(fields)
        found = DESCRIPTOR.unpack(DESCRIPTOR.pack(fields))
        reads, taps, starts = walk(found, config)
        fits = min(reads) >= 0 and max(reads) < config.act_depth
        fits &= fields["weight_base"] + taps <= config.weight_depth
        try:
            (reach,) = validate_descriptors(
                words, replace(config, act_depth=300, weight_depth=512), HEADER.words
            )
        except CompileError:
            assert min(reads) < 0 or max(reads) >= 200
        else:
            assert reach.reads == range(min(reads), max(reads) + 1)
            assert (len(reach.weights), len(reach.starts)) == (taps, starts)
        fields["out_base"] = 0
        words = [0] * HEADER.words + pack_descriptor(fields)
        try:
            validate_descriptors(words, config, HEADER.words)
        except CompileError as error:
            assert not fits or "over its input" in str(error)
        else:
            assert fits
            inside += 1
    assert inside


LAST = DESCRIPTOR.words - 1
TINY = DeviceConfig(Geometry(1, 8, 8), 12, 64, 16, 64, 64, line_bytes=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end": 0}, "the program ends at 17; the last descriptor needs its end flag"),
        ({"run_last": 64}, "reads words 0 to 64, but the memory ends at 63 (act_depth 64)"),
        ({"weight_base": 60}, "uses weights words 60 to 64, but the memory ends at 63 (weight_depth 64)"),
        ({"threshold_base": 16}, "uses start values words 16 to 16, but the memory ends at 15"),
        ({"out_base": 64}, "writes words 64 to 64, but the memory ends at 63 (act_depth 64)"),
        ({"out_base": 2}, "writes words 2 to 2, over its input 0 to 4"),
        ({"score": 1}, "has 0 slices, but a score has 1 to 12"),
        ({"score": 1, "slices": 13}, "has 13 slices, but a score has 1 to 12"),
        ({"bits_x": 1}, "has bits_x 1, but offsets have 0 bits"),
        ({"lanes": 9}, "uses 9 lanes of a word that has 8"),
        ({"padded": 1, "col_last": 1, "map_width": 5, "map_height": 9}, "but the memory ends at 63"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, int], message: str) -> None:
    layer = {"run_last": 4, "out_base": 20, "end": 1} | change
    words = [0] * HEADER.words + pack_descriptor(layer)
    with pytest.raises(CompileError) as caught:
        validate_descriptors(words, TINY, HEADER.words)
    assert message in str(caught.value)


def test_headers() -> None:
    words = program_words(dense(TINY, (30, 8, 4)))
    good = HEADER.unpack(words[: HEADER.words])
    reaches = validate_program(words, TINY)
    assert all(isinstance(reach, Reach) for reach in reaches)
    for change, message in (
        ({"magic": 1}, "program word 0 is 0x00000001"),
        ({"entry": 13}, "entry is 13, but every program has 12 there"),
        ({"in_base0": 1}, "in_base0 is 1, but every program has 0 there"),
        ({"out_words": 64}, "out_base0 words"),
        ({"out_bytes": 2}, "1 to 1 and there must be one"),
        ({"image_bytes": 0}, "an image has 0 bytes"),
        ({"image_bytes": 70}, "an image words 0 to 69"),
        ({"interleaved": 1}, "no line buffer"),
    ):
        with pytest.raises(CompileError) as caught:
            validate_program([*HEADER.pack(good | change), *words[HEADER.words :]], TINY)
        assert message in str(caught.value)
    with pytest.raises(CompileError, match="at least 12 words, this one 3"):
        validate_program(words[:3], TINY)
    with pytest.raises(CompileError, match="needs 65 words of program memory, the device has 64"):
        validate_program(words + [0] * (65 - len(words)), TINY)


def test_waiting_and_bits_that_mean_nothing() -> None:
    words = [0] * HEADER.words + pack_descriptor({"out_base": 9}) + pack_descriptor({"in_base": 9, "end": 1})
    with pytest.raises(CompileError, match="without waiting for it; set depends"):
        validate_descriptors(words, TINY, HEADER.words)
    words = [0] * HEADER.words + pack_descriptor({"out_base": 9, "x_last": 1, "end": 1})
    words[HEADER.words + DESCRIPTOR.fields["x_last"].word] |= 1 << 31
    with pytest.raises(CompileError, match="the descriptor at 12 has bits set that mean nothing"):
        validate_descriptors(words, TINY, HEADER.words)
    only = DeviceConfig(Geometry(1, 8, 8), line_bytes=0, convolution=0)
    words = [0] * HEADER.words + pack_descriptor({"x_last": 1, "out_base": 9, "end": 1})
    with pytest.raises(CompileError, match=r"is a convolution, which the device has not \(convolution=0\)"):
        validate_descriptors(words, only, HEADER.words)
