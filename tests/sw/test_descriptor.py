"""Descriptors: what is encoded is what is decoded, and what a word cannot hold is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.isa.descriptor import Descriptor, MemoryMap, Nest, Padding, Place, Strips, decode, encode
from xnorcore.verify.case import draw
from xnorcore.verify.random_devices import random_config

MAP = MemoryMap({"image": 0, "even": 40, "results": 90}, {"image": 20, "even": 50, "results": 9})
PAIRED = replace(MAP, paired=frozenset({"image", "results"}))


def placed(descriptor: Descriptor, regions: MemoryMap) -> Descriptor:
    """A descriptor as it comes back: regions that only the map knows have become words."""
    return replace(
        descriptor,
        **{
            side: place if place.region in regions.paired else Place("", regions.word(place))
            for side, place in (("source", descriptor.source), ("target", descriptor.target))
        },
    )


@pytest.mark.parametrize("first", range(0, 90, 30))
def test_decode_is_the_inverse_of_encode(first: int) -> None:
    for number in range(first, first + 30):
        case = draw(8, number, random_config(np.random.default_rng([8, number])))
        program = compile_network(case.network, case.config, case.at_once)
        width = case.config.geometry.width
        for section in program.sections:
            words, _ = section.encoded(program.regions, width)
            place, found = 0, []
            while place < len(words):
                descriptor, place = decode(words, place, width)
                found.append(descriptor)
            assert found == [placed(one, program.regions) for one in section.descriptors]


FULL = Descriptor(
    Nest.of(run=(3, 32), col=(2, 96), row=(2, 960), win_x=(2, 96), win_y=(2, 960), x=(4, 192), y=(3, 1920),
            tile=(2, 0)),
    Place("image", 7), Place("even", 3), 5, 6, 2, -3, 0, False, True, False, 9,
    Padding(-1, 1, 2, (1, 1), (2, 2), (8, 10)), Strips(30, 40),
)  # fmt: skip


def test_every_field_survives() -> None:
    for descriptor in (
        FULL,
        replace(FULL, slices=5, end=True),
        replace(FULL, bits=3, plane=(1 << 16) - 1),
        *(
            replace(
                FULL,
                nest=FULL.nest.with_loops(plane=(len(bits), -320)),
                double=True,
                padding=Padding(2 * bits[0] - 1, 1, 2, (1, 1), (2, 2), (8, 10), bits=bits),
            )
            for bits in ((0, 0), (0, 1), (1, 0), (1, 0, 1), (0, 1, 0))
        ),
        replace(FULL, padding=Padding(0, 1, 2, (1, 1), (2, 2), (8, 10), balance=True), strips=None),
    ):
        assert decode([0, 0, *encode(descriptor, PAIRED, 32)], 2, 32)[0] == placed(descriptor, PAIRED)


def test_a_dense_layer_takes_six_words() -> None:
    dense = Descriptor(Nest.of(run=(20, 32), tile=(4, 0)), Place("image"), Place("even"))
    assert len(encode(dense, MAP, 32)) == 6 and len(encode(FULL, MAP, 32)) == 14


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 9}, "code_last is 8, but has only 3 bits"),
        ({"plane": 1 << 16}, "plane_high is 1024, but has only 10 bits"),
        ({"weights": 1 << 16}, "weight_base is 65536, but has only 16 bits"),
        ({"nest": Nest.of(run=(3, 64))}, "loop run moves on by 64 bits"),
        ({"nest": Nest.of(row=(3, 33))}, "loop row moves on by 33 bits, which is no whole number of words"),
        ({"nest": Nest.of(col=(9, 32))}, "col_last is 8, but has only 3 bits"),
    ],
)
def test_what_words_cannot_hold(change, message) -> None:
    with pytest.raises(CompileError, match=message):
        encode(replace(FULL, **change), MAP, 32)


def test_nests() -> None:
    nest = Nest.of(x=(4, 8), run=(2, 32), y=(1, 77))
    assert list(nest.loops) == ["run", "x"] and nest.beats == 8
    assert (nest.count("y"), nest.step("y"), nest.step("x")) == (1, 0, 8)
    assert nest.with_loops(x=(1, 8), y=(3, 9)) == Nest.of(run=(2, 32), y=(3, 9))
