"""Maps as kernel rows: what the compiler makes of them, and what an interpreted device gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.rownets import DEVICES, networks
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, GeometryError
from xnorcore.isa.check import validate_program
from xnorcore.isa.descriptor import Descriptor, Nest
from xnorcore.isa.device import DeviceConfig
from xnorcore.isa.layout import HEADER
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.isa.protocol import DeviceInfo, Space
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_images
from xnorcore.verify.random_rows import rows_network


@pytest.mark.parametrize("number", some(range(len(DEVICES)), always=1))
def test_every_layer_is_that_of_the_golden_model(number: int) -> None:
    config = DEVICES[number]
    packed = []
    with Accelerator.open(machine_url(config)) as device:
        for index, network in enumerate(networks(config)):
            rng = np.random.default_rng(index)
            images = random_images(rng, network, 3)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat)
            found = checks(network, "machine", seen, flat, golden.layers(network, images))
            assert {one.verdict for one in found} <= {"equal", "-"}, (index, found)
            packed += [one.packed for one in compile_network(network, config).sections[0].descriptors]
    wide = config.geometry.columns > config.geometry.width // 4
    assert set(packed) == {0, 1, 2} if wide else {0, 1}


def program(number: int = 0) -> tuple[DeviceConfig, list[int], list[Descriptor]]:
    """Return a device, and the program of its second network, in words and as descriptors."""
    config = DEVICES[number]
    compiled = compile_network(networks(config)[1], config)
    return config, compiled.contents(Space.PROGRAM, 0), list(compiled.sections[0].descriptors)


def test_what_the_compiler_says_of_them() -> None:
    """Weights for the left edge alone where a stride leaves out the last column."""
    _, _, found = program()
    assert [one.packed for one in found] == [1, 1, 2, 0, 0]
    assert [one.edges for one in found[1:4]] == [(True, False), (True, True), (True, True)]
    compiled = compile_network(networks(DEVICES[0])[1], DEVICES[0])
    text = "\n".join(listing_lines(listing(compiled)))
    assert "kernel rows of 2 words" in text and "weights of its own left and right" in text
    chain = compile_network(networks(DEVICES[0])[6], DEVICES[0]).sections[0].descriptors
    assert [(one.adding.short, one.adding.fresh) for one in chain if one.adding] == [
        (4, 0), (4, 0), (0, 4), (0, 0)
    ]  # fmt: skip
    plain = replace(DEVICES[0], packed_rows=0)
    for network in networks(DEVICES[0]):
        assert compile_network(network, DEVICES[0]).cycles <= compile_network(network, plain).cycles


def test_maps_that_are_not_written_so() -> None:
    """Padding with ones, an odd number of channels beside zeros, too many of them, or several readers."""
    rng, config = np.random.default_rng(0), DEVICES[2]
    few = config.geometry.width // 2
    for network in (
        rows_network(rng, (8, 8), pads=((1, 1),)), rows_network(rng, (7, 8)),
        rows_network(rng, (few + 2, 8)), rows_network(rng, (8, 8), pads=((0, 0), (1, 1))),
    ):  # fmt: skip
        assert not any(one.packed for one in compile_network(network, config).sections[0].descriptors)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 16, "columns": 16}, "a multiple of 32 and at least columns; they are 16 and 16"),
        ({"width": 32, "columns": 64}, "at least columns; they are 32 and 64"),
        ({"store_words": 1 << 14}, "needs convolution 1 and store_words 0; they are 1 and 16384"),
        ({"convolution": 0, "line_bytes": 0}, "needs convolution 1 and store_words 0; they are 0 and 0"),
    ],
)
def test_devices_that_do_not_write_them(changes: dict[str, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        DeviceConfig.parse(**{"width": 32, "columns": 8, "packed_rows": 1, **changes})
    with pytest.raises(GeometryError, match="packed_rows is 2, but must be 0 or 1"):
        DeviceConfig(packed_rows=2)


@pytest.mark.parametrize(
    ("index", "changes", "message"),
    [
        (0, {"bits": 2, "rescaled": True}, "results are bits of one tile"),
        (0, {"out_step": 3}, "but out_delta is 3"),
        (
            2,
            {"nest": Nest.of(run=(1, 32)), "edges": (False, False)},
            "a row has 2 positions or more; it has 1",
        ),
        (1, {"nest": Nest.of(run=(1, 32))}, "has weights for 1 edges of rows, but 1 positions in a row"),
        (1, {"edges": (False, False), "packed": 0}, ""),
    ],
)
def test_programs_that_a_device_cannot_run(index: int, changes: dict[str, Any], message: str) -> None:
    config, words, found = program()
    found[index] = replace(found[index], **changes, end=True)
    compiled = compile_network(networks(config)[1], config)
    section = replace(compiled.sections[0], descriptors=tuple(found[: index + 1]))
    encoded, _ = section.encoded(compiled.regions, config.geometry.width)
    header = words[: HEADER.words]
    if message:
        with pytest.raises(CompileError, match=message):
            validate_program(header + encoded, config)
        return
    validate_program(header + encoded, config)
    other = replace(config, packed_rows=0)
    with pytest.raises(CompileError, match=r"which the device does not \(packed_rows=0\)"):
        validate_program(header + encoded, other)


def test_values_that_do_not_go_with_a_program() -> None:
    config = DEVICES[0]
    compiled = compile_network(networks(config)[6], config)
    words = compiled.contents(Space.PROGRAM, 0)[: HEADER.words]
    for changes, message in (
        ({"short": 4, "fresh": 4}, "leaves out 4 words of values and has 4 new ones, but a position has 8"),
        ({"short": 1}, "leaves out 1 words of values, but writes whole results"),
    ):
        found = list(compiled.sections[0].descriptors)
        last = max(number for number, one in enumerate(found) if one.adding)
        adding = found[last].adding
        assert adding is not None and not found[last].packed
        found[last] = replace(found[last], adding=replace(adding, **changes))
        section = replace(compiled.sections[0], descriptors=tuple(found))
        with pytest.raises(CompileError, match=message):
            validate_program(words + section.encoded(compiled.regions, 32)[0], config)


def test_information() -> None:
    for config in DEVICES:
        assert DeviceInfo.unpack(DeviceInfo(config).pack()).config == config
    assert DEVICES[0].digest() != replace(DEVICES[0], packed_rows=0).digest()
