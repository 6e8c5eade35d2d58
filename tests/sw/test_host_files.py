"""Networks with real layers in files: round trips, bytes on the disk, and hostile files."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sw.test_host import network, real
from tests.sw.test_xnorfile import rebuilt
from xnorcore.errors import FileFormatError
from xnorcore.files import xnorfile
from xnorcore.host.head import Head
from xnorcore.host.layers import (
    RealAffine,
    RealAveragePool2d,
    RealClip,
    RealConv2d,
    RealDense,
    RealMaxPool2d,
)
from xnorcore.host.tail import Tail
from xnorcore.model.network import Dense, InputSpec, Network


def every() -> Network:
    """Every kind of real layer, at both ends."""
    head = Head(
        (9, 8, 4),
        [
            RealConv2d(real(6, 3, 2, 2), real(6), stride=(2, 1), padding=(1, 0, 0, 1), groups=2),
            RealAffine(real(6), real(6)), RealClip(-1, 1), RealMaxPool2d((2, 2), (1, 2), (1, 0, 0, 0)),
            RealAveragePool2d((2, 1)), RealConv2d(real(3, 1, 1, 6)), RealAffine([2], [0.5]),
        ],
        np.sort(real(3, 3), axis=1), real(4, 17),
    )  # fmt: skip
    hidden = Dense(np.where(real(5, 24) > 0, 1, -1), np.zeros(5))
    tail = Tail((5,), [RealDense(real(4, 5), real(4)), RealClip(None, 3), RealDense(real(2, 4))])
    return Network("every", InputSpec((2, 4, 3), 2), [hidden], 2, head=head, tail=tail)


NET = every()


@pytest.mark.parametrize(
    "net", [NET, network(), network(head=None), network(tail=None)], ids=["every", "both", "tail", "head"]
)
def test_round_trip(net: Network, tmp_path: Path) -> None:
    xnorfile.save(net, tmp_path / "a.xnor")
    found = xnorfile.load(tmp_path / "a.xnor")
    assert found == net
    assert (found.head, found.tail) == (net.head, net.tail)
    assert xnorfile.dumps(found) == xnorfile.dumps(net)
    assert xnorfile.content_hash(found) == xnorfile.content_hash(net)


def test_both_ends_are_part_of_the_hash() -> None:
    hashes = {xnorfile.content_hash(network(**ends)) for ends in ({}, {"head": None}, {"tail": None})}
    assert len(hashes) == 3


def test_on_disk() -> None:
    """What docs/numerics.md promises, read without our own reader."""
    data = xnorfile.dumps(NET)
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    description = json.loads(header["__metadata__"]["xnorcore"])
    assert description["version"] == 3
    head, tail = description["head"], description["tail"]
    assert (head["shape"], head["thresholds"], head["pixels"]) == ([9, 8, 4], [3, 3], [4, 17])
    assert head["layers"][0] == {
        "type": "conv2d", "inputs": 4, "outputs": 6, "groups": 2, "kernel": [3, 2], "stride": [2, 1],
        "padding": [1, 0, 0, 1], "bias": True,
    }  # fmt: skip
    assert head["layers"][2] == {"type": "clip", "limits": [-1.0, 1.0]}
    assert head["layers"][4] == {
        "type": "averagepool2d",
        "window": [2, 1],
        "stride": [2, 1],
        "padding": [0] * 4,
    }
    assert tail["layers"][1:] == [
        {"type": "clip", "limits": [None, 3.0]},
        {"type": "dense", "inputs": 4, "outputs": 2, "bias": False},
    ]
    entry = header["tail.layers.2.weights"]
    assert (entry["dtype"], entry["shape"]) == ("F32", [2, 4])
    start, stop = entry["data_offsets"]
    assert NET.tail is not None
    last = NET.tail.layers[2]
    assert isinstance(last, RealDense)
    assert data[8 + length :][start:stop] == last.weights.astype("<f4").tobytes()


def at(end: str, index: int | None = None, **changes: Any) -> Callable[[Any, Any], Any]:
    def edit(description: Any, tensors: Any) -> None:
        entry = description[end]
        (entry if index is None else entry["layers"][index]).update(changes)

    return edit


HOSTILE: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "both empty": (lambda d, t: (d.update(head={}), d.update(tail={})), "tensors that .* do not belong"),
    "no list": (lambda d, t: d.update(head=[]), "head is list, but must be dict"),
    "keys": (at("head", more=1), "head has 'layers, more, pixels, .*; it must have layers, pixels"),
    "a tail's keys": (at("tail", thresholds=[1, 1]), "tail has 'layers, shape, thresholds'; it must have"),
    "layers": (at("head", layers=[{"type": "clip", "limits": [0, None]}] * 33), "33 layers, the limit is 32"),
    "type": (at("head", 0, type="conv9"), "head, layer 0: type 'conv9' is unknown; update"),
    "no type": (lambda d, t: d["tail"]["layers"].insert(0, 3), "tail, layer 0: type None is unknown"),
    "layer keys": (at("tail", 0, x=1), "tail, layer 0 has 'bias, inputs, outputs, type, x'"),
    "key's type": (at("tail", 0, bias=1), "bias is int, but must be bool"),
    "huge": (at("tail", 0, outputs=10**30), "weights: sizes .1000000.* must be integers from 1 to 16777216"),
    "negative": (at("tail", 0, inputs=-5), r"sizes \[4, -5\] must be integers"),
    "many": (at("tail", 0, outputs=1 << 23, inputs=5), "41943040 numbers so far, the limit is 16777216"),
    "kernel": (at("head", 0, kernel=[3]), "head, layer 0: kernel .3. or groups 2 do not fit"),
    "kernel's type": (at("head", 0, kernel=[3, "2"]), "weights: sizes .* must be integers"),
    "groups": (at("head", 0, groups=0), "layer 0: |groups: 0 must be|but must be F32"),
    "stride": (at("head", 0, stride=[0, 1]), "illegal network: real conv2d, stride"),
    "strides": (at("head", 0, stride=[10**40, 1]), "illegal network: real conv2d, stride"),
    "padding": (at("head", 0, padding=[9, 0, 0, 0]), "illegal network: real conv2d, padding"),
    "shape": (at("tail", 0, outputs=5), r"tail.layers.0.weights is 'F32' .4, 5., but must be F32 .5, 5."),
    "dtype": (
        lambda d, t: t.update({"head.thresholds": np.zeros((3, 3))}), "head.thresholds is 'F64' .3, 3., but"
    ),
    "extra": (lambda d, t: t.update({"head.x": np.zeros(1, np.float32)}), "do not belong: 'head.x'"),
    "missing": (lambda d, t: t.pop("tail.layers.0.bias"), "do not belong: 'tail.layers.0.bias'"),
    "nan": (lambda d, t: t["tail.layers.0.bias"].__setitem__(0, np.nan), "dense, bias: holds nan"),
    "inf": (lambda d, t: t["head.thresholds"].__setitem__((0, 2), np.inf), "thresholds: holds inf"),
    "falling": (lambda d, t: t["head.thresholds"].__setitem__((0, 0), 99), "must be in rising order"),
    "reach": (lambda d, t: t["tail.layers.0.weights"].fill(3e38), "network: tail, layer 0: may reach"),
    "limits": (at("head", 2, limits=[1]), "limits are .1., but must be 2 numbers"),
    "limit": (at("head", 2, limits=[True, None]), "clip, low: True is no number"),
    "limit text": (at("head", 2, limits=["0", None]), "clip, low: '0' is no number"),
    "limit's size": (at("head", 2, limits=[10**400, None]), "illegal network: real clip, low"),
    "window": (at("head", 3, window=[300, 2]), "maxpool2d, window: .* from 1 to 255"),
    "image": (at("head", shape=[1 << 20, 1 << 20, 4]), "head, shape: .* of at most 1048576 values"),
    "image's sizes": (at("head", shape=[10**40, 8, 4]), "head, shape: "),
    "image's types": (at("head", shape=[9.0, 8, 4]), "head, shape: "),
    "thresholds": (at("head", thresholds=[3]), "head: thresholds: sizes .3. must be 2 integers"),
    "many thresholds": (at("head", thresholds=[3, 256]), "the second at most 255"),
    "more thresholds": (at("head", thresholds=[10**9, 3]), "3000000000 numbers, the limit is 16777216"),
    "pixels": (at("head", pixels=[4, 1]), "'F32' .4, 17., but must be F32 .4, 1."),
    "no pixels": (at("head", pixels=[]), "do not belong: 'head.pixels'"),
    "tail's shape": (at("tail", shape=[6]), "tail, layer 0: real dense takes 5 values, but reads 6"),
    "classes": (lambda d, t: d.update(classes=3), "1 to the 2 outputs"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_descriptions(case: str) -> None:
    edit, message = HOSTILE[case]
    with pytest.raises(FileFormatError, match=message) as caught:
        xnorfile.loads(rebuilt(edit, net=NET))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_damaged_bytes() -> None:
    data = xnorfile.dumps(NET)
    for place in (len(data) - 1, len(data) - 300, 200):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(FileFormatError):
            xnorfile.loads(bytes(damaged))
