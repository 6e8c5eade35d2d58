"""Residual chains in place: what the compiler finds, what interpreted devices give, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.draws import RNG
from tests.sw.changed import words
from tests.sw.cli_tools import runner
from xnorcore.compiler.chains import chains
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.compiler.stops import sums_of
from xnorcore.errors import CapacityError, CompileError, GeometryError, UsageError
from xnorcore.files import xnorfile
from xnorcore.folding.fold import ALWAYS
from xnorcore.isa.check import validate_program
from xnorcore.isa.descriptor import Adding, Descriptor
from xnorcore.isa.device import DeviceConfig, Geometry, options
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.isa.protocol import DeviceInfo
from xnorcore.isa.scales import added, packed_scales
from xnorcore.model.network import Add, Conv2d, Dense, GlobalSum, InputSpec, Network, Node
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_chains import chain_network
from xnorcore.verify.random_networks import random_images, signs

CONFIG = DeviceConfig(
    Geometry(1, 8, 16), 22, code_bits=8, result_lanes=2, value_depth=1024, act_depth=8192, weight_depth=2048,
    program_depth=512,
)  # fmt: skip
WIDE = replace(CONFIG, geometry=Geometry(2, 32, 16), result_lanes=4)


def descriptors(network: Network, config: DeviceConfig = CONFIG) -> Sequence[Descriptor]:
    return compile_network(network, config).sections[0].descriptors


def test_steps_of_a_chain() -> None:
    """A convolution each, which gives signs; in front of the halved map, half of the values are kept."""
    network = chain_network(RNG)
    found = chains(network, CONFIG)
    names = [layer.name for layer in network.layers]
    assert [names[index] for index in found.steps] == ["stem", "conv1", "conv2", "conv3"]
    assert {names[index] for index in found.absorbed} == {
        *(f"sign{n}" for n in (1, 2, 3)), *(f"value{n}" for n in (1, 2, 3)), "half2", "last"
    }  # fmt: skip
    one, two, three, four, end = descriptors(network)
    assert one.adding == Adding(3, 4, False) and end.adding is None
    assert two.adding is not None and two.adding.halves and two.adding.adds
    assert three.adding and four.adding and not (three.adding.halves or four.adding.halves)
    assert {d.bits for d in (one, two, three, four)} == {1} and {d.levels for d in (one, two, three)} == {1}
    whole = descriptors(chain_network(RNG, end="values"))[3]
    assert whole.bits == 8 and whole.adding and whole.adding.offset > 8
    text = "\n".join(listing_lines(listing(compile_network(network, CONFIG))))
    assert "codes of 3 bits less 4, added to 0" in text and "every second column and row of values" in text


def test_a_shortcut_with_weights_begins_a_chain() -> None:
    """The last value of the one before is there whole, and its signs are its first plane, read in place."""
    network = chain_network(RNG, bits=(8, 4), saturates=True, image=8, projects=15)
    found = chains(network, CONFIG)
    names = [layer.name for layer in network.layers]
    assert [names[index] for index in found.steps] == ["stem", "conv1", "conv2", "half2", "conv3"]
    assert {"sign1", "sign2", "sign3", "value2"} <= {names[index] for index in found.absorbed}
    assert [(names[a - 1], names[b - 1]) for a, b in found.planes.items()] == [("sign2", "value1")]
    program = compile_network(network, CONFIG)
    _, last, first, second, third, _ = program.sections[0].descriptors
    assert last.bits == 8 and {d.bits for d in (first, second, third)} == {1}
    assert first.adding and not first.adding.adds and second.adding and second.adding.adds
    assert first.source.region == second.source.region == last.target.region
    # Both read words of the most significant plane; nobody reads what the first one gives, one word of bits.
    assert first.source.offset >= 7 * last.plane - 9 and second.source.offset == 7 * last.plane
    assert program.regions.sizes[first.target.region] == 2 and first.out_step == 0
    assert not obstacles(network, CONFIG)


@pytest.mark.parametrize("number", some((0, 6, 8, 1, 2, 3, 4, 5, 7, 9, 10), always=3))
def test_every_layer_is_that_of_the_golden_model(number: int) -> None:
    config = (CONFIG, WIDE)[number % 2]
    shapes: tuple[dict[str, Any], ...] = (
        {}, {"end": "values", "bits": (6, 4)}, {"widths": (16, 16, 32), "end": "dense", "pad": 1},
        {"widths": (8, 16, 32), "size": (7, 9)}, {"widths": (40, 40, 41), "bits": (2, 3), "image": 1},
        {"widths": (1, 2, 3, 4), "pad": -1, "end": "values"},
        {"bits": (8, 4), "saturates": True, "end": "values", "image": 8},
        {"widths": (8, 8, 16, 16, 16), "bits": (8, 6), "saturates": True, "image": 8},
        {"widths": (5, 9, 12), "size": (7, 4), "bits": (8, 4), "saturates": True, "image": 8, "projects": 15},
        {"widths": (9, 20, 41), "bits": (8, 8), "saturates": True, "image": 8, "projects": 7, "pad": 1},
        {"bits": (8, 3), "end": "values", "saturates": True, "image": 8, "projects": 1, "pad": -1},
    )  # fmt: skip
    network = chain_network(RNG, **shapes[number])
    assert any(one.adding for one in descriptors(network, config))
    images = random_images(RNG, network, 3)
    pairs = zip(network.layers, golden.layers(network, images), strict=True)
    saturated = [values for layer, values in pairs if isinstance(layer, Add) and layer.most]
    assert not saturated or {0, 255} <= set(np.concatenate(saturated, axis=1).ravel().tolist())
    flat = images.reshape(len(images), -1)
    with Accelerator.open(machine_url(config)) as device:
        seen = observe(device, network, flat)
    found = checks(network, "machine", seen, flat, golden.layers(network, images))
    assert {one.verdict for one in found} <= {"equal", "-"}, found
    with pytest.raises(UsageError, match="layer 1 has no sums in a device: it is part of another"):
        sums_of(compile_network(network, config), 1)


def test_values_by_hand() -> None:
    word, none = packed_scales(3, 0, 1), packed_scales(0, 0, 31)
    assert added(np.array([5, -120, 120]), np.array([9, 0, 30]), 20, word).tolist() == [-6, -128, 127]
    assert added(np.array([5, -120, 120]), np.array([9, 0, 30]), 20, none).tolist() == [5, -120, 120]


def small(*more: Any, shape: tuple[int, int, int] = (4, 4, 2)) -> Network:
    """A chain of two steps, and what follows it."""
    return Network("n", InputSpec(shape, 2), [*CHAIN, *more])


def conv(outputs: int, inputs: int, name: str, **options: Any) -> Conv2d:
    return Conv2d(signs(RNG, outputs, 1, 1, inputs), STEPS[:outputs], name=name, **options)


STEPS = np.tile(np.arange(-3, 4), (8, 1))
EYE = np.eye(4).reshape(4, 1, 1, 4)
SIGN = Conv2d(EYE, np.full(4, 4), name="sign")
CHAIN: list[Any] = [
    Conv2d(np.ones((4, 1, 1, 2)), STEPS[:4], name="one"), Node(SIGN, "one"),
    Node(Conv2d(np.ones((4, 1, 1, 4)), STEPS[:4], name="two"), "sign"), Node(Add("sum"), ("one", "two")),
]  # fmt: skip
LAST = Node(Conv2d(EYE, np.full(4, 8), name="last"), "sum")
END = Dense(np.ones((2, 64)))


def other(**changes: Any) -> list[Any]:
    """The chain with some of its layers replaced, by name."""
    layers = [*CHAIN, LAST, END]
    names = ["one", "sign", "two", "sum", "last", "end"]
    return [changes.get(name, layer) for name, layer in zip(names, layers, strict=True)]


def test_what_is_no_chain() -> None:
    """Other readers, thresholds that differ, numbers beyond 8 bits, new channels that are not 0: no steps."""
    assert len(chains(small(LAST, END), CONFIG).steps) == 2
    several = np.array([4, 4, 4, 5])
    half = np.concatenate([np.tile(np.arange(1, 8), (4, 1)), np.full((4, 7), ALWAYS)])
    wide = Conv2d(np.ones((8, 2, 2, 4)), STEPS, stride=(2, 2), name="two")
    quarter = Node(Conv2d(np.eye(8, 4).reshape(8, 1, 1, 4), half, stride=(2, 2), name="half"), "one")
    networks = {
        "signs of several thresholds": other(sign=Node(Conv2d(EYE, several, name="sign"), "one")),
        "a sign that is none": other(sign=Node(Conv2d(-EYE, np.full(4, 4), name="sign"), "one")),
        "thresholds that fall": other(last=Node(Conv2d(EYE, np.full(4, 3), name="last"), "sum")),
        "a threshold above 128": other(last=Node(Conv2d(EYE, np.full(4, 129), name="last"), "sum")),
        "levels that are no bits": other(
            two=Node(Conv2d(np.ones((4, 1, 1, 4)), STEPS[:4, :6], name="two"), "sign")
        ),
        "counted twice": other(sum=Node(Add("sum"), ("one", "two", "two"))),
        "signs and sums of a value that is not compared with half": [
            *CHAIN, LAST, Node(conv(4, 4, "a"), "last"), Node(conv(4, 4, "b"), "sum"),
            Node(Add(), ("a", "b")), END,
        ],
        "another reader": [*CHAIN, Node(conv(4, 4, "more"), "one"), Node(Add(), ("more", "sum")), END],
        "saturates within 8 bits": other(sum=Node(Add("sum", 0, 9), ("one", "two"))),
        "saturates at 0, and not at -128": other(sum=Node(Add("sum", 1, 255), ("one", "two"))),
        "its own sum": other(sum=Node(Add("sum"), ("two", "two"))),
        "new channels that are not 0": [
            *CHAIN[:2], Node(wide, "sign"), quarter, Node(Add("sum"), ("half", "two")),
            Node(Conv2d(np.eye(8).reshape(8, 1, 1, 8), np.full(8, 8), name="last"), "sum"),
            Dense(np.ones((2, 32))),
        ],
    }  # fmt: skip
    for what, layers in networks.items():
        assert not chains(Network("n", InputSpec((4, 4, 2), 2), layers), CONFIG).steps, what
    for changes in ({"value_depth": 0}, {"code_bits": 2}):
        assert not chains(small(LAST, END), replace(CONFIG, **changes)).steps
    large = Network("n", InputSpec((64, 64, 2), 2), [*CHAIN, LAST, Node(GlobalSum(), "last"), END_SUM])
    assert (
        not chains(large, CONFIG).steps and len(chains(large, replace(CONFIG, value_depth=16384)).steps) == 2
    )
    values = small(Node(GlobalSum(), "sum"), END_SUM)
    assert not chains(values, replace(CONFIG, code_bits=7)).steps
    assert chains(values, CONFIG).steps[2].bits == 8


END_SUM = Dense(np.ones((2, 4)))


def test_the_faster_way_is_taken() -> None:
    """Without values, or where these take longer, what is added lies side by side; with the same results."""
    network, plain = small(LAST, END), replace(CONFIG, value_depth=0)
    assert compile_network(network, CONFIG).cycles < compile_network(network, plain).cycles
    slow = replace(CONFIG, geometry=Geometry(1, 64, 16), result_lanes=1, code_bits=3)
    assert len(chains(network, slow).steps) == 2
    assert not any(one.adding for one in descriptors(network, slow))
    # Thresholds of one channel that no multiplication gives.
    uneven = STEPS[:4].copy()
    uneven[2] = [-40, -3, -2, -1, 0, 1, 30]
    odd = Network("n", InputSpec((4, 4, 2), 2), other(one=Conv2d(np.ones((4, 1, 1, 2)), uneven, name="one")))
    assert chains(odd, CONFIG).steps and not any(one.adding for one in descriptors(odd))
    images = random_images(RNG, network, 3)
    for config, one in ((CONFIG, network), (plain, network), (slow, network), (CONFIG, odd)):
        with Accelerator.open(machine_url(config)) as device:
            device.load(one)
            assert np.array_equal(device.infer(images), golden.run(one, images))


def test_info_counts_what_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Signs and shortcuts are no work of the array's where they take no step."""
    network, run = chain_network(RNG), runner(capsys)
    xnorfile.save(network, tmp_path / "net.xnor")
    given = [f"--set={name}={value}" for name, value in options(CONFIG).items()]
    code, text, _ = run("info", tmp_path / "net.xnor", *given)
    assert code == 0 and "4 layers add to values in place" in text
    program = compile_network(network, CONFIG)
    work = {layer.name: macs for layer, macs in zip(network.layers, network.layer_macs, strict=True)}
    assert program.macs == sum(work[name] for name in ("stem", "conv1", "conv2", "conv3", "end"))
    used = program.macs / program.cycles / CONFIG.geometry.peak
    assert f"expected efficiency: {used:.3f}" in text and network.macs > program.macs


def test_passes_add_nothing_in_place() -> None:
    """Values are not there any more when the next pass runs."""
    network = chain_network(RNG, (16, 16, 16), bits=(2, 2), end="dense")
    few = replace(CONFIG, weight_depth=64)
    program = compile_network(network, few)
    assert program.passes > 1 and not any(d.adding for one in program.sections for d in one.descriptors)
    saturated = chain_network(RNG, (16, 16, 16), bits=(8, 4), end="dense", saturates=True)
    message = (
        r"takes \d passes, between which no values .*: it needs \d+ of 64 .weight_depth. words of weights"
    )
    with pytest.raises(CapacityError, match=message):
        compile_network(saturated, few)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value_depth": 96}, "value_depth is 96, but must be 0 or a power of two, 64 to 65536"),
        ({"value_depth": 32}, "value_depth is 32, but must be 64 to 65536"),
        ({"result_lanes": 0, "code_bits": 3}, "value_depth is 1024, which needs result_lanes and .* 0 and 1"),
        ({"convolution": 0, "line_bytes": 0}, "convolution above 0; they are 2 and 0"),
    ],
)
def test_illegal_devices(change: dict[str, int], message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        replace(CONFIG, **change)


def test_info_says_it() -> None:
    for depth in (0, 64, 1024, 65536):
        config = replace(CONFIG, value_depth=depth, line_bytes=65536)
        assert DeviceInfo.unpack(DeviceInfo(config).pack()).config == config
    assert CONFIG.digest() != replace(CONFIG, value_depth=0).digest()


@pytest.mark.parametrize(
    ("number", "changes", "config", "message"),
    [
        (0, {}, {"value_depth": 0}, "adds to values, which the device has not .value_depth=0."),
        (0, {"rescaled": False}, {}, "which only the results unit makes; set rescaled"),
        (0, {"adding": Adding(3, 4, True)}, {}, "is the first, and adds to values of another program"),
        (1, {"adding": Adding(8, 4, True)}, {"code_bits": 4}, "adds codes of 8 bits, but the device has 4"),
        (1, {"bits": 4}, {}, "gives 4 bits of values, but must give 1 or all 8"),
        (1, {}, {"value_depth": 64}, "has 128 words of values, the device 64 .value_depth."),
    ],
)
def test_programs_that_no_device_runs(
    number: int, changes: dict[str, Any], config: dict[str, int], message: str
) -> None:
    network = Network("n", InputSpec((8, 8, 2), 2), [*CHAIN, LAST, Node(GlobalSum(), "last"), END_SUM])
    program = compile_network(network, replace(CONFIG, geometry=Geometry(1, 4, 16)))
    validate_program(words(program, 0), program.config)
    with pytest.raises(CompileError, match=message):
        validate_program(words(program, number, **changes), replace(program.config, **config))


@pytest.mark.parametrize("lanes", [0, 2])
def test_all_that_a_device_lacks_is_said_at_once(lanes: int) -> None:
    network = chain_network(RNG)
    codes = {"code_bits": 8, "result_lanes": lanes} if lanes else {"code_bits": 1, "threshold_share": 2}
    config = DeviceConfig(Geometry(1, 8, 16), 22, **codes)
    lacking = {one.field: one.needed for one in obstacles(network, config)}
    assert lacking["value_depth"] in (256, 512, 1024)
    # Lanes are given or one; either way they share the same number of values.
    assert ({"code_bits", "result_lanes", "threshold_share"} & set(lacking) == set()) == bool(lanes)
    changed = replace(config, **lacking)
    assert compile_network(network, changed).passes and not obstacles(network, changed)
    less = replace(changed, value_depth=lacking["value_depth"] // 2)
    assert [(one.field, one.there) for one in obstacles(network, less)] == [("value_depth", less.value_depth)]
