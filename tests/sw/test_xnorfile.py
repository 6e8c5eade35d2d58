"""The file format: round trips, and files that are truncated, damaged or hostile."""

import hashlib
import json
import os
import re
import stat
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save as serialize

from tests.campaigns import examples
from xnorcore import zoo
from xnorcore.errors import FileFormatError, UsageError
from xnorcore.files import container, xnorfile
from xnorcore.files.description import describe
from xnorcore.model.check import MAX_METADATA
from xnorcore.model.network import Concat, Conv2d, Dense, GlobalSum, InputSpec, MaxPool2d, Network, Node


def example() -> Network:
    rng = np.random.default_rng(5)
    return Network(
        "example", InputSpec((3, 2, 2), 4),
        [
            Dense(rng.choice([-1, 1], (9, 12)), rng.integers(-(2**31), 2**31, 9), "first"),
            Dense(rng.choice([-1, 1], (5, 9))),
        ],
        4, rng.normal(size=5), rng.normal(size=5), {"recipe": "none", "accuracy": 0.5, "split": [1, 2]},
    )  # fmt: skip


def convolutional() -> Network:
    rng = np.random.default_rng(6)
    return Network(
        "conv", InputSpec((6, 5, 3), 2),
        [
            Conv2d(
                rng.choice([-1, 1], (5, 3, 2, 3)), rng.integers(-9, 9, 5),
                stride=(1, 2), padding=(1, 0, 0, 1), name="a",
            ),
            MaxPool2d((3, 2), (2, 2), "b"),
            Conv2d(rng.choice([-1, 1], (4, 1, 1, 5)), rng.integers(-5, 5, 4), pad_value=-1),
            GlobalSum("c"),
            Dense(rng.choice([-1, 1], (3, 4))),
        ],
        scale=[1.0, 2.0, 3.0],
    )  # fmt: skip


VERSION_1 = Path(__file__).parent / "files" / "version1.xnor"
NET = example()
DATA = xnorfile.dumps(NET)
CONV = convolutional()


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.xnor"
    xnorfile.save(NET, path)
    assert path.read_bytes() == DATA
    net = xnorfile.load(path)
    assert net == NET
    assert xnorfile.dumps(net) == DATA
    assert xnorfile.content_hash(net) == xnorfile.content_hash(NET)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.xnor"]


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (7, 3), (8, 8), (9, 65)])
def test_round_trip_of_sizes(inputs: int, outputs: int, bits: int) -> None:
    rng = np.random.default_rng(inputs)
    weights = rng.choice([-1, 1], (outputs, inputs))
    net = Network("n", InputSpec((inputs,), bits), [Dense(weights, rng.integers(-9, 9, outputs))], 1)
    assert xnorfile.loads(xnorfile.dumps(net)) == net


def test_layout_on_disk() -> None:
    """The bytes that docs/numerics.md promises, read without our own reader."""
    weights = np.array([[1, -1, -1, -1, -1, -1, -1, -1, 1, 1]])
    data = xnorfile.dumps(Network("n", InputSpec((10,)), [Dense(weights, [-2])]))
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    assert set(header) == {"__metadata__", "layers.0.weights", "layers.0.thresholds"}
    body = data[8 + length :]
    for name, dtype, shape, expected in (
        ("layers.0.weights", "U8", [1, 2], b"\x01\x03"),
        ("layers.0.thresholds", "I32", [1], b"\xfe\xff\xff\xff"),
    ):
        entry = header[name]
        start, stop = entry["data_offsets"]
        assert (entry["dtype"], entry["shape"], body[start:stop]) == (dtype, shape, expected)
    description = json.loads(header["__metadata__"]["xnorcore"])
    assert (description["format"], description["version"]) == ("xnorcore", 2)
    assert len(description.pop("sha256")) == 64


def test_hash_covers_everything() -> None:
    def changed(**changes: Any) -> str:
        keys = ("name", "input", "layers", "classes", "scale", "offset", "metadata")
        return xnorfile.content_hash(Network(**({key: getattr(NET, key) for key in keys} | changes)))

    first, last = NET.layers
    assert isinstance(first, Dense)
    assert first.thresholds is not None
    flipped, moved = first.weights.copy(), first.thresholds.copy()
    flipped[8, 11] *= -1
    moved[3] ^= 1
    hashes = {
        changed(), changed(name="other"), changed(input=InputSpec((12,), 4)), changed(classes=5),
        changed(input=InputSpec((3, 2, 2), 5)), changed(scale=None), changed(offset=None),
        changed(scale=NET.offset, offset=NET.scale), changed(metadata={}),
        changed(layers=[Dense(flipped, first.thresholds, "first"), last]),
        changed(layers=[Dense(first.weights, moved, "first"), last]),
        changed(layers=[Dense(first.weights, first.thresholds, ""), last]),
    }  # fmt: skip
    assert len(hashes) == 12
    assert changed() == xnorfile.content_hash(NET)


Edit = Callable[[dict[str, Any], dict[str, Any]], Any]


def rebuilt(edit: Edit, *, sign: bool = True, key: str = "xnorcore", net: Network = NET) -> bytes:
    """Edit an example's description and tensors, and seal the result with a right checksum."""
    description, tensors = describe(net)
    description = json.loads(json.dumps(description))
    edit(description, tensors)
    if sign:
        description["sha256"] = container.digest(description, tensors)
    return serialize(tensors, {key: json.dumps(description)})


HOSTILE: dict[str, tuple[Edit, str]] = {
    "format": (lambda d, t: d.update(format="zip"), "format is 'zip', but must be 'xnorcore'"),
    "version": (lambda d, t: d.update(version=4), "version is 4, this program reads 1, 2, 3; update"),
    "version 0": (lambda d, t: d.update(version=0), "version is 0, this program reads 1, 2, 3"),
    "keys of version 2 in version 1": (
        lambda d, t: d.update(version=1), "reads, thresholds, type'; it must have inputs, name, outputs, thr"
    ),
    "version 3 without an end": (lambda d, t: d.update(version=3), "it must have classes, format, head"),
    "an end in version 2": (lambda d, t: d.update(head={}), "description has 'classes, format, head, "),
    "reads the result": (lambda d, t: d["layers"][1].update(reads=[2]), "reads .2., but must read 1"),
    "reads what is not there": (lambda d, t: d["layers"][1].update(reads=[-1]), "64 values from 0 to 1"),
    "reads nothing": (lambda d, t: d["layers"][1].update(reads=[]), r"layer 1: reads \[\], but must"),
    "reads much": (lambda d, t: d["layers"][1].update(reads=[0] * 65), "layer 1: reads list, but must"),
    "reads text": (lambda d, t: d["layers"][1].update(reads=["input"]), "layer 1: reads .'input'., but must"),
    "reads a truth": (lambda d, t: d["layers"][1].update(reads=[True]), "layer 1: reads .True., but must"),
    "reads a huge number": (lambda d, t: d["layers"][1].update(reads=[10**30]), "layer 1: reads .1000"),
    "nobody reads": (lambda d, t: d["layers"][1].update(reads=[0]), "network: layer 0: nothing reads"),
    "reads two": (lambda d, t: d["layers"][1].update(reads=[1, 1]), "Dense reads 2, but must read 1"),
    "concat of version 1": (
        lambda d, t: (d.update(version=1), d["layers"].append({"type": "concat", "name": ""})),
        "it must have inputs",
    ),
    "version type": (lambda d, t: d.update(version=True), "version is True"),
    "missing key": (lambda d, t: d.pop("classes"), "'format, input, .*'; it must have classes"),
    "extra key": (lambda d, t: d.update(extra=1), "description has 'classes, extra"),
    "type of key": (lambda d, t: d.update(classes="3"), "classes is str, but must be int"),
    "control characters": (lambda d, t: d.update({"\x1b[2J": 1}), r"\\x1b\[2J"),
    "no layers": (lambda d, t: d.update(layers=[]), "0 layers"),
    "many layers": (lambda d, t: d.update(layers=d["layers"] * 200), "400 layers, but there must be"),
    "layer type": (lambda d, t: d["layers"][0].update(type="conv9"), "type 'conv9' is unknown; update"),
    "layer is not a dict": (lambda d, t: d["layers"].append(3), "layer 2: type None is unknown"),
    "layer key": (lambda d, t: d["layers"][1].update(x=1), "layer 1 has 'inputs, name,"),
    "huge layer": (lambda d, t: d["layers"][0].update(outputs=10**30), "10+ x 12 weights, the limit is"),
    "negative layer": (lambda d, t: d["layers"][0].update(inputs=-1), "9 x -1 weights, the limit is 65536"),
    "many weights": (
        lambda d, t: d["layers"][0].update(outputs=65536, inputs=65536), "4294967296 weight bits so far"
    ),
    "shape": (lambda d, t: d["layers"][0].update(outputs=10), "'U8' .9, 2., but must be U8 .10, 2."),
    "dtype": (
        lambda d, t: t.update({"layers.0.thresholds": np.zeros(9, np.int64)}), "'I64' .9., but must be I32"
    ),
    "no tensor": (lambda d, t: t.pop("layers.0.thresholds"), "do not belong: 'layers.0.thresholds'"),
    "extra tensor": (lambda d, t: t.update(extra=np.zeros(3)), "do not belong: 'extra'"),
    "unclaimed tensor": (lambda d, t: d.update(scale=False), "do not belong: 'scale'"),
    "padding": (
        lambda d, t: t["layers.0.weights"].__setitem__((4, 1), 0x80), "layer 0: unused weight bits are not 0"
    ),
    "nan": (lambda d, t: t["scale"].__setitem__(0, np.nan), "illegal network: scale: value 0 is nan"),
    "deep metadata": (lambda d, t: nest(d, 40), "nested deeper than"),
    "name": (lambda d, t: d.update(name=""), "illegal network: network name"),
    "classes": (lambda d, t: d.update(classes=6), "illegal network: classes: 6"),
    "input": (lambda d, t: d.update(input={"shape": [12]}), "input has 'shape'; it must have bits, shape"),
    "input shape": (lambda d, t: d["input"].update(shape=[10**40] * 3), "illegal network: input shape"),
    "float shape": (lambda d, t: d["input"].update(shape=[12.0]), "illegal network: input shape: .float,."),
    "chain": (lambda d, t: d["input"].update(shape=[13]), "takes 12 values, but the input gives 13"),
}  # fmt: skip


def nest(description: dict[str, Any], depth: int) -> None:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    description["metadata"] = {"a": value}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_descriptions(case: str) -> None:
    edit, message = HOSTILE[case]
    with pytest.raises(FileFormatError, match=message) as caught:
        xnorfile.loads(rebuilt(edit))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def layer(index: int, **changes: Any) -> Edit:
    return lambda d, t: d["layers"][index].update(changes)


HOSTILE_MAPS: dict[str, tuple[Edit, str]] = {
    "kernel": (layer(0, kernel=[3, 8]), "layer 0: kernel .3, 8. is not 2 integers from 1 to 7"),
    "kernel of zero": (layer(0, kernel=[0, 3]), "layer 0: kernel .0, 3. is not"),
    "kernel length": (layer(0, kernel=[3]), "layer 0: kernel .3. is not"),
    "kernel type": (layer(0, kernel=[3.0, True]), "layer 0: kernel .float, True. is not"),
    "other kernel": (layer(0, kernel=[2, 2]), "layers.0.weights is 'U8' .5, 3., but must be U8 .5, 2."),
    "turned kernel": (layer(0, kernel=[2, 3], inputs=4), "unused weight bits|takes 4 channels"),
    "huge": (layer(0, inputs=10**30), "layer 0: 5 x 60+ weights, the limit is 65536 each"),
    "many taps": (layer(0, inputs=65536), "layer 0: 5 x 393216 weights"),
    "stride": (layer(0, stride=[1, 10**30]), "illegal network: layer 0 'a': stride is"),
    "stride type": (layer(0, stride=[[1], 1]), "illegal network: layer 0 'a': stride is"),
    "stride length": (layer(0, stride=[]), "illegal network: layer 0 'a': stride is"),
    "padding": (layer(0, padding=[3, 0, 0, 0]), "illegal network: layer 0 'a': padding is"),
    "pad value": (layer(0, pad_value=5), "illegal network: layer 0 'a': pad_value is 5"),
    "pad value of pixels": (layer(0, pad_value=4), "layer 0 'a': pad_value is 4, but the input has 2-bit"),
    "pad value type": (layer(0, pad_value="0"), "layer 0: pad_value is str, but must be int"),
    "no stride": (lambda d, t: d["layers"][0].pop("stride"), "layer 0 has .*; it must have inputs, kernel"),
    "window": (layer(1, window=[3, 9]), "illegal network: layer 1 'b': window is .3, 9."),
    "window of text": (layer(1, window=["3", "2"]), "illegal network: layer 1 'b': window is"),
    "padded pool without padding": (
        layer(1, type="paddedmaxpool2d", padding=[0, 0, 0, 0]),
        "layer 1: padding is 0; its type must be maxpool2d",
    ),
    "padded pool, no list": (layer(1, type="paddedmaxpool2d", padding=1), "padding is int, but must be list"),
    "padded pool, too much": (
        layer(1, type="paddedmaxpool2d", padding=[0, 3, 0, 0]),
        "illegal network: layer 1 'b': padding is .0, 3",
    ),
    "pool key": (layer(1, weights=3), "layer 1 has 'name, reads, stride, type, weights, window'"),
    "sum key": (
        layer(3, stride=[1, 1]),
        "layer 3 has 'name, reads, stride, type'; it must have name, reads, type",
    ),
    "name": (layer(3, name="\n"), "illegal network: layer 3 name"),
    "wrong place": (
        lambda d, t: d["layers"].insert(0, {"type": "globalsum", "name": "", "reads": [0]}),
        "do not belong",
    ),
    "padding bits": (lambda d, t: t["layers.0.weights"].__setitem__((1, 2), 4), "unused weight bits"),
    "scale": (lambda d, t: t.update(scale=np.zeros(4)), r"illegal network: scale: shape is \(4,\)"),
    "scale axes": (lambda d, t: t.update(scale=np.zeros((1, 3))), r"network: scale: shape is \(1, 3\)"),
}


@pytest.mark.parametrize("case", HOSTILE_MAPS)
def test_hostile_maps(case: str) -> None:
    edit, message = HOSTILE_MAPS[case]
    with pytest.raises(FileFormatError, match=message) as caught:
        xnorfile.loads(rebuilt(edit, net=CONV))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_maps_round_trip() -> None:
    data = xnorfile.dumps(CONV)
    net = xnorfile.loads(data)
    assert net == CONV
    assert xnorfile.dumps(net) == data
    # Scores of a convolution, with an affine for each of them.
    weights = np.ones((2, 3, 3, 1))
    net = Network("n", InputSpec((5, 4, 1)), [Conv2d(weights, name="x")], 2, np.arange(12), np.arange(12))
    assert xnorfile.loads(xnorfile.dumps(net)) == net


def test_maps_on_disk() -> None:
    """What docs/numerics.md promises, read without our own reader."""
    data = xnorfile.dumps(CONV)
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    first, pool, second, total, last = json.loads(header["__metadata__"]["xnorcore"])["layers"]
    assert first == {
        "type": "conv2d", "name": "a", "kernel": [3, 2], "inputs": 3, "outputs": 5, "thresholds": True,
        "stride": [1, 2], "padding": [1, 0, 0, 1], "pad_value": 0, "reads": [0],
    }  # fmt: skip
    assert pool == {"type": "maxpool2d", "name": "b", "window": [3, 2], "stride": [2, 2], "reads": [1]}
    assert (second["pad_value"], last["type"]) == (-1, "dense")
    assert total == {"type": "globalsum", "name": "c", "reads": [3]}
    start, _ = header["layers.0.weights"]["data_offsets"]
    assert header["layers.0.weights"]["shape"] == [5, 3]
    # Row 0, taps (ky, kx, channel), the channel fastest: 18 bits.
    weights = CONV.layers[0]
    assert isinstance(weights, Conv2d)
    bits = int.from_bytes(data[8 + length + start :][:3], "little")
    taps = [(ky, kx, c) for ky in range(3) for kx in range(2) for c in range(3)]
    assert bits == sum(1 << i for i, tap in enumerate(taps) if weights.weights[0][tap] > 0)


def test_files_of_version_1_are_read() -> None:
    """A file that the last program of version 1 wrote, by its bytes."""
    data = VERSION_1.read_bytes()
    assert hashlib.sha256(data).hexdigest().startswith("d2ac4d9d29fb87a3")
    net = xnorfile.loads(data)
    assert [type(one).__name__ for one in net.layers] == [
        "Conv2d", "MaxPool2d", "Conv2d", "GlobalSum", "Dense",
    ]  # fmt: skip
    first, pool, second, total, last = net.layers
    plus = np.arange(24).reshape(3, 2, 2, 2) % 3 == 0
    padding = {"padding": (1, 0, 0, 1), "name": "a"}
    assert first == Conv2d(np.where(plus, 1, -1), [-1, 0, 2], **padding)
    assert (pool, total) == (MaxPool2d((3, 2), (2, 2), "b", (0, 1, 0, 0)), GlobalSum("c"))
    assert second == Conv2d(
        np.where(np.arange(12).reshape(4, 1, 1, 3) % 5 < 2, 1, -1), [0, 1, -1, 0], pad_value=-1
    )
    assert last == Dense(np.where(np.arange(12).reshape(3, 4) % 2, 1, -1))
    assert net.scale is not None
    assert (net.input, net.scale.tolist()) == (InputSpec((6, 5, 2), 2), [1.0, 2.0, 0.5])
    assert xnorfile.loads(xnorfile.dumps(net)) == net
    for place in (100, len(data) - 1):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(FileFormatError):
            xnorfile.loads(bytes(damaged))


def test_a_concat_is_no_kind_of_version_1() -> None:
    concat = {"type": "concat", "name": ""}

    def edit(d: dict[str, Any], t: dict[str, Any]) -> None:
        for one in d["layers"]:
            one.pop("reads")
        d.update(version=1, layers=[*d["layers"], concat])

    with pytest.raises(FileFormatError, match="layer 2: concat needs version 2 of the format, the file has"):
        xnorfile.loads(rebuilt(edit))


def test_graphs_round_trip() -> None:
    rng = np.random.default_rng(3)

    def dense(outputs: int, inputs: int, name: str, last: bool = False) -> Dense:
        return Dense(rng.choice([-1, 1], (outputs, inputs)), None if last else [0] * outputs, name)

    layers = [
        dense(5, 7, "trunk"), dense(3, 5, "left"), Node(dense(4, 5, "right"), "trunk"),
        Node(Concat("join"), ("right", "left", "trunk")), dense(2, 12, "last", True),
    ]  # fmt: skip
    net = Network("graph", InputSpec((7,)), layers)
    data = xnorfile.dumps(net)
    again = xnorfile.loads(data)
    assert again == net
    assert again.reads == ((0,), (1,), (1,), (3, 2, 1), (4,))
    assert xnorfile.dumps(again) == data
    layers[3] = Node(Concat("join"), ("left", "right", "trunk"))
    assert xnorfile.content_hash(Network("graph", InputSpec((7,)), layers)) != xnorfile.content_hash(net)


def test_rebuilt_is_sound() -> None:
    assert xnorfile.loads(rebuilt(lambda d, t: None)) == NET
    assert xnorfile.loads(rebuilt(lambda d, t: None, net=CONV)) == CONV


def framed(header: str | bytes, body: bytes = b"") -> bytes:
    raw = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(raw)) + raw + body


META = '"__metadata__":{"xnorcore":%s}'


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes: not an .xnor file, or truncated"),
        (b"PK\x03\x04" * 9, "header of 289157608118635344 bytes, the limit is 1048576"),
        (struct.pack("<Q", 2**63) + b"{}", "the limit is 1048576"),
        (struct.pack("<Q", 50) + b"{}", "header of 50 bytes in a file of 10: truncated"),
        (framed("{"), "header is not JSON"),
        (framed(b"\xff\xfe{}"), "header is not JSON"),
        (framed("[]"), "header is not a JSON object"),
        (framed("{}"), "without the single metadata key 'xnorcore'"),
        (framed('{"__metadata__":{"xnorcore":"{}","more":"x"}}'), "without the single metadata key"),
        (framed('{"__metadata__":{"xnorcore":3}}'), "without the single metadata key"),
        (framed('{"__metadata__":{"xnorcore":"["}}'), "description is not JSON"),
        (framed('{"__metadata__":{"xnorcore":"{}"}}'), "format is None, but must be 'xnorcore'"),
        (framed('{"a":1,"a":2}'), "key 'a' appears twice"),
        (framed('{"__metadata__":{"xnorcore":"{\\"a\\":1,\\"a\\":2}"}}'), "key 'a' appears twice"),
        (framed("[" * 100000), "header is not JSON"),
        (framed('{"a":NaN}'), "NaN in the header: not JSON"),
        (framed('{"a":' + "9" * 5000 + "}"), "header is not JSON"),
        (DATA + b"x", "damaged container"),
        (DATA[:-1], "damaged container"),
        (rebuilt(lambda d, t: None, key="other"), "without the single metadata key"),
        (
            rebuilt(lambda d, t: d.update(sha256="0" * 64), sign=False),
            "checksum mismatch: the file is damaged",
        ),
    ],
)
def test_hostile_containers(data: bytes, message: str) -> None:
    with pytest.raises(FileFormatError, match=message) as caught:
        xnorfile.loads(data)
    assert str(caught.value).isprintable()


def test_offsets_that_overlap() -> None:
    (length,) = struct.unpack_from("<Q", DATA)
    header = json.loads(DATA[8 : 8 + length])
    header["scale"]["data_offsets"] = header["offset"]["data_offsets"]
    with pytest.raises(FileFormatError, match="damaged container"):
        xnorfile.loads(framed(json.dumps(header), DATA[8 + length :]))


def test_every_truncation_is_refused() -> None:
    for size in range(len(DATA)):
        with pytest.raises(FileFormatError):
            xnorfile.loads(DATA[:size])


def test_every_byte_is_covered() -> None:
    for index in range(len(DATA)):
        for flip in (0x01, 0x20, 0x80):
            damaged = bytearray(DATA)
            damaged[index] ^= flip
            with pytest.raises(FileFormatError):
                xnorfile.loads(bytes(damaged))


edits = st.lists(
    st.tuples(st.integers(0, len(DATA)), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4
)


@settings(deadline=None, max_examples=examples(600))
@given(edits)
def test_mutations_give_an_error_or_the_same_network(changes: list[tuple[int, int, bytes]]) -> None:
    data = DATA
    for start, removed, inserted in changes:
        data = data[:start] + inserted + data[start + removed :]
    try:
        net = xnorfile.loads(data)
    except FileFormatError:
        return
    assert net == NET


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None, max_examples=examples(400))
@given(st.data(), json_value)
def test_mutations_of_the_description(data: st.DataObject, value: Any) -> None:
    base = data.draw(st.sampled_from([NET, CONV]))

    def edit(description: dict[str, Any], tensors: dict[str, Any]) -> None:
        layers = description["layers"]
        where = data.draw(st.sampled_from([description, description["input"], layers, *layers]))
        if isinstance(where, list):
            where[data.draw(st.integers(0, 1))] = value
        else:
            where[data.draw(st.sampled_from(sorted(where)))] = value

    try:
        sealed = rebuilt(edit, net=base)
    except ValueError:  # NaN, which the checksum cannot cover
        sealed = rebuilt(edit, sign=False, net=base)
    try:
        net = xnorfile.loads(sealed)
    except FileFormatError:
        return
    # Whatever is accepted is a legal network that survives another round trip.
    assert xnorfile.loads(xnorfile.dumps(net)) == net


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*none.xnor: No such file"):
        xnorfile.load(tmp_path / "none.xnor")
    with pytest.raises(UsageError, match="cannot read"):
        xnorfile.load(tmp_path)
    with pytest.raises(UsageError, match="not a regular file"):
        xnorfile.load("/dev/null")
    with pytest.raises(UsageError, match="cannot read"):
        xnorfile.load("a\0b")
    path = tmp_path / "big.xnor"
    with path.open("wb") as file:
        file.truncate(1 << 33)  # sparse; more than is ever read, so that only the size can tell
    with pytest.raises(FileFormatError, match=r"big.xnor: 8589934592 bytes, the limit is 268435456"):
        xnorfile.load(path)
    path.write_bytes(DATA[:50])
    with pytest.raises(FileFormatError, match=re.escape(f"{path}: ")):
        xnorfile.load(path)


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.xnor"
    path.write_bytes(b"old")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        xnorfile.save(NET, path)
    monkeypatch.undo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.xnor"]
    assert path.read_bytes() == b"old"
    with pytest.raises(UsageError, match=r"cannot write .*a.xnor: No such file"):
        xnorfile.save(NET, tmp_path / "none" / "a.xnor")
    xnorfile.save(NET, path)
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


def test_the_largest_header_is_legal() -> None:
    """Characters that JSON escapes twice, in every place that the validator leaves to the user."""
    names = "\N{GREEK SMALL LETTER ALPHA}" * 100
    layers = [Dense([[1]], [0], names) for _ in range(256)]
    text = '"' * (MAX_METADATA // 2 - 5)
    net = Network(names, InputSpec((1,)), layers, metadata={"a": text})
    data = xnorfile.dumps(net)
    assert int.from_bytes(data[:8], "little") > xnorfile.MAX_HEADER // 2
    assert xnorfile.loads(data) == net


def test_zoo_finds_names_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "zoo_data"
    data.mkdir()
    monkeypatch.setattr(zoo, "_data", lambda: data)
    with pytest.raises(UsageError, match="no network 'example': not a file, and the zoo has no networks"):
        zoo.load("example")
    xnorfile.save(NET, data / "example.xnor")
    xnorfile.save(NET, data / "another.xnor")
    assert zoo.names() == ["another", "example"]
    assert zoo.load("example") == zoo.load(data / "another.xnor") == NET
    with pytest.raises(UsageError, match="no network 'nets': not a file, and the zoo has another, example"):
        zoo.load("nets")
    with pytest.raises(UsageError, match="'example' comes without test images"):
        zoo.test_images("example")
    with pytest.raises(UsageError, match="no network 'nets' in the zoo"):
        zoo.test_images("nets")
    images = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2) % 16
    np.savez_compressed(data / "example.npz", images=images, labels=np.array([3, 1], np.uint8))
    found, labels = zoo.test_images("example")
    assert np.array_equal(found, images)
    assert labels.tolist() == [3, 1]
    shared = replace(NET, metadata={"recipe": {"dataset": "example"}})
    xnorfile.save(shared, data / "third.xnor")
    assert np.array_equal(zoo.test_images("third")[0], images)
    (data / "example.npz").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(FileFormatError, match="test images of 'example'"):
        zoo.test_images("example")
    np.savez(data / "example.npz", images=images, labels=np.array([None, 1]))
    with pytest.raises(FileFormatError, match="test images of 'example'"):
        zoo.test_images("example")


def test_reading_takes_no_more_memory_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.xnor"
    xnorfile.save(zoo.load("digits"), path)
    xnorfile.load(path)
    tracemalloc.start()
    try:
        xnorfile.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 5 << 20
