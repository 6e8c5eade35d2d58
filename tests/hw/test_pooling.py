"""Max pooling in the gateware: any window, stride and padding, while a convolution writes or on its own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError
from xnorcore.isa.check import validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import DESCRIPTOR, HEADER
from xnorcore.isa.program import Program
from xnorcore.isa.protocol import Space
from xnorcore.model.layers import Conv2d, Dense, GlobalSum, InputSpec, Layer, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator

from .networks import random_images

SMALL = "act_depth=4096,weight_depth=4096,threshold_depth=512,acc_width=20"
URLS = [
    f"sim:rows=2,columns=8,width=8,{SMALL}",
    f"sim:rows=3,columns=4,width=16,{SMALL}",
    f"sim:rows=1,columns=32,width=16,{SMALL}",
]
POOLS = {
    "as PyTorch's ResNet": MaxPool2d((3, 3), (2, 2), padding=(1, 1, 1, 1)),
    "four": MaxPool2d((4, 4)),
    "seven": MaxPool2d((7, 7), (3, 2)),
    "every position": MaxPool2d((3, 3), (1, 1)),
    "every position, padded": MaxPool2d((3, 3), (1, 1), padding=(1, 1, 1, 1)),
    "seven, padded as far as it goes": MaxPool2d((7, 7), (1, 5), padding=(6, 6, 6, 6)),
    "five rows, two passes": MaxPool2d((5, 1), (2, 1), padding=(2, 2, 0, 0)),
    "ceil_mode": MaxPool2d((2, 2), (2, 2), padding=(0, 1, 0, 1)),
    "one dimension": MaxPool2d((1, 3), (1, 2), padding=(0, 0, 1, 1)),
    "large strides": MaxPool2d((6, 2), (7, 7), padding=(5, 0, 1, 0)),
    "one": MaxPool2d((1, 1), (2, 3)),
}


@pytest.fixture(scope="module", params=some(URLS, 1))
def device(request: pytest.FixtureRequest) -> Iterator[Accelerator]:
    with Accelerator.open(request.param) as accelerator:
        yield accelerator


def pooling(pool: MaxPool2d, channels: int = 11, ending: str = "dense") -> Network:
    """A convolution whose bits are mostly 0, so that an OR shows, the pooling, and what reads it."""
    rng = np.random.default_rng(channels)
    weights = rng.choice([-1, 1], (channels, 3, 2, 2)).astype(np.int8)
    layers: list[Layer] = [Conv2d(weights, rng.integers(4, 7, channels), padding=(1, 0, 0, 1)), pool]
    shape = pool.output_shape((8, 9, channels))
    if ending == "dense":
        layers.append(Dense(rng.choice([-1, 1], (5, int(np.prod(shape)))).astype(np.int8)))
    elif ending == "sum":
        layers += [GlobalSum(), Dense(rng.choice([-1, 1], (5, channels)).astype(np.int8))]
    return Network("pooling", InputSpec((9, 9, 2)), layers)


@pytest.mark.parametrize("kind", some(POOLS, 8))
@pytest.mark.parametrize("at_once", [None, 1])
def test_pooling(device: Accelerator, kind: str, at_once: int | None) -> None:
    network = pooling(POOLS[kind], 33 if kind == "as PyTorch's ResNet" else 11)
    images = random_images(np.random.default_rng(1), network, 4)
    device.load(network, verify=False, at_once=at_once)
    expected = golden.layers(network, images)
    assert 0.02 < expected[1].mean() < 0.98
    np.testing.assert_array_equal(device.infer(images), expected[-1])
    program = compile_network(network, device.info.config, at_once)
    for stop in program.stops[:-1]:
        device.stop_after(stop.index)
        np.testing.assert_array_equal(device.infer(images), expected[stop.index])


@pytest.mark.parametrize("ending", ["sum", "bits"])
def test_what_follows_a_pooling_of_its_own(device: Accelerator, ending: str) -> None:
    network = pooling(POOLS["as PyTorch's ResNet"], 5, ending)
    images = random_images(np.random.default_rng(2), network, 3)
    device.load(network, verify=False)
    np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_sums_in_front_of_a_pooling_of_its_own(device: Accelerator) -> None:
    network = pooling(POOLS["seven, padded as far as it goes"])
    images = random_images(np.random.default_rng(3), network, 1)
    device.load(network, verify=False)
    device.stop_after(0, sums=True)
    found = device.infer(images)
    bare = Network("sums", network.input, [Conv2d(network.layers[0].weights, padding=(1, 0, 0, 1))])  # type: ignore[union-attr]
    np.testing.assert_array_equal(found, golden.run(bare, images)[:, : found.shape[1]])


@pytest.mark.campaign
def test_a_pooling_of_two_passes_where_weights_arrive_in_passes() -> None:
    network = pooling(POOLS["five rows, two passes"], 70)
    images = random_images(np.random.default_rng(4), network, 3)
    expected = golden.layers(network, images)
    with Accelerator.open("sim:rows=1,columns=8,width=16,threshold_depth=16") as device:
        device.load(network, verify=False)
        program = compile_network(network, device.info.config)
        assert program.passes > 1 and [stop.index for stop in program.stops] == [0, 1, 2]
        for index in range(3):
            device.stop_after(index)
            np.testing.assert_array_equal(device.infer(images), expected[index])


CONFIG = DeviceConfig(Geometry(2, 8, 16), act_depth=8192)


def plans(pool: MaxPool2d) -> list[tuple[int, int]]:
    return [(plan.layer, plan.beats) for plan in compile_network(pooling(pool), CONFIG).layers]


def test_what_is_pooled_while_the_convolution_writes() -> None:
    """Usual pooling costs nothing of its own; what would compute positions many times gets a pass."""
    for pool in (MaxPool2d(), MaxPool2d((3, 3)), MaxPool2d((3, 3), (2, 2)), MaxPool2d((4, 4))):
        assert [layer for layer, _ in plans(pool)] == [0, 2]
    for pool in (MaxPool2d((3, 3), (1, 1)), MaxPool2d((2, 2), padding=(1, 0, 0, 0)), MaxPool2d((4, 5))):
        assert [layer for layer, _ in plans(pool)] == [0, 1, 2]
    # A tile of 11 channels in two, a word of pixel, 9 taps read twice, at 4 x 5 positions.
    assert plans(POOLS["as PyTorch's ResNet"])[1] == (1, 2 * 9 * 2 * 4 * 5)
    assert [layer for layer, _ in plans(POOLS["five rows, two passes"])] == [0, 1, 1, 2]


def test_a_map_that_is_too_tall_is_refused() -> None:
    ones = np.ones((1, 1, 1, 1), np.int8)
    chain = [Conv2d(ones, [0]), MaxPool2d((2, 1), padding=(1, 1, 0, 0), name="tall")]
    network = Network("n", InputSpec((500, 1, 1)), chain)
    with pytest.raises(CompileError, match=r"'tall' with padding pools a map of 500 x 1, but at most 490"):
        compile_network(network, CONFIG)


def words_of(program: Program) -> list[int]:
    data = program.contents(Space.PROGRAM, 0)
    return [int(word) for word in data]


@pytest.mark.parametrize("name", ["pad_top", "stride_y", "step_y", "map_height"])
def test_a_program_that_reads_taps_twice_counts_rows_twice(name: str) -> None:
    program = compile_network(pooling(POOLS["as PyTorch's ResNet"]), CONFIG)
    words = words_of(program)
    validate_program(words, CONFIG)
    at = HEADER.words
    while True:
        fields = DESCRIPTOR.unpack(words[at : at + DESCRIPTOR.words])
        if fields["row_last"] == 1 and fields["padded"] and fields["delta_row"] & 0x8000:
            break
        at += DESCRIPTOR.words
    field = DESCRIPTOR.fields[name]
    words[at + field.word] += 1 << field.low
    with pytest.raises(
        CompileError, match=f"reads taps twice, but {name} is {fields[name] + 1} and not even"
    ):
        validate_program(words, CONFIG)
