"""Windows of an image in words of their own: what the interleaver sends, and what it must not need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.campaigns import some
from xnorcore.compiler.compile import compile_network
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Conv2d, InputSpec
from xnorcore.model.network import Network
from xnorcore_hw.input.windows import WindowInterleaver
from xnorcore_hw.interfaces import HeaderLayout

from .streams import NONE, Stalls, get, put, simulate

CONFIG = DeviceConfig(Geometry(1, 8, 24), act_depth=4096, line_bytes=64, whole_windows=1)


def convolution(shape, bits, kernel, stride, padding, pad_value=0) -> Network:
    layer = Conv2d(
        np.ones((4, *kernel, shape[2]), np.int8), np.zeros(4), stride=stride, padding=padding,
        pad_value=pad_value,
    )  # fmt: skip
    return Network("net", InputSpec(shape, bits), [layer])


def windows(image: np.ndarray, layer: Conv2d, pad: int) -> list[tuple[int, bool, bool]]:
    """Every window of a padded copy of the image, row by row, and where windows and the image end."""
    (kh, kw), (sy, sx), (top, bottom, left, right) = layer.kernel, layer.stride, layer.padding
    full = np.pad(image, ((top, bottom), (left, right), (0, 0)), constant_values=pad)
    found = np.lib.stride_tricks.sliding_window_view(full, (kh, kw), (0, 1))[::sy, ::sx]
    # (rows, columns, channels, kh, kw) -> (positions, values)
    lines = found.transpose(0, 1, 3, 4, 2).reshape(-1, kh * kw * image.shape[2])
    ends = [(False, False)] * (lines.shape[1] - 1) + [(True, False)]
    values = [(value, *end) for line in lines.tolist() for value, end in zip(line, ends, strict=True)]
    return [*values[:-1], (values[-1][0], True, True)]


CASES = [
    ((5, 4, 1), (3, 3), (1, 1), (0, 0, 0, 0)),
    ((5, 4, 3), (3, 3), (1, 1), (1, 1, 1, 1)),
    ((7, 3, 2), (2, 1), (3, 2), (1, 0, 0, 0)),
    ((6, 5, 1), (4, 4), (2, 3), (3, 2, 2, 3)),
    ((6, 5, 1), (4, 4), (2, 2), (3, 2, 3, 1)),
    ((4, 4, 2), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((9, 2, 1), (2, 3), (4, 1), (0, 0, 1, 0)),
    ((9, 2, 1), (2, 5), (4, 1), (0, 1, 1, 2)),
    ((9, 6, 1), (7, 7), (1, 1), (2, 1, 0, 3)),  # 63 of the ring's 64 bytes
    ((4, 3, 1), (7, 7), (1, 1), (5, 3, 2, 2)),
]


@pytest.mark.parametrize("chance", [0.0, 0.4])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
def test_interleaver(shape, kernel, stride, padding, chance: float) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, shape) for _ in range(2)]
    check(convolution(shape, 8, kernel, stride, padding), images, 0, chance)


@pytest.mark.parametrize("pad_value", some([1, 0, -1], 1))
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES[1:8:2])
def test_interleaver_of_packed_bits(shape, kernel, stride, padding, pad_value: int) -> None:
    """Each bit is two equal bits, and padding of 0 is two different ones."""
    network = convolution(shape, 1, kernel, stride, padding, pad_value)
    images = [np.random.default_rng(2).integers(0, 2, shape) for _ in range(3)]
    pad = 0 if pad_value < 0 else 1
    check(network, images, pad, 0.3)


def check(network: Network, images: list[np.ndarray], pad: int, chance: float) -> None:
    dut = WindowInterleaver(CONFIG)
    layer = network.layers[0]
    assert isinstance(layer, Conv2d)
    header = compile_network(network, CONFIG).header
    packed = network.input.bits == 1
    wanted = [value for image in images for value in windows(3 * image if packed else image, layer, pad)]
    found = []

    async def send(ctx) -> None:
        for name in HeaderLayout(CONFIG).members:
            ctx.set(dut.header[name], int(header.get(name, 0)))
        await ctx.tick().repeat(2)  # a header is there long before images are
        for image in images:
            values = np.packbits(image.reshape(-1), bitorder="little") if packed else image.reshape(-1)
            await put(ctx, dut.i, values.tolist(), Stalls(1, chance) if chance else NONE)

    async def receive(ctx) -> None:
        found.extend(await get(ctx, dut.o, len(wanted), Stalls(2, chance) if chance else NONE))
        await ctx.tick().repeat(200)
        assert ctx.get(dut.idle)

    simulate(dut, send, receive, cycles=40_000)
    assert [(v.value, bool(v.row_last), bool(v.image_last)) for v in found] == wanted


def test_a_position_takes_whole_words() -> None:
    network = convolution((6, 5, 3), 2, (3, 3), (1, 2), (0, 0, 1, 1))
    program = compile_network(network, CONFIG)
    # 27 bits in words of 24: two for each of 4 x 3 positions and 2 planes.
    assert program.regions.sizes["image"] == 2 * 2 * 4 * 3
    assert not program.config.offset_bits
    nest = program.sections[0].descriptors[0].nest
    assert nest.step("x") == 2 * 24 and nest.step("y") == 3 * 2 * 24
    shared = compile_network(network, replace(CONFIG, geometry=Geometry(1, 8, 32), whole_windows=0))
    assert shared.regions.sizes["image"] == 2 * 4 * 2  # 7 columns of 9 bits
