"""Additions of codes: what they are, and how devices compute them without a step of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw import codenets, fewbits
from xnorcore.compiler.adding import most_times, shares
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.steps import plan_of
from xnorcore.errors import CompileError, FileFormatError, NetworkError
from xnorcore.files import xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Layer
from xnorcore.model.network import Add, Concat, Conv2d, Dense, InputSpec, MaxPool2d, Network, Node
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_chains import chain_network
from xnorcore.verify.random_networks import random_images, signs

DEVICES = (
    (DeviceConfig(Geometry(1, 8, 8), 24, code_bits=2), 3),
    # Strips of a map of 7 rows: some of the planes' words are not used.
    (DeviceConfig(Geometry(4, 4, 16), 24, code_bits=3), 7),
    (DeviceConfig(Geometry(2, 16, 8), 24, code_bits=2, whole_windows=1, act_ports=1), 2),
)


def codes(outputs: int, inputs: int, name: str, steps: int = 3) -> Dense:
    rng = np.random.default_rng([outputs, inputs])
    return Dense(signs(rng, outputs, inputs), fewbits.limits(rng, outputs, steps, 9), name)


def test_by_hand() -> None:
    # Codes (2, 1) and (3, 0): their sum (5, 1), with weights (1, -1), is 4.
    one, two = Dense(np.eye(2), [[1, 2, 3]] * 2, "one"), Dense(np.eye(2), [[0, 1, 2], [2, 3, 4]], "two")
    layers = [one, Node(two, 0), Node(Add(), (1, 2)), Dense([[1, -1]])]
    found = golden.layers(Network("hand", InputSpec((2,), 2), layers), [2, 1])
    assert [one.tolist() for one in found] == [[[2, 1]], [[3, 0]], [[5, 1]], [[4]]]
    # Less 2, the nearest from 0 to 2: (2, 0).
    layers[2] = Node(Add("", 2, 2), (1, 2))
    found = golden.layers(Network("hand", InputSpec((2,), 2), layers), [2, 1])
    assert [one.tolist() for one in found[2:]] == [[[2, 0]], [[2]]]
    by_hand = (codenets.residual(3), codenets.residual(2, end="sum"), codenets.added(5), codenets.counted(3))
    for network in by_hand:
        images = random_images(np.random.default_rng(1), network, 2)
        layers_ = golden.layers(network, images)
        for model in (layers_, fast.layers(network, images)):
            for index, image in enumerate(images):
                assert [one[index].tolist() for one in model] == fewbits.by_hand(network, image)


@pytest.mark.parametrize("number", some(range(len(DEVICES)), 1))
def test_every_layer_is_that_of_the_golden_model(number: int) -> None:
    config, steps = DEVICES[number]
    networks = [codenets.residual(steps), codenets.added(steps), codenets.residual(steps, end="sum")]
    networks.append(codenets.counted(steps, maps=number != 1, weight=3 if number == 1 else 1))
    with Accelerator.open(machine_url(config)) as device:
        for index, network in enumerate(networks):
            images = random_images(np.random.default_rng(index), network, 3)
            flat = images.reshape(len(images), -1)
            seen = observe(device, network, flat, at_once=1 if index < 2 else None)
            found = checks(network, "machine", seen, flat, golden.layers(network, images))
            assert {check.verdict for check in found} <= {"equal", "-"}, (index, found)
            # Sums of codes are in no memory.
            assert not {type(network.layers[one]) for one in seen.layers} & {Add, Concat}


@pytest.mark.parametrize("number", some(range(2), 1))
def test_sums_saturate_in_a_layer_of_their_own(number: int) -> None:
    """Of maps and of vectors, on a device without values in place: weights of 1, and a threshold a level."""
    config = DeviceConfig(
        Geometry(1, 8, 16), 22, code_bits=8, result_lanes=2, weight_depth=4096, act_depth=8192,
        program_depth=512, row_sums=number,
    )  # fmt: skip
    maps = chain_network(np.random.default_rng(1), (8, 8, 12), bits=(8, 8), end="dense", saturates=True)
    one, two = (Node(codes(9, 12, name, 3), 0) for name in ("one", "two"))
    vectors = Network(
        "vectors", InputSpec((12,), 2), [one, two, Node(Add("sum", 2, 3), (1, 2)), codes(3, 9, "last", 1)]
    )
    for network in (maps, vectors):
        images = random_images(np.random.default_rng(2), network, 4)
        with Accelerator.open(machine_url(config)) as device:
            seen = observe(device, network, images.reshape(len(images), -1))
        found = checks(
            network, "machine", seen, images.reshape(len(images), -1), golden.layers(network, images)
        )
        assert {check.verdict for check in found} <= {"equal", "-"}, found
        assert {type(network.layers[index]) for index in seen.layers} >= {Add}
    mixed = chain_network(np.random.default_rng(1), (8, 8), bits=(8, 4), end="dense", saturates=True)
    with pytest.raises(
        CompileError, match=r"joins values of 4 and 8 bits, .* values in place \(value_depth\)"
    ):
        compile_network(mixed, config)


@pytest.mark.parametrize("joined", ["sum", "both", "alone"])
@pytest.mark.parametrize("most", [1, 2, 3, 4, 7])
def test_a_saturating_sum_that_is_joined_again(most: int, joined: str) -> None:
    """It has planes of its own, two at least: what has others is refused, and never taken for as many."""
    rng = np.random.default_rng(most)
    layers = [codes(4, 8, "a"), Node(codes(4, 4, "b"), 1), Node(Add("s", 2, most), ("a", "b"))]
    layers += {
        "sum": [Node(codes(4, 4, "d"), "s"), Node(Add("again"), ("s", "d"))],
        "both": [Node(Concat("again"), ("s", "a"))],
        "alone": [codes(4, 4, "d")],
    }[joined]
    layers += [Dense(signs(rng, 3, 8 if joined == "both" else 4), name="end")]
    network = Network(f"joined {most}", InputSpec((8,), 4), layers)
    images, config = random_images(rng, network, 20), DeviceConfig(Geometry(1, 16, 16), code_bits=3)
    if most > 3 and joined != "alone":
        with pytest.raises(CompileError, match=r"layer 'again' joins values of 2 and 3 bits"):
            compile_network(network, config)
        return
    with Accelerator.open(machine_url(config)) as device:
        device.load(network)
        np.testing.assert_array_equal(device.infer(images), golden.run(network, images))


def test_what_an_addition_costs() -> None:
    """No step: what reads it has twice the words; and where another layer reads a map, a copy of it."""
    config = DeviceConfig(Geometry(1, 8, 16), 24, code_bits=2)
    program = compile_network(codenets.residual(3), config)
    beats = {one.name: one.beats for one in program.layers}
    assert beats["right"] == 2 * beats["left"]
    # Of codes, 2 planes of a word, each twice, to 2 tiles; to be compared, a second copy for weights of 0.
    assert beats["copy of stem"] == 42 * 2 * 2 * 2 and beats["same"] == 2 * 42 * 2 * 2 * 2
    narrow = compile_network(codenets.residual(3), DeviceConfig(Geometry(1, 8, 8), 24, code_bits=2))
    # A tile reads one of two words of each value.
    assert {one.name: one.beats for one in narrow.layers}["same"] == beats["same"]
    macs = dict(zip([one.name for one in program.layers], [one.macs for one in program.layers], strict=True))
    assert macs["same"] == 42 * 9 * 9 * 3 * 2


def test_what_counts_several_times_is_read_once() -> None:
    """Weights three times as large, of two signs each; an even number is of two odd ones, and has copies."""
    network = codenets.counted(3)
    program = compile_network(network, DeviceConfig(Geometry(1, 8, 16), 24, code_bits=2))
    beats = {one.name: one.beats for one in program.layers}
    # Of 30 positions 9 taps, 2 planes, 2 tiles of 9 outputs; two words, each with two signs.
    assert beats["b"] == 30 * 9 * 2 * 2 and beats["c"] == 2 * 2 * beats["b"]
    # c twice, b and a in four three times (9 and 3), and a: c's words and those of four and a, of 5 signs.
    assert beats["d"] == (2 + 2 + 1) * 5 * 30 * 9 * 2
    copied = [step.name for step in plan_of(network, 2, copies=True).steps if "copy" in step.name]
    assert copied == ["copy of a", "copy of c", "copy of c", "copy of four", "copy of a"]
    # Without the loop of weights of several bits, a copy for each time.
    assert sum("copy" in step.name for step in plan_of(network, 2).steps) == 3 + 1 + 2 + 3 + 1


@pytest.mark.parametrize(
    ("times", "most", "found"),
    [(1, 1, [1]), (2, 15, [1, 1]), (5, 1, [1] * 5), (6, 15, [5, 1]), (7, 4, [3, 3, 1]), (17, 15, [15, 1, 1])],
)
def test_shares(times: int, most: int, found: list[int]) -> None:
    assert shares(times, most) == found


def test_large_weights_leave_no_signs_to_count_with() -> None:
    """Of 16 signs: weights of 3 count at most 5 times, those of -8 once."""
    assert most_times(Network("n", InputSpec((6,), 2), [Dense(np.zeros((2, 6)))])) == 15
    for weight, most in ((1, 15), (3, 5), (-8, 1)):
        end = Dense(np.full((2, 4), weight))
        assert most_times(Network("n", InputSpec((6,), 2), [A, Node(B, 0), SUM, end])) == most
    network = codenets.counted(2, weight=8)
    config = DeviceConfig(Geometry(1, 8, 8), 24, code_bits=2, weight_depth=8192, act_depth=8192)
    images = random_images(np.random.default_rng(0), network, 2)
    with Accelerator.open(machine_url(config)) as device:
        device.load(network)
        assert (device.infer(images) == golden.run(network, images)).all()


def test_a_residual_network_fills_a_narrow_array() -> None:
    memories = {"weight_depth": 2048, "act_depth": 20480, "program_depth": 1024}
    network = codenets.resnet20(3)
    program = compile_network(network, DeviceConfig(Geometry(1, 16, 16), 20, code_bits=2, **memories))
    # Handing on what is added is no work.
    work = sum(
        macs
        for macs, layer in zip(network.layer_macs, network.layers, strict=True)
        if not (isinstance(layer, Conv2d) and layer.weight_width > 1)
    )
    assert work == 76_983_424
    assert program.cycles == 430_191 and work / program.cycles / 256 > 0.69


A, B, BITS = codes(4, 6, "a"), codes(4, 6, "b"), codes(4, 6, "bits", 1)
SUM, END = Node(Add("sum"), ("a", "b")), Dense(np.ones((2, 4)))


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([A, Node(B, 0), SUM], "layer 2 'sum': Add must be followed by a Dense or .* but nothing follows"),
        ([A, Node(Add("sum"), "a"), END], "layer 1 'sum': Add reads 1, but must read 2 to 64 values"),
        ([A, Node(BITS, 0), Node(Add(), (1, 2)), END], "Add takes n-bit values, but layer 1 'bits' gives bi"),
        (
            [A, Node(codes(5, 6, "b"), 0), SUM, END],
            r"layer 2 'sum': Add takes values of one shape, but layer 0 'a' gives \(4,\) and .* 'b' \(5,\)",
        ),
        (
            [codes(4, 6, "a", 200), Node(codes(4, 6, "b", 56), 0), SUM, END],
            "layer 2 'sum': Add gives up to 256, the limit is 255; add fewer values, values of .*most=255",
        ),
        ([A, Node(B, 0), Node(Add("sum", 1), (1, 2)), END], "offset is 1, but must be 0 where sums do not"),
        ([A, Node(B, 0), Node(Add("sum", 0, 256), (1, 2)), END], "'sum': most is 256, but must be 1 to 255"),
        ([A, Node(B, 0), Node(Add("sum", 6, 9), (1, 2)), END], "offset is 6, and sums are at most 6: it"),
        ([A, Node(B, 0), Node(Add("sum", -256, 9), (1, 2)), END], "offset is -256, but must be -255 to"),
    ],
)  # fmt: skip
def test_illegal_additions(layers: list[Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network("n", InputSpec((6,), 2), layers)


def conv(outputs: int, inputs: int, name: str, steps: int = 3, **options: Any) -> Conv2d:
    rng = np.random.default_rng([outputs, inputs])
    return Conv2d(
        signs(rng, outputs, 1, 1, inputs), fewbits.limits(rng, outputs, steps, 9), name=name, **options
    )


def test_what_a_device_cannot() -> None:
    config, spec = DeviceConfig(Geometry(1, 8, 8), 24, code_bits=3), InputSpec((4, 4, 2), 2)
    a, b, total = conv(4, 2, "a"), Node(conv(4, 2, "b"), 0), Node(Add("sum"), ("a", "b"))
    end = Dense(np.ones((2, 64)))
    three = Conv2d(np.ones((4, 3, 3, 4)), np.zeros(4), padding=(1, 1, 1, 1), pad_value=3, name="three")
    beside = Node(Concat("beside"), ("sum", "a"))
    cases: list[tuple[list[Any], str]] = [
        ([a, Node(conv(4, 2, "b", 5), 0), total, end], "layer 'sum' joins values of 2 and 3 bits"),
        (
            [conv(2, 2, "a"), Node(Add("sum"), ("a", 0)), Dense(np.ones((2, 32)))],
            "'sum' adds the image, which",
        ),
        (
            [a, b, Node(Add("sum", 2, 9), (1, 2)), end],
            "'sum' is an Add that saturates at 9, .* of 4 bits: it has 3",
        ),
        (
            [a, b, total, three, end],
            "layer 'three' pads with 3, where it reads sums of 2 values: .* pad with 0",
        ),
        ([a, b, total, beside], "layer 'beside' ends the network with sums of codes, which are not in"),
        (
            [a, b, total, beside, MaxPool2d(name="pool"), Dense(np.ones((2, 32)))],
            "layer 'pool' pools sums of codes, which a device cannot",
        ),
    ]
    for layers, message in cases:
        network = Network("n", spec, layers)
        with pytest.raises(CompileError, match=message):
            compile_network(network, config)
        images = random_images(np.random.default_rng(0), network, 2)
        assert np.array_equal(golden.run(network, images), fast.run(network, images))


def test_files_hold_additions() -> None:
    network = codenets.residual(3)
    data = xnorfile.dumps(network)
    again = xnorfile.loads(data)
    assert again == network and xnorfile.dumps(again) == data
    with pytest.raises(FileFormatError):
        xnorfile.loads(data.replace(b'\\"type\\":\\"add\\"', b'\\"type\\":\\"sub\\"'))
    saturated = Network("n", InputSpec((6,), 2), [A, Node(B, 0), Node(Add("sum", -1, 4), (1, 2)), END])
    assert b"saturatedadd" in xnorfile.dumps(saturated) and b"saturatedadd" not in data
    assert xnorfile.loads(xnorfile.dumps(saturated)) == saturated


def test_padding_of_unlike_sums() -> None:
    """Of two values on some channels and one on others, there is no code to pad with but 0."""
    config, spec = DeviceConfig(Geometry(1, 8, 8), 24, code_bits=2), InputSpec((4, 4, 2), 2)
    first: list[Layer | Node] = [conv(4, 2, "a"), Node(conv(4, 2, "b"), 0), Node(Add("sum"), ("a", "b"))]
    for pad in (0, 2):
        around = Conv2d(
            np.ones((3, 3, 3, 8)), np.zeros(3), padding=(1, 1, 1, 1), pad_value=pad, name="around"
        )
        network = Network("n", spec, [*first, Node(Concat(), ("sum", "a")), around, Dense(np.ones((2, 48)))])
        if pad:
            with pytest.raises(CompileError, match="reads sums of 1 and of 2 values"):
                compile_network(network, config)
            continue
        images = random_images(np.random.default_rng(0), network, 2)
        with Accelerator.open(machine_url(config)) as device:
            device.load(network)
            assert (device.infer(images) == golden.run(network, images)).all()
