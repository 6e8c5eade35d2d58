"""Values and weights of several bits: golden and fast against loops, legal and illegal networks, files."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.sw import codenets
from tests.sw.fewbits import by_hand, chain, maps, weights
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, FileFormatError, NetworkError
from xnorcore.files import container, xnorfile
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import has_weights
from xnorcore.model.network import Concat, Conv2d, Dense, InputSpec, MaxPool2d, Network, Node
from xnorcore.reference import fast, golden

NETWORKS: dict[str, Network] = {
    **{f"{n}, {m} bits, {steps}": chain(n, m, steps) for n, m, steps in (
        (1, 2, 1), (1, 1, 2), (2, 1, 3), (1, 2, 3), (2, 2, 2), (8, 3, 7), (3, 8, 255), (8, 8, 20),
        (1, 4, 255),
    )},
    "codes at the end": chain(2, 3, 3, ends=5),
    "bits at the end": chain(2, 3, 3, ends=1),
    "codes of signs at the end": codenets.dense(1, 2, ends=3),
    "maps": maps(),
    "maps of bits": maps(1),
    "codes summed": maps(2, summed=True),
}  # fmt: skip
DEVICE = DeviceConfig(Geometry(1, 8, 32))


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_and_fast_are_what_integers_say(name: str) -> None:
    network = NETWORKS[name]
    rng = np.random.default_rng(3)
    images = rng.integers(0, network.input.maximum + 1, (6, network.input.size))
    images[0], images[1] = 0, network.input.maximum
    expected = [by_hand(network, image) for image in images]
    for engine in (golden, fast):
        found = engine.layers(network, images)
        for index, value in enumerate(network.values[1:]):
            assert found[index].tolist() == [each[index] for each in expected], (engine.__name__, value.name)
            assert found[index].dtype == (np.int64 if value.result == "sums" else np.uint8)
            assert np.abs(found[index].astype(np.int64)).max() <= value.bound
        for count in range(1, 7):  # a few images have loops of their own
            last = engine.run(network, images[:count])
            assert last.dtype == found[-1].dtype and np.array_equal(last, found[-1][:count])
        assert [len(one) for one in engine.layers(network, images[:0])] == [0] * len(network.layers)


def test_the_hidden_values_are_not_all_alike() -> None:
    # A comparison of constants would say nothing.
    for name, network in NETWORKS.items():
        images = np.random.default_rng(4).integers(0, network.input.maximum + 1, (40, network.input.size))
        for found, layer in zip(golden.layers(network, images), network.layers, strict=True):
            if has_weights(layer) and layer.steps > 1:
                assert len(np.unique(found)) > min(layer.steps, 10) // 2, name


def test_codes_by_hand() -> None:
    # (2, 0, 3) and weights (2, -3, 1): 4 + 3 = 7, which reaches 1 and 7 of 1, 7, 9; (-1, 1, 0): -2, none.
    layer = Dense([[2, -3, 1], [-1, 1, 0]], [[1, 7, 9], [-1, -1, 0]])
    network = Network("hand", InputSpec((3,), 2), [layer, Dense([[1, 1]])])
    assert [found.tolist() for found in golden.layers(network, [2, 0, 3])] == [[[2, 0]], [[2]]]


def test_widths_values_and_work() -> None:
    for bits in range(1, 9):
        for narrow in (False, True)[: 1 + (bits > 1)]:
            drawn = weights(np.random.default_rng(bits), (9, 40), bits, narrow=narrow)
            assert Dense(drawn).weight_width == max(bits, 1 if bits == 1 else 2)
    network = maps()
    codings = {value.name: (value.coding, value.bits, value.bound) for value in network.values}
    assert codings["stem"] == ("unsigned", 2, 3)
    assert codings["join"] == ("unsigned", 3, 6)
    assert network.layers[1].weight_bits == 3 * 6 * 9 * 5
    # 6 x 6 positions that a pooling reads, all taps on the map or on codes: 2 planes of codes, 3 of weights.
    assert network.layer_macs[1] == 36 * 45 * 6 * 2 * 3


def test_a_layer_of_bits_is_what_it_was() -> None:
    rng = np.random.default_rng(5)
    layer = Dense(rng.choice([-1, 1], (6, 9)), rng.integers(-3, 4, 6))
    assert (layer.weight_width, layer.steps, layer.weight_bits) == (1, 1, 54)
    described = json.loads(_text(xnorfile.dumps(Network("bits", InputSpec((9,)), [layer]))))
    assert set(described["layers"][0]) == {"type", "name", "inputs", "outputs", "thresholds", "reads"}
    assert described["layers"][0]["type"] == "dense"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Dense([[1, 2]], [[3, 2]]), Dense([[1]])], "threshold 1 of output 0 is 2, below 3 in front of it"),
        ([Dense([[1, 2]], [[3]]), Dense([[1]])], "1 thresholds for each output, but there must be 2 to 255"),
        ([Dense([[1, 2]], [list(range(256))]), Dense([[1]])], "256 thresholds for each output"),
        ([Dense([[1, 2]], np.zeros((1, 2, 2))), Dense([[1]])], r"but must be int64 \(1,\), or \(1, steps\)"),
        ([Dense([[1, 2]], [[2, 2**31]]), Dense([[1]])], r"threshold \[0, 1\] is 2147483648"),
    ],
)  # fmt: skip
def test_illegal_thresholds(layers: list[Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Network("bad", InputSpec((2,)), layers)


def test_illegal_maps() -> None:
    def net(**options: Any) -> Network:
        codes = Conv2d(np.ones((1, 1, 1, 1)), [[1, 2, 3]])
        return Network("bad", InputSpec((4, 4, 1)), [codes, Conv2d(np.ones((1, 3, 3, 1)), **options)])

    assert net(padding=(1, 1, 1, 1), pad_value=3).values[1].bound == 3
    for pad in (-1, 4):
        with pytest.raises(NetworkError, match=f"pad_value is {pad}, but the input has 2-bit values; 0 to 3"):
            net(padding=(1, 1, 1, 1), pad_value=pad)
    layers = [
        Dense([[1, 2]], [[0, 1]], "codes"),
        Node(Dense([[1, 2]], [0], "bits"), "input"),
        Node(Concat("join"), ("codes", "bits")),
        Dense([[1, 1]]),
    ]
    with pytest.raises(NetworkError, match="Concat takes bits alone or n-bit values alone"):
        Network("bad", InputSpec((2,)), layers)
    wide = Dense(np.full((1, 4), 127), [0])
    big = [Conv2d(np.ones((4, 1, 1, 1)), np.tile(np.arange(255), (4, 1))), _sum(), wide]
    with pytest.raises(NetworkError, match=r"beyond every threshold; the limit is 2147483647"):
        Network("bad", InputSpec((256, 256, 1), 8), big)


def _sum() -> Any:
    from xnorcore.model.network import GlobalSum

    return GlobalSum()


def test_thresholds_of_a_network_are_limited() -> None:
    layer = Dense(np.ones((65536, 1)), np.zeros((65536, 255)))
    joined = Dense(np.ones((65536, 1)), np.zeros((65536, 2)))
    layers = [layer, Node(joined, "input"), Node(Concat(), (1, 2))]
    with pytest.raises(NetworkError, match="16842752 thresholds so far, the limit is 16777216"):
        Network("bad", InputSpec((1,)), layers)


@pytest.mark.parametrize("name", NETWORKS)
def test_files_give_back_what_was_written(name: str) -> None:
    network = NETWORKS[name]
    data = xnorfile.dumps(network)
    again = xnorfile.loads(data)
    assert again == network and xnorfile.dumps(again) == data
    assert xnorfile.content_hash(again) == xnorfile.content_hash(network)


def _text(data: bytes) -> str:
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["xnorcore"]


def _changed(network: Network, index: int, **changes: Any) -> bytes:
    """The file of a network, an entry of which says something else, with the checksum of that."""
    data = xnorfile.dumps(network)
    description = json.loads(_text(data))
    del description["sha256"]
    tensors = dict(container.read_tensors(data, None))
    for key, value in changes.items():
        if key in ("weights", "thresholds"):
            tensors[f"layers.{index}.{key}"] = value
        else:
            description["layers"][index][key] = value
    return container.dumps("xnorcore", description, tensors)


def test_hostile_files() -> None:
    network = chain(2, 3, 3)
    planes = np.zeros((3, 11, 3), np.uint8)
    for changes, message in (
        ({"weight_bits": 9}, "weight_bits is 9, but must be 1 to 8"),
        ({"weight_bits": 0}, "weight_bits is 0, but must be 1 to 8"),
        ({"steps": 256}, "steps is 256, but must be 0 to 255"),
        ({"steps": -1}, "steps is -1, but must be 0 to 255"),
        ({"steps": True}, "steps is bool, but must be int"),
        ({"steps": 4}, r"tensor layers.0.thresholds is 'I32' \[11, 3\], but must be I32 \[11, 4\]"),
        ({"weight_bits": 4}, r"but must be U8 \[4, 11, 3\]"),
        ({"weights": planes}, "weight_bits is 3, but its weights take 2"),
        ({"weights": planes | np.uint8(128)}, "unused weight bits are not 0"),
        ({"inputs": 1 << 20}, "weights, the limit is 65536 each"),
        ({"type": "dense"}, "layer 0 has"),
        ({"thresholds": np.zeros((11, 3), "<i4")[:, ::-1] - np.arange(3, dtype="<i4")}, "illegal network"),
    ):
        with pytest.raises(FileFormatError, match=message):
            xnorfile.loads(_changed(network, 0, **changes))
    plain = Network("plain", InputSpec((3,)), [Dense([[1, -1, 1]], [0]), Dense([[1]])])
    fewbit = {"type": "fewbitdense", "steps": 1, "weight_bits": 1, "weights": np.array([[[5]]], np.uint8)}
    data = _changed(plain, 0, **fewbit)
    text = json.loads(_text(data))
    del text["sha256"], text["layers"][0]["thresholds"]
    with pytest.raises(FileFormatError, match="without codes its type is that of layers of one bit"):
        xnorfile.loads(container.dumps("xnorcore", text, container.read_tensors(data, None)))


def test_the_file_is_small() -> None:
    bits = [len(xnorfile.dumps(Network("n", InputSpec((512,)), [_drawn(m)]))) for m in (1, 2, 8)]
    assert bits[1] - bits[0] < 64 * 64 + 100 and bits[2] - bits[1] < 6 * 64 * 64 + 100


def _drawn(bits: int) -> Dense:
    return Dense(weights(np.random.default_rng(0), (64, 512), bits))


def test_the_compiler_says_what_no_device_has() -> None:
    first = Dense([[1, 1]], [0])
    for layers, message in (
        ([Dense([[1, 2]], [0], "a"), Dense([[1]])], "'a' has weights of 3 bits, but the .*code_bits=2"),
        ([Dense([[1, 1]], [[0, 1]], "b"), Dense([[1]])], "layer 'b' gives values of 2 bits, the device has"),
        (
            [Dense([[1, 1]], [[*range(8)]], "b"), Dense([[1]])],
            "'b' gives values of 4 bits, the device .*code_bits=4 and result_lanes=1",
        ),
        ([first, Dense([[0]], name="c")], "layer 'c' has weights of 2 bits"),
    ):
        with pytest.raises(CompileError, match=f"{message}.*`golden` and `eval` compute them"):
            compile_network(Network("no", InputSpec((2,)), layers), DEVICE)
    padded = Conv2d(np.ones((1, 3, 3, 1)), [0], padding=(1, 1, 1, 1), pad_value=7, name="d")
    image = Network("no", InputSpec((4, 4, 1), 3), [padded, MaxPool2d(), Dense(np.ones((1, 4)))])
    with pytest.raises(CompileError, match="layer 'd' pads 3-bit values with 7: a device pads them with 0"):
        compile_network(image, DEVICE)
