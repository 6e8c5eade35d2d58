"""Networks that branch and join: what is legal, what they compute, in any order of writing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from xnorcore.compiler.steps import STEPS
from xnorcore.errors import NetworkError
from xnorcore.files import kinds
from xnorcore.model.layers import Layer
from xnorcore.model.network import Concat, Conv2d, Dense, GlobalSum, InputSpec, MaxPool2d, Network, Node
from xnorcore.model.spec import RULES
from xnorcore.reference import fast, golden
from xnorcore.reference.packed import join_maps, pack_maps
from xnorcore.verify.features import FEATURES

from .graphs import conv, dense, densenet, inception, vectors

NETWORKS = {
    "inception": inception(),
    "inception of whole words": inception(64, 128),
    "inception across words": inception(70, 61, bits=1),
    "densenet": densenet(),
    "densenet across words": densenet(33),
    "vectors": vectors(),
    "vectors across words": vectors((100, 64)),
    "ends in a concatenation": vectors(ends=True),
}


def by_hand(network: Network, images: NDArray[Any]) -> list[NDArray[Any]]:
    """Every layer by matrix products over windows that NumPy cuts; nothing of the reference model."""
    signal = images.astype(int).reshape(-1, *network.input.shape)
    found = [signal if network.input.bits > 1 else 2 * signal - 1]
    for layer, reads in zip(network.layers, network.reads, strict=True):
        x = found[reads[0]]
        if isinstance(layer, Concat):
            y = np.concatenate([found[number] for number in reads], axis=x.ndim - 1)
        elif isinstance(layer, GlobalSum):
            y = x.sum((1, 2))
        elif isinstance(layer, Dense):
            y = x.reshape(len(x), -1) @ layer.weights.T.astype(int)
        else:
            assert isinstance(layer, Conv2d | MaxPool2d)
            top, bottom, left, right = layer.padding
            around = layer.pad_value if isinstance(layer, Conv2d) else -1
            x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=around)
            window = layer.kernel if isinstance(layer, Conv2d) else layer.window
            cut = np.lib.stride_tricks.sliding_window_view(x, window, (1, 2))
            cut = cut[:, :: layer.stride[0], :: layer.stride[1]]
            if isinstance(layer, Conv2d):
                y = np.einsum("nyxchw,ohwc->nyxo", cut, layer.weights.astype(int))
            else:
                y = cut.max((4, 5))
        limits = getattr(layer, "thresholds", None)
        found.append(y if limits is None else np.where(y >= limits, 1, -1))
    return found[1:]


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_and_fast_are_what_numpy_says(name: str) -> None:
    network = NETWORKS[name]
    rng = np.random.default_rng(1)
    images = rng.integers(0, network.input.maximum + 1, (5, *network.input.shape))
    for engine in (golden, fast):
        found = engine.layers(network, images)
        for value, one, wanted in zip(network.values[1:], found, by_hand(network, images), strict=True):
            signs = wanted.reshape(len(images), -1)
            assert np.array_equal(one, signs if value.result == "sums" else signs > 0)
        assert np.array_equal(engine.run(network, images), found[-1])


def test_values_have_names_shapes_bits_and_codings() -> None:
    network = inception()
    about = {value.name: (value.shape, value.bits, value.coding) for value in network.values}
    assert about["input"] == ((6, 7, 3), 2, "unsigned")
    assert about["join"] == ((6, 7, 21), 1, "sign")
    assert about["last"] == ((4,), 9, "sum")  # 252 taps of +-1, and a sign
    assert network.reads == ((0,), (1,), (1,), (1,), (4,), (2, 3, 5), (6,), (7,))
    assert network.readers == ((0,), (1, 2, 3), (5,), (5,), (4,), (5,), (6,), (7,), ())
    assert network.shapes[6] == (6, 7, 21)
    assert sum(network.layer_macs) == network.macs
    # A pooling drops positions of what it alone reads.
    assert network.pooled_by(3) is network.layers[4]
    assert network.pooled_by(0) is None


def test_a_chain_is_a_graph_written_shortly() -> None:
    layers: list[Layer] = [dense(4, 6, "a"), dense(3, 4, ""), dense(2, 3, "a", scores=True)]
    chain = Network("n", InputSpec((6,)), layers)
    assert chain.reads == ((0,), (1,), (2,))
    assert [value.name for value in chain.values] == ["input", "a", "layer1", "layer2"]
    first, middle, last = layers
    written = [Node(first, "input"), Node(middle, [1]), Node(last, 2)]
    assert Network("n", InputSpec((6,)), written) == chain
    assert Network("n", InputSpec((6,)), layers, reads=[[0], [1], [2]]) == chain
    assert replace(chain, name="m").reads == chain.reads
    assert replace(inception(), name="m").reads == inception().reads
    assert hash(replace(inception(), name="inception")) == hash(inception())


def test_another_layer_and_a_part_of_a_network() -> None:
    network = inception()
    one = network.layers[1]
    assert isinstance(one, Conv2d)
    other = network.with_layer(1, one.with_arrays(-one.weights))
    assert (other.reads, other.layers[2]) == (network.reads, network.layers[2])
    assert other != network
    pooled = network.up_to(4, network.layers[4])
    assert [layer.name for layer in pooled.layers] == ["stem", "before", "pool"]
    images = np.random.default_rng(2).integers(0, 4, (3, 6, 7, 3))
    assert np.array_equal(golden.run(pooled, images), golden.layers(network, images)[4])


def network(*layers: Any, shape: tuple[int, ...] = (6,), bits: int = 1, **more: Any) -> Network:
    return Network("n", InputSpec(shape, bits), layers, **more)


A, B = dense(4, 6, "a"), dense(3, 6, "b")
JOIN = Node(Concat("c"), ("a", "b"))
ILLEGAL: list[tuple[list[Any], dict[str, Any], str]] = [
    ([Node(A, "image")], {}, "layer 0: reads 'image', which no layer is called; it may read 'input'"),
    ([Node(A, "b"), Node(B, "input"), JOIN], {}, "layer 0: reads 'b', which is given by no layer in front"),
    ([Node(A, "a")], {}, "layer 0: reads 'a', which is given by no layer in front of it"),
    ([A, Node(dense(3, 6, "a"), 0), Node(Concat(), "a")], {}, "layer 2: reads 'a', which 2 values are"),
    ([A, Node(dense(3, 4, "input"), "input")], {}, "layer 1: reads 'input', which 2 values are called"),
    ([Node(A, 1)], {}, "layer 0: reads value 1, but may read 0, the input, to 0, what the layer before it"),
    ([Node(A, -1)], {}, "layer 0: reads value -1"),
    ([Node(A, 10**30)], {}, "layer 0: reads value far away"),
    ([Node(A, [None])], {}, "layer 0: reads NoneType, but values are named by a string or an integer"),  # type: ignore[list-item]
    ([Node(A, True)], {}, "layer 0: reads bool, but"),
    ([Node(A, [])], {}, "the input: nothing reads what it gives"),
    ([A, Node(B, "input")], {}, "layer 0: nothing reads what it gives, and only the last layer's result"),
    ([Node(3, "input")], {}, "layer 0: int is not a layer"),  # type: ignore[arg-type]
    ([A, Node(Concat(), "a")], {}, "layer 1: Concat reads 1, but must read 2 to 64 values"),
    ([A, Node(Concat(), ["a"] * 65)], {}, "layer 1: Concat reads 65, but must read 2 to 64 values"),
    ([A, Node(dense(3, 4, "d"), ("a", "a"))], {}, "layer 1 'd': Dense reads 2, but must read 1 value"),
    (
        [A, Node(dense(3, 6, "b", scores=True), 0), JOIN], {},
        "layer 1 'b': has no thresholds; only the last layer, or one in front of an InputScale",
    ),
    ([A, Node(Concat(), ("a", "input"))], {"bits": 2}, "Concat takes bits alone or n-bit values alone"),
    (
        [conv(4, 2, "a"), Node(conv(3, 2, "b", padding=(0, 0, 0, 0)), 0), JOIN], {"shape": (5, 6, 2)},
        r"layer 2 'c': Concat takes maps of one height and width, or vectors, but layer 0 'a' gives "
        r"\(5, 6, 4\) and layer 1 'b' \(3, 4, 3\)",
    ),
    (
        [conv(4, 2, "a"), Node(dense(3, 60, "b"), 0), JOIN], {"shape": (5, 6, 2)},
        r"Concat takes maps of one .*, but layer 0 'a' gives \(5, 6, 4\) and layer 1 'b' \(3,\)",
    ),
    ([A, Node(B, 0), JOIN, MaxPool2d()], {}, r"MaxPool2d takes .height, .*, but layer 2 'c' gives \(7,\)"),
    (
        [conv(4, 2, "a"), Node(GlobalSum("g"), "a"), Node(conv(4, 4, "d"), "a"), dense(3, 120, "e")],
        {"shape": (5, 6, 2)}, "layer 1: nothing reads what it gives",
    ),
    (
        [conv(4, 2), GlobalSum("g"), dense(3, 4, "d"), Node(dense(3, 4, "e"), 2), Node(Concat(), [3, 4])],
        {"shape": (5, 6, 2)}, "layer 1 'g': GlobalSum must be followed by the last layer, .* Dense and more",
    ),
    ([A], {"reads": [[0], [1]]}, "reads: found 2, but there must be one entry for each"),
    ([A], {"reads": 3}, "reads: found int, but there must be one"),
    ([A], {"reads": [None]}, "layer 0: reads NoneType, but values are named"),
    ([Node(A, 0)], {"reads": [[0]]}, "reads: given together with nodes"),
    ([A], {"reads": [[2]]}, "layer 0: reads value 2"),
]  # fmt: skip


@pytest.mark.parametrize(("layers", "changes", "message"), ILLEGAL)
def test_illegal_graphs(layers: list[Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message) as caught:
        network(*layers, **changes)
    assert "\n" not in str(caught.value)


def test_a_concatenation_has_limits() -> None:
    wide = [Node(dense(40000, 6, f"w{i}"), 0) for i in range(2)]
    with pytest.raises(NetworkError, match="Concat gives 80000 channels, the limit is 65536"):
        network(*wide, Node(Concat(), ("w0", "w1")), dense(3, 80000, "last"))


def test_packed_maps_are_joined_at_any_bit() -> None:
    rng = np.random.default_rng(8)
    for first in range(1, 131):
        for second in (1, 2, 63, 64, 65, 127, 128, 129, 193 - first % 64):
            parts = [rng.integers(0, 2, (2, count), np.uint8) for count in (first, second, 3)]
            packed = [pack_maps(part, (part.shape[1],), 1) for part in parts]
            found = join_maps(packed, [first, second, 3])
            assert np.array_equal(found, pack_maps(np.hstack(parts), (first + second + 3,), 1))


def test_every_kind_of_layer_is_in_every_table() -> None:
    every = set(get_args(Layer))
    assert set(RULES) == every
    assert set(golden.COMPUTE) == set(STEPS) == set(FEATURES) == every
    assert {kind.kind for kind in kinds.KINDS.values()} == every
    assert every - set(fast.COMPUTE) == {kind for kind in every if kind.__name__ == "InputScale"}
