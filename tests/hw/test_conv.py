"""Convolution in the gateware: the interleaver, random networks, strips, refusals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.alexnet import alexnet
from tests.sw.test_image_maps import CASES
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CapacityError, CompileError, DeviceError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Command, Status
from xnorcore.model.layers import Conv2d, Dense, InputSpec
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.runtime.requests import infer_head
from xnorcore_hw.input.interleaver import RowInterleaver

from .cnns import random_cnn
from .networks import random_images
from .streams import NONE, Stalls, get, put, simulate

SMALL = "act_depth=4096,weight_depth=4096,threshold_depth=512,acc_width=20"
URLS = [
    f"sim:rows=1,columns=8,width=8,{SMALL}",
    f"sim:rows=3,columns=4,width=16,{SMALL}",
    f"sim:rows=2,columns=32,width=16,{SMALL}",
    f"sim:rows=2,columns=24,width=24,whole_windows=1,{SMALL}",
]


def interleaved(image: np.ndarray, kernel: int, stride: int, padding: tuple, pad: int) -> list[tuple]:
    """Say what the interleaver sends, by indexing a padded copy of the image."""
    top, bottom, left, right = padding
    full = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=pad)
    rows = (full.shape[0] - kernel) // stride + 1
    values = []
    for row in range(rows):
        lines = full[row * stride : row * stride + kernel].transpose(1, 0, 2).reshape(-1)
        for index, value in enumerate(lines.tolist()):
            row_last = index == len(lines) - 1
            values.append((value, row_last, row_last and row == rows - 1))
    return values


@pytest.mark.parametrize("chance", [0.0, 0.4])
@pytest.mark.parametrize(
    "shape, kernel, stride, padding",
    [
        ((5, 4, 1), 3, 1, (0, 0, 0, 0)),
        ((5, 4, 3), 3, 1, (1, 1, 1, 1)),
        ((7, 3, 2), 2, 3, (1, 0, 0, 1)),
        ((6, 5, 1), 4, 2, (3, 2, 2, 3)),
        ((4, 4, 2), 1, 1, (0, 0, 0, 0)),
        ((9, 2, 1), 2, 4, (0, 0, 1, 0)),
        ((9, 8, 1), 8, 1, (2, 1, 0, 3)),
    ],
)
def test_interleaver(shape, kernel, stride, padding, chance) -> None:
    dut = RowInterleaver(DeviceConfig(line_bytes=64))
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, shape) for _ in range(2)]
    row_values = shape[1] * shape[2]
    rows = (shape[0] + padding[0] + padding[1] - kernel) // stride + 1
    across = shape[1] + padding[2] + padding[3]
    setup = {
        "pad": 7, "kernel_last": kernel - 1, "channels_last": shape[2] - 1, "row_values": row_values,
        "map_width": shape[1], "map_height": shape[0], "pad_left": padding[2], "pad_right": padding[3],
        "pad_top": padding[0], "stride": stride, "rows_last": rows - 1,
        "first_place": padding[0] * row_values + padding[2] * shape[2],
        "column_step": 1 - (kernel - 1) * row_values & 0xFFFF,
        "line_step": 1 + (stride + 1 - kernel) * row_values - across * shape[2] & 0xFFFF,
    }  # fmt: skip
    wanted = [value for image in images for value in interleaved(image, kernel, stride, padding, 7)]
    found = []

    async def send(ctx) -> None:
        for name, value in setup.items():
            ctx.set(dut.header[name], value)
        stream = [int(value) for image in images for value in image.reshape(-1)]
        await put(ctx, dut.i, stream, Stalls(1, chance) if chance else NONE)

    async def receive(ctx) -> None:
        stalls = Stalls(2, chance) if chance else NONE
        found.extend(await get(ctx, dut.o, len(wanted), stalls))

    simulate(dut, send, receive)
    assert [(v.value, bool(v.row_last), bool(v.image_last)) for v in found] == wanted


@pytest.mark.parametrize(("shape", "count"), [((3, 3, 1), 3), ((600, 2, 1), 2)])
def test_interleaver_of_packed_bits(shape: tuple[int, int, int], count: int) -> None:
    """Each bit is a value of two equal bits; an image that ends inside a byte leaves the rest of it."""
    dut = RowInterleaver(DeviceConfig(line_bytes=64))
    rng = np.random.default_rng(4)
    height, width, _ = shape
    images = [rng.integers(0, 2, shape) for _ in range(count)]
    setup = {"packed": 1, "kernel_last": 1, "row_values": width, "map_width": width, "map_height": height}
    setup |= {"stride": 1, "rows_last": height - 2}
    setup |= {"column_step": 1 - width & 0xFFFF, "line_step": 1 - width & 0xFFFF}
    wanted = [value for image in images for value in interleaved(3 * image, 2, 1, (0, 0, 0, 0), 0)]
    found = []

    async def send(ctx) -> None:
        for name, value in setup.items():
            ctx.set(dut.header[name], value)
        for image in images:
            await put(ctx, dut.i, np.packbits(image.reshape(-1), bitorder="little").tolist())

    async def receive(ctx) -> None:
        found.extend(await get(ctx, dut.o, len(wanted)))

    simulate(dut, send, receive)
    assert [(v.value, bool(v.row_last), bool(v.image_last)) for v in found] == wanted


@pytest.fixture(scope="module", params=some(URLS, 2))
def device(request: pytest.FixtureRequest) -> Iterator[Accelerator]:
    with Accelerator.open(request.param) as accelerator:
        yield accelerator


@pytest.mark.parametrize("seed", some(range(60), 10))
def test_random_networks(device: Accelerator, seed: int) -> None:
    network = random_cnn(seed)
    images = random_images(np.random.default_rng(seed), network, 1 + seed % 5)
    device.load(network, verify=False, at_once=1 if seed % 2 else None)
    wanted = golden.run(network, images)
    np.testing.assert_array_equal(device.infer(images), wanted)


@pytest.mark.parametrize("case", ["padded", "strides", "pixels fill words"])
def test_images_that_lie_as_maps(device: Accelerator, case: str) -> None:
    network = CASES[case]
    images = random_images(np.random.default_rng(0), network, 4)
    device.load(network, verify=False)
    np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_alexnet_of_a_sixteenth_its_width(device: Accelerator) -> None:
    network = alexnet(16, 15)
    images = random_images(np.random.default_rng(0), network, 4)
    device.load(network, verify=False)
    np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


@pytest.mark.campaign
def test_start_values_of_columns_that_share_a_memory_stay_for_all_positions() -> None:
    url = f"sim:rows=1,columns=8,width=32,threshold_share=4,{SMALL}"
    with Accelerator.open(url) as device:
        for seed in range(8):
            network = random_cnn(seed)
            images = random_images(np.random.default_rng(seed), network, 2)
            device.load(network, verify=False)
            np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_strips_cut_the_latency_of_one_image() -> None:
    rng = np.random.default_rng(0)
    weights = rng.choice([-1, 1], (8, 3, 3, 8)).astype(np.int8)
    first = Conv2d(rng.choice([-1, 1], (8, 3, 3, 1)).astype(np.int8), np.full(8, 4 * 15))
    network = Network(
        "strips", InputSpec((14, 14, 1), 4), [first, Conv2d(weights, np.zeros(8)), Conv2d(weights)]
    )
    config = DeviceConfig(Geometry(4, 8, 8))
    together, alone = compile_network(network, config, at_once=4), compile_network(network, config, at_once=1)
    assert alone.spread and not together.spread
    assert alone.beats < together.beats / 3 and alone.latency < 0.36 * together.latency


def conv_network(shape=(8, 8, 2), bits=1, kernel=(3, 3), **options) -> Network:
    first = Conv2d(np.ones((4, *kernel, shape[2]), np.int8), np.zeros(4), **options)
    size = int(np.prod(first.output_shape(shape)))
    return Network("net", InputSpec(shape, bits), [first, Dense(np.ones((2, size), np.int8))])


@pytest.mark.parametrize(
    "network, options, error, message",
    [
        (conv_network(), {"line_bytes": 0}, CompileError, "line_bytes is 0"),
        (conv_network(), {"columns": 24, "width": 24}, CompileError, "width 24 is not a power of two"),
        (
            conv_network(),
            {"line_bytes": 40},
            CapacityError,
            "needs 3 image rows of 16 values in the line buffer",
        ),
        (
            conv_network(padding=(1, 1, 1, 1)),
            {"line_bytes": 55, "whole_windows": 1},
            CapacityError,
            "needs 3 image rows of 16 values and 2 of padding in the line buffer",
        ),
        (conv_network((60, 60, 2)), {"act_depth": 512}, CapacityError, "words of activation memory"),
        (conv_network((3, 1200, 1), kernel=(1, 1)), {}, CompileError, "at most 1000 x 1000 x 256"),
    ],
)
def test_refusals(network, options, error, message) -> None:
    with pytest.raises(error, match=message):
        compile_network(network, DeviceConfig.parse(**options))


@pytest.mark.parametrize("channels", [1, 5, 9, 16, 33])
@pytest.mark.parametrize("pad_value", [-1, 0, 1])
def test_padding_of_any_number_of_channels(device: Accelerator, channels: int, pad_value: int) -> None:
    rng = np.random.default_rng(channels)

    def conv(outputs: int, inputs: int, **options) -> Conv2d:
        weights = rng.choice([-1, 1], (outputs, 3, 3, inputs)).astype(np.int8)
        return Conv2d(weights, rng.integers(-3, 4, outputs), **options)

    padded = conv(7, channels, padding=(1, 2, 2, 1), pad_value=pad_value, stride=(2, 1))
    network = Network("padded", InputSpec((7, 6, 2), 1), [conv(channels, 2), padded])
    images = random_images(rng, network, 3)
    device.load(network, verify=False)
    np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


@pytest.mark.parametrize("extra", [1, 16, 100])
def test_a_group_that_ends_inside_an_image_is_refused(device: Accelerator, extra: int) -> None:
    """Also where the rows that came were all written, or are fewer than a kernel needs."""
    network = conv_network(bits=8)
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 2), dtype=np.uint8)
    device.load(network, verify=False)
    with pytest.raises(DeviceError) as refusal:
        device.session.call(Command.INFER, infer_head(device.program) + image.tobytes() + bytes(extra))
    assert refusal.value.status == Status.BAD_LENGTH
    np.testing.assert_array_equal(device.infer(image), golden.run(network, image))
