"""Parts of ``verify`` that need no device: comparison, faults, random networks, shrinking, the page."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.sw import codenets, rownets
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import UsageError, VerifyError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.protocol import Space
from xnorcore.model.layers import Concat, Conv2d, Dense, GlobalSum, InputSpec, MaxPool2d
from xnorcore.model.network import Network
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify import Device, Fault, compare, plant, verify
from xnorcore.verify.ask import machine_url
from xnorcore.verify.case import Case, draw
from xnorcore.verify.compare import compare_fast
from xnorcore.verify.features import features
from xnorcore.verify.page import page
from xnorcore.verify.planted import random_fault
from xnorcore.verify.random_devices import random_config, random_configs
from xnorcore.verify.random_networks import Bounds, random_images, random_network, signs
from xnorcore.verify.shrink import shrink
from xnorcore.verify.starts import started_values

CONFIG = DeviceConfig(Geometry(1, 8, 8), act_depth=2048, weight_depth=1024)
EVERYTHING = {
    "addition of maps", "addition of vectors", "addition of what others read",
    "addition that counts a value several times", "addition that saturates",
    "affine of the scores", "an image per row", "branches", "branches of the image",
    "concatenation of maps", "concatenation of vectors", "concatenation of what others read", "copied maps",
    "ends in concat bits", "vectors computed again", "constant channels", "convolution of a map",
    "convolution of an image", "dense layer", "dense layer of a map", "device with convolution=0",
    "device with counters=0", "device with program_halves=1", "device with several column groups",
    "device with whole_windows=1",
    "device with act_ports=1",
    "device with column_align > 1", "device with code_bits=2", "device with code_bits=3", "codes of 2 bits",
    "device with code_bits > 3", "codes of more than 3 bits", "device with a results unit",
    "codes of the results unit", "codes added in place", "values that are halved", "device with values",
    "device with a memory for K", "input scale", "sums times K",
    "device with row_sums=1", "sums of the rows", "signs that count four times",
    "device with packed_rows=1", "kernel rows of words: 1", "kernel rows of words: 2",
    "weights for the edges of rows", "values of few channels",
    "codes of 3 bits", "concatenation of codes", "global sum of codes", "padding codes with 0",
    "weights of several bits", "weights of several bits, odd",
    "padding codes with a code", "pooling of codes",
    "device with threshold_share > 1", "ends in conv2d bits", "ends in conv2d scores", "ends in dense bits",
    "ends in dense scores", "ends in maxpool2d bits", "ends in maxpool2d scores", "ends in concat scores",
    "global sum",
    *(f"input of {n} bits" for n in range(1, 9)),
    "kept in flash: beside", "kept in flash: the store",
    "kernel 1x1", "kernel above 3", "link direct", "link uart", "padding image with +1",
    "padding image with -1", "padding image with 0", "padding map with +1", "padding map with -1",
    "padding map with 0", "padding pixels with 0", "passes", "pooling", "pooling above 3",
    "pooling that overlaps", "pooling with padding", "rows share an image", "several batches",
    "several images per row", "several images per row, in rounds", "stride above 1", "strips",
    "uneven padding",
    *(f"weights from a store: {memory}" for memory in ("ram", "sdram", "flash")),
}  # fmt: skip


def pooled(rng: np.random.Generator) -> Network:
    conv = Conv2d(signs(rng, 11, 3, 3, 2), rng.integers(-3, 4, 11), name="first")
    return Network("net", InputSpec((8, 6, 2)), [conv, MaxPool2d(), Dense(signs(rng, 4, 66))])


def report(network: Network, change: dict[int, tuple[int, int]] | None = None) -> list:
    images = random_images(np.random.default_rng(1), network, 3)
    expected = golden.layers(network, images)
    found = [layer.copy() for layer in expected]
    for index, place in (change or {}).items():
        found[index][place] ^= 1
    return compare(network, "rtl", dict(enumerate(found)), dict(enumerate(expected)), columns=8)


def test_comparison_names_the_place() -> None:
    network = pooled(np.random.default_rng(0))
    assert [check.verdict for check in report(network)] == ["equal"] * 3
    # Image 1, row 2, column 3, channel 5 of a map of 6 x 4 x 11.
    first, pool, _ = report(network, {0: (1, (2 * 4 + 3) * 11 + 5)})
    assert (first.mismatches, pool.mismatches) == (1, 0)
    assert str(first).startswith("rtl, layer 0 'first' (conv2d): image 1, position (y 2, x 3), channel 5: ")
    assert first.note == "all in channel 5" and first.channels == (5,)


def test_comparison_names_the_column() -> None:
    network = pooled(np.random.default_rng(0))
    images = random_images(np.random.default_rng(1), network, 2)
    expected = dict(enumerate(golden.layers(network, images)))
    found = {index: layer.copy() for index, layer in expected.items()}
    found[0].reshape(2, 6, 4, 11)[..., [2, 10]] ^= 1
    assert compare(network, "rtl", found, expected, columns=8)[0].note == "all in array column 2"


def test_comparison_says_what_is_not_shown() -> None:
    rng = np.random.default_rng(0)
    conv, sum_ = Conv2d(signs(rng, 3, 3, 3, 1), np.zeros(3)), GlobalSum()
    network = Network("n", InputSpec((6, 6, 1)), [conv, MaxPool2d(), sum_, Dense(signs(rng, 2, 3))])
    expected = dict(enumerate(golden.layers(network, np.zeros((1, 6, 6, 1), int))))
    checks = compare(network, "rtl", {0: "too many sums", 3: np.zeros((2, 2))}, expected)
    assert [check.verdict for check in checks] == ["-", "-", "-", "DIFFERS"]
    assert checks[0].note == "too many sums" and "inside the next layer" in checks[2].note
    assert "gives values of shape (2, 2), not (1, 2)" in checks[3].note
    hidden = compare(network, "rtl", {}, expected)[0]
    assert "pooled on its way" in hidden.note and str(hidden) == "rtl, layer 0 'layer0' (conv2d): -"


@pytest.mark.parametrize("text", ["weight:0:3:5", "threshold:0:10:-7", "output:7:1"])
def test_faults(text: str) -> None:
    program = compile_network(pooled(np.random.default_rng(0)), CONFIG)
    fault = Fault.parse(text)
    assert str(fault) == text
    wrong = plant(program, fault)
    pairs = zip(program.blocks, wrong.blocks, strict=True)
    changed = [(a, b) for a, b in pairs if a != b]
    space = Space.WEIGHTS if fault.kind == "weight" else Space.THRESHOLDS
    assert len(changed) == 1 and changed[0][0].space == space
    assert wrong.identifier == program.identifier
    if fault.kind == "weight":
        a, b = (int.from_bytes(block.data, "little") for block in changed[0])
        assert (a ^ b).bit_count() == 1 and changed[0][0].bank == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weight:1", "is not weight:LAYER:CHANNEL:TAP, threshold:"),
        ("weight:a:1:1", "is not weight:"),
        ("colour:1:1:1", "is not weight:"),
        ("output:1:2", "sticks at 0 or 1, not at 2"),
        ("output:8:1", "column 8 is not 0 to 7"),
        ("weight:1:0:0", "layer 1 has no weights; layers that have: 0, 2"),
        ("weight:0:11:0", "channel 11 is not 0 to 10"),
        ("weight:0:0:18", "tap 18 is not 0 to 17"),
        ("threshold:2:0:1", "layer 2 gives scores"),
    ],
)
def test_impossible_faults(text: str, message: str) -> None:
    program = compile_network(pooled(np.random.default_rng(0)), CONFIG)
    with pytest.raises(UsageError, match=message):
        plant(program, Fault.parse(text))


def test_random_faults_change_the_memory() -> None:
    program = compile_network(pooled(np.random.default_rng(0)), CONFIG)
    faults = {random_fault(np.random.default_rng(seed), program) for seed in range(40)}
    assert {fault.kind for fault in faults if fault} == {"weight", "threshold", "output"}
    constant = Network("n", InputSpec((4,)), [Dense(np.ones((3, 4)), np.full(3, -(2**31)))])
    program = compile_network(constant, CONFIG)
    kinds = {random_fault(np.random.default_rng(seed), program) for seed in range(20)}
    # A threshold that is out of reach may move a little: that is no fault.
    assert all(fault is None or fault.kind != "threshold" or fault.value < 0 for fault in kinds)


def test_random_faults_are_where_a_tap_meets_values() -> None:
    """Of this kernel only row 1, column 2 is ever over the map; the rest sees zeros, which have no weight."""
    weights = np.ones((3, 3, 3, 2), dtype=np.int8)
    conv = Conv2d(weights, np.zeros(3), padding=(1, 1, 2, 0))
    network = Network("n", InputSpec((1, 1, 2)), [conv, Dense(np.ones((2, 3)))])
    program = compile_network(network, CONFIG)
    taps = set()
    for seed in range(60):
        fault = random_fault(np.random.default_rng(seed), program)
        if fault and fault.kind == "weight" and fault.layer == 0:
            taps.add(fault.value)
    assert taps == {10, 11}


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_are_the_same_on_both_models(seed: int) -> None:
    network = random_network(np.random.default_rng(seed))
    assert network == random_network(np.random.default_rng(seed))
    images = random_images(np.random.default_rng(seed), network, 2)
    for a, b in zip(golden.layers(network, images), fast.layers(network, images), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.campaign
def test_random_networks_leave_nothing_out() -> None:
    seen: Counter[str] = Counter()
    # Devices with kernel rows are few among the random ones.
    devices = [*random_configs(0, 40) * 12, *rownets.DEVICES * 12]
    for index, config in enumerate(devices):
        seen.update(features(draw(0, index, config)))
        if set(seen) == EVERYTHING:
            break
    assert set(seen) == EVERYTHING


def test_draws_are_reproducible() -> None:
    config = random_config(np.random.default_rng(5), Geometry(2, 8, 8))
    assert config.geometry == Geometry(2, 8, 8)
    refused: Counter[str] = Counter()
    one, two = draw(3, 4, config), draw(3, 4, config, refused)
    assert one.network == two.network and np.array_equal(one.images, two.images)
    assert one.network.name == "random-3-4"


@pytest.mark.parametrize("damage", [None, 0, 9])
def test_a_device_that_starts_with_what_it_keeps(damage: int | None) -> None:
    """Scores again; and what is wrong in flash is named."""
    config = replace(CONFIG, kept_words=1 << 14)
    network = Network("kept", InputSpec((6,)), [Dense(signs(np.random.default_rng(0), 3, 6))])
    images = random_images(np.random.default_rng(1), network, 3)
    with Accelerator.open(machine_url(config)) as device:
        program = compile_network(network, device.info.config)
        machine: Any = device.session.transport
        restart = machine.restart

        def damaged() -> None:
            if damage is not None:
                machine.machine.memories.flash[damage] ^= 1
            restart()

        machine.restart = damaged
        if damage is None:
            found = started_values(device, program, images)
            np.testing.assert_array_equal(found, golden.run(network, images))
        else:
            with pytest.raises(VerifyError, match=f"keeps network {program.identifier.hex()}, .* with none"):
                started_values(device, program, images)


def test_a_device_that_nothing_fits() -> None:
    config = DeviceConfig(
        Geometry(1, 128, 128), acc_width=10, program_depth=64, act_depth=64, weight_depth=64
    )
    nothing = replace(config, program_depth=64)
    try:
        draw(0, 0, nothing)
    except UsageError as error:
        assert "no random network fits" in str(error)


def test_shrinking() -> None:
    """A model that is wrong for a padded convolution of maps ends as little more than one."""

    def fails(case: Case) -> str | None:
        for layer in case.network.layers[1:]:
            if isinstance(layer, Conv2d) and any(layer.padding) and layer.pad_value == 1:
                return "padding"
        return None

    cases = (draw(0, index, CONFIG) for index in range(1000))
    case = next(case for case in cases if fails(case) and len(case.network.layers) > 3)
    small, reason = shrink(case, fails)
    assert reason == "padding" and len(small.images) == 1
    sizes = [(type(layer).__name__, layer.weight_bits) for layer in small.network.layers]
    assert len(sizes) == 2 and sizes[0] == ("Conv2d", 1) and sizes[1][1] <= 2
    assert golden.run(small.network, small.images).shape[0] == 1


def test_shrinking_a_graph() -> None:
    """A model that is wrong for concatenations that others read ends as one of them, and little around it."""

    def fails(case: Case) -> str | None:
        network = case.network
        for layer, reads in zip(network.layers, network.reads, strict=True):
            if isinstance(layer, Concat) and any(len(network.readers[number]) > 1 for number in reads):
                return "shared"
        return None

    cases = (draw(0, index, CONFIG) for index in range(1000))
    case = next(case for case in cases if fails(case) and len(case.network.layers) > 5)
    small, reason = shrink(case, fails)
    assert reason == "shared" and len(small.images) == 1
    # What is joined, or the image and its double, and one that reads both.
    assert len(small.network.layers) <= 4 and small.network.weight_bits <= 8


def test_shrinking_keeps_first_layers_out() -> None:
    def fails(case: Case) -> str | None:
        return "last" if case.network.output_kind == "scores" else None

    cases = (draw(1, index, CONFIG) for index in range(1000))
    case = next(c for c in cases if fails(c) and len(c.network.layers) > 3 and c.network.scale is not None)
    small, _ = shrink(case, fails)
    assert len(small.network.layers) == 1 and small.network.scale is None
    assert small.network.weight_bits == 1 and small.images.size == 1


def test_the_command_that_runs_a_case_again() -> None:
    network = pooled(np.random.default_rng(0))
    images = random_images(np.random.default_rng(0), network, 1)
    case = Case(network, images, CONFIG, 1, "uart", 7, Fault("output", 0, 2, 1))
    command = case.command("a b/net")
    assert command.startswith(
        "xnorcore verify 'a b/net.xnor' --images 'a b/net.npy' --seed 7 --rows 1 --columns 8"
    )
    assert "--set weight_depth=1024" in command
    assert command.endswith("--batch 1 --link uart --plant output:2:1")


def test_page() -> None:
    network = Network("<b>", InputSpec((4,)), [Dense(np.ones((2, 4)), np.zeros(2)), Dense(np.ones((2, 2)))])
    images = np.array([[0, 0, 0, 0]], np.uint8)
    found = verify(network, images, [Device("rtl", machine_url(CONFIG))], source="random", seed=7)
    expected = dict(enumerate(golden.layers(network, images)))
    wrong = compare(network, "rtl", {**expected, 0: 1 - expected[0]}, expected)
    made_by = {"command": "xnorcore verify <b>", "xnorcore": "1.2.3"}
    text = page(replace(found, checks=(*compare(network, "fast", expected, expected), *wrong)), made_by)
    assert "<b>" not in text and "&lt;b&gt;" in text
    assert 'class="differs"' in text and "An engine is wrong" in text and "channel 0: 1, golden 0" in text
    assert "Made by" in text and "xnorcore verify &lt;b&gt;" in text and "1.2.3" in text
    about = found.devices["rtl"]
    plain = page(found, made_by)
    assert "All engines agree" in plain and 'class="differs"' not in plain
    # Words, not names of JSON, and no value as Python prints it.
    names = re.findall(r'<th scope="row">(.*?)</th>', plain)
    assert len(names) > 30 and not [name for name in names if "_" in name] and "{&#x27;" not in plain
    assert f"<code>{about['build']}</code>" in plain and "random, seed 7" in plain
    assert "accumulator, bits" in plain and f"{about['link']['sent']:,} frames sent" in plain


def test_networks_without_maps() -> None:
    for seed in range(30):
        network = random_network(np.random.default_rng(seed), Bounds(maps=False))
        assert all(isinstance(layer, Dense | Concat) for layer in network.layers)


@pytest.mark.parametrize("count", [0, 3, 7])
def test_what_the_fast_model_gives_for_few_images_is_compared(
    count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = codenets.dense(1, 2, ends=3)
    images = random_images(np.random.default_rng(0), network, count)
    expected = golden.layers(network, images)
    assert not any(one.mismatches for one in compare_fast(network, images, expected))
    right = fast.run
    monkeypatch.setattr(fast, "run", lambda net, some: right(net, some) + (len(some) < 6))
    wrong = [one for one in compare_fast(network, images, expected) if one.mismatches]
    assert [one.index for one in wrong] == [len(expected) - 1] * bool(count)
