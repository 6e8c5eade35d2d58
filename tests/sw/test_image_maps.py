"""Images of bits that lie in memory as maps, each pixel in words of its own; and networks that need it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.sw.alexnet import alexnet
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.group import grouped, largest, most_per_row
from xnorcore.errors import CapacityError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import StoreKind
from xnorcore.model.layers import Conv2d, Dense, InputSpec, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_images, signs

DEVICES = [
    DeviceConfig(Geometry(2, 8, 8), act_depth=2048),
    DeviceConfig(Geometry(1, 8, 16), act_depth=1024, column_align=4),
    DeviceConfig(Geometry(2, 4, 16), act_depth=1024, whole_windows=1, act_ports=1),
]
AROUND = (1, 2, 2, 1)


def network(channels: int, kernel: int = 3, shape: tuple[int, int] = (9, 7), **options: Any) -> Network:
    """A convolution of an image of bits, and a dense layer."""
    rng = np.random.default_rng([channels, kernel])
    first = Conv2d(signs(rng, 9, kernel, kernel, channels), rng.integers(-5, 6, 9), **options)
    layers: list[Any] = [first, MaxPool2d()]
    size = MaxPool2d().output_shape(first.output_shape((*shape, channels)))
    return Network(
        "maps", InputSpec((*shape, channels), 1), [*layers, Dense(signs(rng, 3, int(np.prod(size))))]
    )


CASES = {
    "pixels fill words": network(32),
    "padded": network(16, padding=AROUND),
    "padded, and lanes are left over": network(12, padding=AROUND),
    "padded with ones": network(48, padding=AROUND, pad_value=1),
    "strides": network(26, 5, padding=(2, 2, 2, 2), stride=(2, 1)),
}


@pytest.mark.parametrize("config", DEVICES, ids=lambda config: f"{config.geometry}")
@pytest.mark.parametrize("case", CASES)
def test_every_layer_is_that_of_the_golden_model(case: str, config: DeviceConfig) -> None:
    net = CASES[case]
    channels, width = net.input.shape[-1], config.geometry.width
    program = compile_network(net, config)
    assert program.regions.sizes["image"] == 63 * -(-channels // width), "it is a map"
    assert program.header.get("interleaved", 0) == (channels % width > 0)
    images = random_images(np.random.default_rng(1), net, 5).reshape(5, -1)
    with Accelerator.open(machine_url(config)) as device:
        seen = observe(device, net, images)
    found = checks(net, "machine", seen, images, golden.layers(net, images))
    assert {check.verdict for check in found} <= {"equal", "-"}, found


def test_windows_where_they_take_fewer_beats_or_words() -> None:
    config = DEVICES[1]
    for few in (network(3), network(2, padding=AROUND), network(5, 1)):
        program = compile_network(few, config)
        assert program.header["map_height"] == 9 and program.header["interleaved"]
    # One word of both; a strip of rows is computed from windows alone.
    net, config = network(8, padding=AROUND), replace(DEVICES[0], geometry=Geometry(3, 8, 8))
    assert compile_network(net, config).header.get("interleaved") is None
    assert compile_network(net, config, at_once=1).header["interleaved"]


def test_images_without_a_line_buffer() -> None:
    """Pixels that fill words come as they are; others cannot."""
    config = replace(DEVICES[0], line_bytes=0)
    images = random_images(np.random.default_rng(1), CASES["padded"], 3)
    with Accelerator.open(machine_url(config)) as device:
        device.load(CASES["padded"])
        np.testing.assert_array_equal(device.infer(images), golden.run(CASES["padded"], images))
    # Too many pixels to come one below the other: windows, of which the buffer holds too few rows.
    large = network(20, 5, (40, 30), padding=(2, 2, 2, 2))
    with pytest.raises(CapacityError, match="needs 5 image rows of 600 values in the line buffer"):
        compile_network(large, replace(DEVICES[0], line_bytes=2048, act_depth=65536))


def test_results_lie_where_layers_had_theirs() -> None:
    """With room for one batch, results need no words of their own."""
    rng = np.random.default_rng(0)
    wide = Conv2d(signs(rng, 8, 1, 1, 8), np.zeros(8))
    net = Network("results", InputSpec((8, 8, 8), 1), [wide, wide, Dense(signs(rng, 40, 512))])
    config = DeviceConfig(Geometry(1, 8, 8), acc_width=16, act_depth=64 + 2 * 64 + 10)
    program = compile_network(net, config)
    assert program.results_read and program.used["act_depth"] == 64 + 2 * 64
    assert program.regions.bases == {"image": 0, "layer0": 64, "layer1": 128, "results": 64}
    images = random_images(rng, net, 4)
    with Accelerator.open(machine_url(config)) as device:
        device.load(net)
        np.testing.assert_array_equal(device.infer(images), golden.run(net, images))


SMALL = DeviceConfig(
    Geometry(3, 8, 8), acc_width=16, weight_depth=128, threshold_depth=64, act_depth=1024, program_depth=512,
    line_bytes=256, store_words=1 << 15, store_kind=StoreKind.SDRAM, threshold_share=2, column_group=4,
    counters=0,
)  # fmt: skip
ULX3S = DeviceConfig(
    Geometry(3, 64, 64), acc_width=16, column_group=4, weight_depth=512, threshold_depth=256, act_depth=4096,
    program_depth=512, fifo_bytes=4096, line_bytes=2048, threshold_share=4, column_align=4,
    store_words=1 << 22, store_kind=StoreKind.SDRAM,
)  # fmt: skip


@pytest.mark.campaign
def test_alexnet_of_a_sixteenth_its_width() -> None:
    """All layers on a device of little memory; images in rounds, which share the dense layers' weights."""
    net = alexnet(16, 15)
    program = compile_network(net, SMALL, per_row=2)
    assert program.streams and program.passes == 1 and program.results_read
    assert most_per_row(program) == 2 and largest(program).batch == 6
    images = random_images(np.random.default_rng(0), net, 7)
    flat, wanted = images.reshape(7, -1), golden.layers(net, images)
    with Accelerator.open(machine_url(SMALL)) as device:
        seen = observe(device, net, flat)
        assert {one.verdict for one in checks(net, "machine", seen, flat, wanted)} <= {"equal", "-"}
        device.load_program(program)
        np.testing.assert_array_equal(device.infer(images), wanted[-1])
        assert device.running is not None and len(device.running.turns) == 2


@pytest.mark.campaign
def test_alexnet_on_an_85f() -> None:
    """By computation, 58 Mbit of weights from its SDRAM: images per second one at a time, and in batches."""
    clock, program = 75_000_000, compile_network(alexnet(), ULX3S)
    assert program.network.weight_bits == 58_236_928 and program.streams and program.passes == 1
    assert clock / program.cycles > 18.3
    most = grouped(program, most_per_row(program))
    assert most.batch == 6 and most.batch * clock / most.cycles > 98
