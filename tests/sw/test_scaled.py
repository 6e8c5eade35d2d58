"""XNOR-Net's K on devices that have a memory for it: what the compiler makes of it, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.draws import RNG
from tests.sw.changed import words
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CapacityError, CompileError, GeometryError
from xnorcore.isa.check import validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.isa.protocol import DeviceInfo
from xnorcore.isa.scales import packed_scales
from xnorcore.isa.scaling import NEVER, Scaling, factors, folded, limit_words, multiplied
from xnorcore.model.network import Concat, Dense, InputScale, InputSpec, Network, Node
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_images, signs
from xnorcore.verify.random_scaled import random_scaled, scaled_network

CONFIG = DeviceConfig(
    Geometry(2, 16, 16), 20, code_bits=8, result_lanes=2, scale_depth=256, weight_depth=2048, act_depth=4096,
    program_depth=512,
)  # fmt: skip
SHAPES: tuple[dict[str, Any], ...] = (
    {}, {"bits": 8, "pool": True}, {"bits": 2, "pad": False}, {"bits": 2, "widths": (5, 9)},
    {"size": (40,), "bits": 8, "widths": (33, 7, 16, 9)}, {"size": (40,), "bits": 2, "widths": (17, 20)},
    {"widths": (16, 32), "bits": 8, "image": 1, "kernel": (2, 3), "stride": (2, 1)},
    {"widths": (21, 9), "kernel": (1, 1), "pad": False, "bits": 3},
    {"size": (31,), "widths": (12, 4), "bits": 5}, {"widths": (9, 12, 10, 7), "chain": 3, "bits": 3},
    {"widths": (5, 17, 9), "chain": 2, "bits": 4, "ends": True, "stride": (2, 1)}, {"ends": True, "bits": 2},
    {"size": (40,), "widths": (17, 20, 9), "chain": 2, "bits": 2, "ends": True},
    {"chain": 0, "widths": (9,), "ends": True, "bits": 7, "classes": 20},
    {"chain": 0, "widths": (9,), "ends": True, "bits": 2},
)  # fmt: skip


def run(network: Network, config: DeviceConfig = CONFIG) -> None:
    """Compare the interpreter with the golden model."""
    images = random_images(RNG, network, 5)
    flat, expected = images.reshape(len(images), -1), golden.layers(network, images)
    with Accelerator.open(machine_url(config)) as device:
        found = checks(network, "machine", observe(device, network, flat), flat, expected)
    assert {one.verdict for one in found} <= {"equal", "-"}, found
    named = [
        one for one, layer in zip(expected, network.layers, strict=True) if layer.name.startswith("times")
    ]
    assert all(np.ptp(one) for one in named)


@pytest.mark.parametrize("number", some(range(len(SHAPES)), always=1))
def test_every_layer_is_that_of_the_golden_model(number: int) -> None:
    """Odd numbers of channels, magnitudes of one plane, padding and none, pooled maps, vectors."""
    run(scaled_network(RNG, **SHAPES[number]))


@pytest.mark.campaign
def test_random_networks() -> None:
    refused = 0
    for _ in range(60):
        network = random_scaled(RNG, CONFIG, "n")
        try:
            compile_network(network, CONFIG)
        except CompileError:
            refused += 1
            continue
        images = random_images(RNG, network, 3)
        with Accelerator.open(machine_url(CONFIG)) as device:
            device.load(network)
            assert np.array_equal(device.infer(images), golden.run(network, images))
    assert refused < 10


def test_steps() -> None:
    """Signs and magnitudes, what is kept, what is multiplied; nothing of it leaves words in memory."""
    network = scaled_network(RNG, (9, 12), bits=6)
    program = compile_network(network, CONFIG)
    one, two, three, end = program.sections[0].descriptors
    assert [d.scaling for d in (one, two, three, end)] == [*list(Scaling)[1:], Scaling.NONE]
    assert (one.bits, two.bits, three.bits) == (6, 1, 1)
    assert two.nest.count("plane") == 5 and two.out_step == 0 and two.source.region == three.source.region
    # Zero padding of 9 channels: the lane left over cancels in two planes.
    assert three.nest.count("plane") == 2 and not three.double
    names = [layer.name for layer in program.layers]
    assert names == ["sums0", "K of times2", "times2", "end"]
    assert program.regions.sizes["K of times2"] == 1 and program.macs == network.macs
    text = "\n".join(listing_lines(listing(program)))
    assert all(what in text for what in ("codes as signs and magnitudes", "sums kept as K", "sums times K"))


def test_a_vector_that_is_computed_again_has_its_own_K() -> None:
    """Between the two, another layer keeps a K."""
    layers: list[Any] = []
    for name in "ab":
        multiplier, offset = RNG.integers(3, 9, 12), RNG.integers(-9, 9, 12)
        layers += [
            Node(Dense(signs(RNG, 12, 20), name=f"sums {name}"), "input"),
            Node(InputScale(multiplier, offset, 1, 0, f"k {name}", 6), f"sums {name}"),
            Node(Dense(signs(RNG, 8, 12), RNG.integers(-300, 300, 8), name=f"times {name}"), f"k {name}"),
        ]  # fmt: skip
    layers += [Node(Concat("both"), ("times a", "times b")), Node(Concat("more"), ("times a", "both"))]
    layers += [Node(Dense(signs(RNG, 3, 24), name="end"), "more")]
    network = Network("again", InputSpec((20,), 4), layers)
    names = [layer.name for layer in compile_network(network, CONFIG).layers]
    assert "K of times a again" in names
    run(network)


def test_numbers_by_hand() -> None:
    assert folded(np.array([0, 1, 7, 8, 9, 15]), 4).tolist() == [7, 6, 0, 8, 9, 15]
    assert factors(np.array([70000, 9]), packed_scales([1 << 14, 1 << 15], 0, 0)).tolist() == [35000, 9]
    words = limit_words(np.array([-12, -13, -NEVER]))
    assert multiplied(np.array([4, 4, 1 << 15]), np.array([3, 3, 1 << 15]), words).tolist() == [1, 0, 0]


def block(*, bits: int = 8, shift: int = 0, taps: int = 16, **dense: Any) -> Network:
    """A layer, its K, and a layer with it."""
    scale = InputScale(np.ones(taps), np.zeros(taps), 0, shift, "k", bits)
    options = {"thresholds": np.zeros(4), **dense}
    second = Dense(np.ones((4, taps)), options["thresholds"], "b")
    return Network("n", InputSpec((9,), 8), [Dense(np.ones((taps, 9)), name="a"), scale, second, LAST])


LAST, LAST16 = Dense(np.ones((2, 4))), Dense(np.ones((2, 16)))
SEVERAL = np.zeros((4, 3))


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (block(), {"scale_depth": 0}, "layer 'k' is an InputScale, .* no memory, .*scale_depth=0."),
        (block(), {"code_bits": 5}, "of values up to 127, 8 bits .* at the 5 that it has .* use bits=5"),
        (block(bits=0), {}, "of values up to 2296, 13 bits .* bits=0, .* 8 that it has .* use bits=8"),
        (block(taps=520), {}, "'b' has a K of up to 66040 .mean_shift=0., .* use mean_shift=1"),
        (block(shift=16), {}, "'b' has a K that is shifted by 16 .mean_shift., but .* at most 15; use less"),
        (block(thresholds=SEVERAL), {}, "layer 'b' has 3 thresholds for K times its sums, .* with one alone"),
        (scaled_network(RNG, (9, 9), size=(20, 20, 1)), {}, "keeps K of 400 positions, the device 256"),
    ],
)  # fmt: skip
def test_refused(network: Network, changes: dict[str, int], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        compile_network(network, replace(CONFIG, **changes))


def test_all_that_a_device_lacks_is_said_at_once() -> None:
    network = scaled_network(RNG, (9, 9), size=(20, 20, 1))
    for config in (replace(CONFIG, scale_depth=256), DeviceConfig(Geometry(2, 16, 16))):
        lacking = {one.field: one.needed for one in obstacles(network, config)}
        assert lacking["scale_depth"] == 512
        assert lacking.get("result_lanes", 2) == (config.result_lanes or 1)
        assert compile_network(network, replace(config, **lacking)).passes


def test_steps_of_K_behind_K_and_at_the_end() -> None:
    """Of 3 bits 6 outputs for each channel count the magnitudes, and read the K that the signs do."""
    network = scaled_network(RNG, (9, 12, 10), chain=2, bits=3, ends=True)
    program = compile_network(network, CONFIG)
    names = [layer.name for layer in program.layers]
    assert names == [
        "sums0", "K of times2", "times2", "magnitudes of scale3", "K of times4", "times4",
        "magnitudes of scale5", "end", "K of end",
    ]  # fmt: skip
    found = program.sections[0].descriptors
    assert [d.scaling for d in found] == [1, 2, 3, 3, 2, 3, 3, 0, 0]
    assert found[3].nest.count("tile") == -(-6 * 12 // 16) and found[2].source == found[3].source
    assert found[4].source.region == "magnitudes of scale3" and program.macs == network.macs
    assert program.values.times is not None and program.values.times.outputs == 1


def test_refused_in_a_chain_and_at_the_end() -> None:
    """Outputs for each threshold of a magnitude need weights; sums with K must not be too large."""
    one, scale, two = (layer for layer in block(taps=512).layers[:3])
    assert isinstance(two, Dense)
    wide = Dense(np.ones((4096, 512)), name="b")
    for bits, message in (
        (8, "takes 532676608 weights, the limit is 67108864; use bits=5 or less"),
        (9, "of values up to 255, 9 bits .* takes what saturates at 8; use bits=8"),
        (0, "of values up to .* bits=0, but a device takes what saturates at 8;"),
    ):
        second = InputScale(np.full(4096, 9), np.zeros(4096), 9, 0, "k2", bits)
        layers = [one, scale, wide, second, Dense(np.ones((2, 4096)))]
        with pytest.raises(CompileError, match=message):
            compile_network(Network("n", InputSpec((9,), 8), layers), CONFIG)
    large = block(taps=500, bits=8)
    wide = Dense(np.full((4, 500), 127), np.zeros(4), "b")
    with pytest.raises(CompileError, match=r"sums that reach \d+ with their K, .* below 2147483648"):
        compile_network(Network("n", InputSpec((9,), 8), [*large.layers[:2], wide, LAST]), CONFIG)


def test_no_images_and_narrow_accumulators() -> None:
    """Of no images there are no scores; what an accumulator lacks is said by its width."""
    network = scaled_network(RNG, (9,), chain=0, ends=True, bits=4)
    with Accelerator.open(machine_url(CONFIG)) as device:
        device.load(network)
        assert device.infer_values(np.zeros((0, 126), np.uint8)).shape == (0, 4)
    scale = InputScale(np.full(16, 900), np.zeros(16), 12, 0, "k", 4)
    wide = Network("wide", InputSpec((20,), 8), [Dense(np.ones((16, 20)), name="a"), scale, LAST16])
    with pytest.raises(
        CapacityError, match=r"'a' needs an accumulator of \d+ bits .* set acc_width=\d+"
    ) as refused:
        compile_network(wide, replace(CONFIG, acc_width=13))
    width = int(str(refused.value).rpartition("=")[2])
    assert compile_network(wide, replace(CONFIG, acc_width=width)).passes == 1


def test_passes_and_strips() -> None:
    """K is not there any more when another pass runs; rows take an image each."""
    network = scaled_network(RNG, (40, 60), size=(12, 8, 2))
    with pytest.raises(CapacityError, match="has to do with K, which a device keeps no longer than a pass"):
        compile_network(network, replace(CONFIG, weight_depth=400))
    assert not compile_network(network, CONFIG, at_once=1).spread


def test_channels_that_are_constant() -> None:
    scale = InputScale([0, 0, 0, 3], [5, -4, 300, 1], 0, 0, "k", 5)
    second = Dense(signs(RNG, 6, 4), RNG.integers(-40, 40, 6))
    layers = [Dense(signs(RNG, 4, 9), name="a"), scale, second, Dense(signs(RNG, 2, 6))]
    run(Network("constant", InputSpec((9,), 2), layers))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale_depth": 96}, "scale_depth is 96, but must be 0 or a power of two, 64 to 65536"),
        ({"result_lanes": 0, "code_bits": 3}, "scale_depth is 256, which needs result_lanes and .* 0 and 1"),
    ],
)
def test_illegal_devices(change: dict[str, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        replace(CONFIG, **change)


def test_info_says_it() -> None:
    for depth in (0, 64, 1024, 65536):
        config = replace(CONFIG, scale_depth=depth, value_depth=128)
        assert DeviceInfo(config).config == DeviceInfo.unpack(DeviceInfo(config).pack()).config == config
    assert CONFIG.digest() != replace(CONFIG, scale_depth=0).digest()


@pytest.mark.parametrize(
    ("number", "changes", "config", "message"),
    [
        (0, {}, {"scale_depth": 0}, "has to do with K, for which the device has no memory"),
        (0, {"bits": 1}, {}, "gives signs and magnitudes of 1 bit, but they have 2 at least"),
        (1, {"rescaled": False}, {}, "gives no codes of the results unit; set rescaled"),
        (1, {"bits": 2}, {}, "has to do with K and gives codes of 2 bits, not 1"),
        (1, {"scaling": Scaling.MULTIPLIED}, {}, "multiplies 42 positions by K, but 0 have one"),
        (2, {"scaling": Scaling.KEPT}, {}, "keeps K of 2 tiles"),
    ],
)
def test_programs_that_no_device_runs(
    number: int, changes: dict[str, Any], config: dict[str, int], message: str
) -> None:
    program = compile_network(scaled_network(RNG, (9, 20)), CONFIG)
    validate_program(words(program, 0), program.config)
    with pytest.raises(CompileError, match=message):
        validate_program(words(program, number, **changes), replace(program.config, **config))
