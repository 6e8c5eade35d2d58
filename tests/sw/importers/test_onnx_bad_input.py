"""Scales, thresholds, branches, cycles and bits of no integer network: node, value, and a way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.sw.importers.fewbit_graphs import Net
from tests.sw.importers.onnx_graphs import Builder, save
from xnorcore.errors import ImportFailedError
from xnorcore.importers import onnx
from xnorcore.reference import fast, golden

Begin = Callable[[Builder, str], str]


def quant(b: Builder, x: str, scale: Any = 0.5, zero: Any = 0.0, bits: Any = 2.0, **more: Any) -> str:
    numbers = [b.const(np.asarray(one, np.float32)) for one in (scale, zero, bits)]
    return b.quant("Quant", x, *numbers, **{"signed": 1, "narrow": 0, "rounding_mode": "ROUND", **more})


def sums(b: Builder, x: str, outputs: int = 5, inputs: int = 5, **more: Any) -> str:
    weights = np.random.default_rng(len(b.nodes)).integers(-1, 2, (outputs, inputs)).astype(np.float32)
    return b.node("Gemm", x, quant(b, b.const(weights), **{"scale": 1.0, "narrow": 1, **more}), transB=1)


def model(begin: Begin, width: int = 5) -> Any:
    """What `begin` makes of values of 2 bits, between two layers."""
    b = Builder((1, 6))
    x = begin(b, quant(b, sums(b, "x", 5, 6)))
    return b.model(sums(b, x, 3, width))


def values(**changes: Any) -> Begin:
    return lambda b, h: quant(b, sums(b, h), **changes)


def weights(**changes: Any) -> Begin:
    return lambda b, h: quant(b, sums(b, h, **changes))


def counts(table: Any, **more: Any) -> Begin:
    return lambda b, h: b.quant("MultiThreshold", sums(b, h), b.const(np.asarray(table, np.float32)), **more)


def joined(op: str, one: dict[str, Any], two: dict[str, Any], outputs: int = 5, **more: Any) -> Begin:
    return lambda b, h: b.node(op, quant(b, sums(b, h), **one), quant(b, sums(b, h, outputs), **two), **more)


def cycle(b: Builder, h: str) -> str:
    """An addition of what comes from it."""
    total = b.node("Add", h, "later")
    quant(b, sums(b, total))
    b.nodes[-1].output[0] = "later"
    return total


def itself(b: Builder, h: str) -> str:
    b.node("Add", h, "s")
    b.nodes[-1].output[0] = "s"
    return "s"


def twice(b: Builder, h: str) -> str:
    one = quant(b, sums(b, h))
    quant(b, sums(b, h))
    b.nodes[-1].output[0] = one
    return b.node("Add", one, h)


def per_channel(*numbers: float) -> Any:
    return np.array([[*numbers, *[numbers[0]] * (5 - len(numbers))]], np.float32)


REFUSED: dict[str, tuple[Begin, str]] = {
    "9 bits": (values(bits=9), r"Quant 'n5': gives 512 levels between layers, the limit is 256: 8 bits; qua"),
    "0 bits": (values(bits=0), r"Quant 'n5': bit width is 0, but must be an integer from 1 to 32"),
    "2.5 bits": (values(bits=2.5), r"Quant 'n5': bit width is 2\.5, but must be an integer from 1 to 32"),
    "nan bits": (values(bits=np.nan), r"initializer 'c13', of Quant 'n5': holds nan; every parameter"),
    "bits of channels": (
        values(bits=per_channel(2, 3)), r"'n5': bit width must be one constant value, but is 2 here and 3 the"
    ),
    "scale of channels": (
        values(scale=per_channel(0.5, 0.5, 0.25)),
        r"Quant 'n5': scale is 0\.5 for one channel and 0\.25 for another, but must be one .*; quantise all ",
    ),
    "zero point of channels": (values(zero=per_channel(0, 1)), r"'n5': zero point is 0 for one channel and "),
    "no scale": (values(scale=0), r"Quant 'n5': scale is 0, but must be above 0; a falling one belongs into"),
    "tiny scale": (values(scale=1e-300), r"Quant 'n5': scale is 0, but must be above 0"),
    "falling scale": (values(scale=-1), r"Quant 'n5': scale is -1, but must be above 0"),
    "endless scale": (values(scale=np.inf), r"initializer 'c11', of Quant 'n5': holds inf; every"),
    "far zero point": (values(zero=1e30), r"Quant 'n5': zero point is 1e\+30, the limit is 16777216 in magn"),
    "far zero point, one bit": (values(zero=-1e9, bits=1), r"zero point is -1e\+09, the limit is 16777216"),
    "signed 3": (values(signed=3), r"Quant 'n5': attribute signed is 3, but must be 0 or 1"),
    "narrow -1": (values(narrow=-1), r"Quant 'n5': attribute narrow is -1, but must be 0 or 1"),
    "rounding": (values(rounding_mode="NEAR"), r"Quant 'n5': rounding_mode is 'NEAR'; known: ROUND, "),
    "weights: no scale": (weights(scale=0), r"Quant 'n3': scale is 0, but must be above 0; a falling one"),
    "weights: far zero point": (weights(zero=1e30, bits=4), r"Quant 'n3': zero point is 1e\+30, the limit i"),
    "weights: signed 3": (weights(signed=3), r"Quant 'n3': attribute signed is 3, but must be 0 or 1"),
    "weights: scales of inputs": (
        weights(scale=per_channel(1, 2), bits=4), r"Gemm 'n4': weights of output 0 have several scales, by Qu"
    ),
    "unsorted": (
        counts([[0, 1, 2]] * 4 + [[0, 2, 1]]),
        r"MultiThreshold 'n5': thresholds of channel 4 are not in rising order: number 1 is 2, and the next "
        r"one 1; sort those of each channel, which leaves the count as it is",
    ),
    "falling thresholds": (counts([[2, 1, 0]]), r"thresholds of channel 0 are not in .* number 0 is 2, and "),
    "falling counts": (counts([[0, 1]], out_scale=-1.0), r"out_scale is -1, but must be above 0; negate the"),
    "many thresholds": (counts([range(300)]), r"'n5': gives 301 levels between layers, the limit is 256"),
    "rows of thresholds": (counts([[0, 1]] * 3), r"thresholds have shape \(3, 2\), but must be \(5 or 1, st"),
    "unequal scales": (
        joined("Add", {"bits": 2}, {"bits": 3, "scale": 0.3}),
        r"Add 'n9': adds values in steps of 0\.5 to values in steps of 0\.3\d*, exactly .*; give both branch",
    ),
    "bits added": (joined("Add", {"bits": 1}, {"bits": 2}), r"Add 'n9': adds values of one bit, -0\.5 and 0"),
    "wide sums": (joined("Add", {"bits": 8}, {"bits": 8}), r"Add 'n9': gives 511 levels, the limit is 256: "),
    "unequal shapes": (
        joined("Add", {}, {}, 7),
        r"Add 'n9': its inputs, of the shapes \(1, 5\) and \(1, 7\), do not fit together \(axes must be equa",
    ),
    "a value for all": (joined("Add", {}, {}, 1), r"'n9': adds values of the shapes \(5,\) and \(1,\); both"),
    "product of branches": (joined("Mul", {}, {}), r"Mul 'n9': joins two computed tensors, .*: of branches,"),
    "batches": (joined("Concat", {}, {}, axis=0), r"Concat 'n9': has axis 0, which is the batch; join chann"),
    "cycle": (cycle, r"Add 'n3': lies on a cycle: it reads what comes from it, by Quant 'n6' and Gemm 'n5';"),
    "itself": (itself, r"Add 'n3': lies on a cycle: it reads itself; a network has no feedback: write each "),
    "two origins": (twice, r"Quant 'n8': computes tensor 'Quant_5', which has another origin already"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    begin, message = REFUSED[name]
    with pytest.raises(ImportFailedError, match=message):
        onnx.load(save(model(begin), tmp_path), inputs="uint2")


def test_weights_of_9_bits(tmp_path: Path) -> None:
    row = np.arange(-130, -105, dtype=np.float32).reshape(5, 5)
    net = model(lambda b, h: quant(b, b.node("Gemm", h, quant(b, b.const(row), 1.0, bits=9), transB=1)))
    with pytest.raises(
        ImportFailedError, match=r"Gemm 'n4': weights of output 0 reach -130 times their scale; "
    ):
        onnx.load(save(net, tmp_path), inputs="uint2")


def test_an_image_is_quantised_once(tmp_path: Path) -> None:
    def image(op: Callable[[Builder], str], message: str) -> None:
        b = Builder((1, 5))
        with pytest.raises(ImportFailedError, match=message):
            onnx.load(save(b.model(sums(b, op(b), 3, 5)), tmp_path))

    image(
        lambda b: b.node("Add", quant(b, "x"), quant(b, "x", 0.25)),
        r"Quant 'n0': quantises the image, or what is made of it, behind a branch at 'x' \(read by Quant 'n0'"
        r" and Quant 'n1'\): a device reads one image of integers; put one quantiser in front of all",
    )
    image(
        lambda b: b.quant("MultiThreshold", "x", b.const(np.array([[0.5, 0.25]], np.float32))),
        r"MultiThreshold 'n0': thresholds of channel 0 are not in rising order: number 0 is 0\.5, and",
    )
    image(
        lambda b: quant(b, "x", per_channel(0.5, 0.25)), r"'n0': of the image: scale is 0\.5 for one channel"
    )


def test_a_graph_without_nodes(tmp_path: Path) -> None:
    with pytest.raises(
        ImportFailedError, match=r"net\.onnx: its graph has no nodes; export the model with its"
    ):
        onnx.load(save(Builder((1, 6)).model("x"), tmp_path))


def branches_of_the_image(net: Net) -> None:
    """Two products that read the image, added to each other, and to the image itself."""
    start = net.state
    net.dense(6)
    net.quant(2, signed=0, scale=1.0)
    first = net.state
    net.state = start
    net.dense(6)
    net.quant(3, signed=0, scale=1.0)
    net.add(first)
    net.quant(4, signed=0, scale=1.0)
    net.add(start)


def doubled(net: Net) -> None:
    """The image to itself, and sums, and values."""
    net.add(net.state)
    net.dense(5)
    net.add(net.state)
    net.quant(2, signed=0, scale=1.5)
    net.add(net.state)


def beside_itself(net: Net) -> None:
    net.concat(net.state)
    net.dense(4)
    net.quant(2, signed=0, scale=0.75)
    net.concat(net.state)


@pytest.mark.parametrize("begin", [branches_of_the_image, doubled, beside_itself])
def test_branches_that_read_the_image(begin: Callable[[Net], None], tmp_path: Path) -> None:
    images = np.random.default_rng(2).integers(0, 4, (40, 6))
    net = Net((6,), images)
    begin(net)
    net.dense(3)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint2").network
    found = golden.run(network, images)
    assert np.allclose(network.affine(found), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    assert np.array_equal(found, fast.run(network, images))
