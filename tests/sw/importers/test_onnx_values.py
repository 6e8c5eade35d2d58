"""Shortcuts of 8 bits from files: values that changes are added to, which a device does in place."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.sw.importers.onnx_graphs import save
from tests.sw.importers.shortcuts import Values
from xnorcore.compiler.compile import compile_network
from xnorcore.errors import CompileError, ImportFailedError
from xnorcore.importers import onnx
from xnorcore.importers.onnx import solve
from xnorcore.importers.onnx.graph import Node
from xnorcore.importers.onnx.line import Line
from xnorcore.importers.onnx.maps import Form
from xnorcore.importers.onnx.surd import Surd
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.network import Add, Network
from xnorcore.reference import fast, golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import machine_url
from xnorcore.verify.random_chains import chain_network

DEVICE = DeviceConfig(
    Geometry(1, 8, 16), 22, code_bits=8, result_lanes=2, value_depth=1024, act_depth=8192, weight_depth=2048,
    program_depth=512,
)  # fmt: skip


def residual(images: Any, way: str = "slice", first: int = 6, **options: Any) -> Values:
    """Three blocks, the second of which halves."""
    net = Values((3, 6, 5), images, **options)
    net.stem(9, first)
    net.block(9)
    net.block(20, 2, way)
    net.block(20)
    net.mean()
    net.dense(4)
    return net


def added(network: Network) -> int:
    """How many convolutions add in place."""
    (section,) = compile_network(network, DEVICE).sections
    return sum(one.adding is not None for one in section.descriptors)


def checked(net: Values, network: Network, images: Any, *, device: bool = True) -> list[Any]:
    """Return the golden layers, once they are those of rationals: of values up to what the lowest one is."""
    flat = np.moveaxis(images, 1, -1)
    found = golden.layers(network, flat)
    assert all(np.array_equal(a, b) for a, b in zip(found, fast.layers(network, flat), strict=True))
    for wanted in net.hidden():
        shifts = [one.astype(int) - wanted for one in found if one.shape == wanted.shape]
        assert any((one == one.flat[0]).all() for one in shifts)
    assert np.allclose(network.affine(found[-1]), net.v.astype(np.float64), rtol=1e-6, atol=1e-5)
    if device:
        with Accelerator.open(machine_url(DEVICE)) as opened:
            opened.load(network)
            assert (opened.infer(flat) == found[-1]).all()
    return found


@pytest.mark.parametrize("way", some(["slice", "convolution", "slices", "pool"], 2))
def test_it_is_the_network_built_by_hand(way: str, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 16, (6, 3, 6, 5))
    net = residual(images, way)
    imported = onnx.load(save(net.model(), tmp_path), inputs="uint4")
    hand = chain_network(np.random.default_rng(0), size=(6, 5), bits=(6, 3), end="values")
    kinds = [
        sorted((type(one).__name__, getattr(one, "steps", 0), value.shape) for one, value in pairs)
        for pairs in (zip(each.layers, each.values[1:], strict=True) for each in (imported.network, hand))
    ]
    assert kinds[0] == kinds[1] and not any(getattr(one, "most", None) for one in imported.network.layers)
    checked(net, imported.network, images)
    assert added(imported.network) == 4
    assert [one.kind for one in imported.report.layers].count("add") == 3


@pytest.mark.parametrize("bits", some([4, 8, 6], 1))
def test_sums_that_saturate(bits: int, tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 16, (6, 3, 6, 5))
    net = residual(images, first=8, bits=bits, unit=1 / 64)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint4").network
    adds = [one for one in network.layers if isinstance(one, Add)]
    assert [(one.offset, one.most) for one in adds] == [(1 << bits - 1, 255)] * 3
    found = checked(net, network, images)
    sums = [layer for layer, one in zip(found, network.layers, strict=True) if isinstance(one, Add)]
    assert {0, 255} <= set(np.concatenate(sums, axis=1).ravel().tolist())
    assert added(network) == 4


def test_changes_in_steps_of_several(tmp_path: Path) -> None:
    """They count twice in the sum; a device has no place for that."""
    images = np.random.default_rng(1).integers(0, 16, (3, 3, 6, 5))
    net = residual(images, first=8, bits=3, unit=1 / 64, times=2)
    network = onnx.load(save(net.model(), tmp_path), inputs="uint4").network
    adds = [number for number, one in enumerate(network.layers) if isinstance(one, Add)]
    assert [sorted(Counter(network.reads[number]).values()) for number in adds] == [[1, 2]] * 3
    with pytest.raises(CompileError, match=r"joins values of 3 and 8 bits, .* values in place"):
        compile_network(network, DEVICE)
    checked(net, network, images, device=False)


def test_floats_are_trusted_only_where_they_are_sure(tmp_path: Path, monkeypatch: Any) -> None:
    """Most thresholds are found with floats, those at or next to integers never; all are the exact ones."""
    images = np.random.default_rng(1).integers(0, 16, (2, 3, 6, 5))
    net = residual(images, first=8, bits=8, unit=1 / 64)
    path, closely, seen = save(net.model(), tmp_path), solve._closely, list[Any]()
    for gamma, mean in ((0.5, 0.0), (1 / 3, 2**-40), (-0.7, 1e9), (1e-120, 0.0)):
        form = Form(1)
        form.affine([Fraction(3, 4)], [Fraction(1, 2)])
        numbers = {"gamma": gamma, "mean": mean, "beta": 0.3, "variance": 2.0}
        form.norm(Node("Norm", "n", (), (), {key: [Fraction(number)] for key, number in numbers.items()}))
        stage: Any = SimpleNamespace(form=form, pooled_first=False, node=Node("Conv", "c", (), ()))
        places = [Fraction(number, 7) for number in range(-300, 300)]
        falls, found = closely(stage, 0, places)
        assert falls == (gamma < 0 and found[0] is not None)
        for place, first in zip(places, found, strict=True):
            line = Line(False, ((Surd.of(place), False),))
            for _, function in reversed(form.maps):
                line = function.before(line, 0)
            floor, whole = line.cuts[0][0].floor()
            assert first is None or (first == floor + 1 and not whole)
        seen.append(sum(first is not None for first in found))
    assert seen[0] > 580 and seen[1] > 580 and seen[3] == 0
    networks = []
    for change in (lambda *given: closely(*given), lambda *given: (False, [None] * len(given[2]))):
        monkeypatch.setattr(solve, "_closely", change)
        networks.append(onnx.load(path, inputs="uint4").network)
    assert networks[0] == networks[1]


def one_block(change: Any, **options: Any) -> Any:
    """The model of a stem, and what `change` makes of its values."""
    net = Values((3, 6, 5), np.zeros((1, 3, 6, 5), int), **options)
    net.stem(8, 8)
    trunk = net.state
    change(net, trunk)
    net.mean()
    net.dense(4)
    return net.model()


def branched(net: Values, trunk: Any, *, stride: int = 1, outputs: int = 8) -> None:
    net.sign()
    net.conv(outputs, pads=1, stride=stride)
    net.norm()
    net.value(3)
    net.state, net.change = trunk, net.state  # type: ignore[attr-defined]


def never_quantised(net: Any, trunk: Any) -> None:
    branched(net, trunk)
    net.add(net.change)


def between_levels(net: Any, trunk: Any) -> None:
    branched(net, trunk)
    net.add(net.change)
    net.value(8, zero=0.5)
    net.block(8)


def no_level_of_new_channels(net: Any, trunk: Any) -> None:
    net.quant(8, signed=1, scale=net.unit, zero=0.5)
    trunk = net.state
    branched(net, trunk, stride=2, outputs=9)
    net.halved(1, "slice")
    net.add(net.change)
    net.value()


def projected(net: Any, trunk: Any) -> None:
    branched(net, trunk, stride=2, outputs=9)
    weights = net.rng.normal(size=(9, 8, 1, 1)).astype(np.float32)
    net.node("Conv", net.b.const(weights), strides=[2, 2])
    net.v = np.zeros((1, 9, 3, 3))
    net.norm()
    net.value()
    net.add(net.change)
    net.value()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (never_quantised, r"Add .*: gives 263 levels, .*; quantise to fewer, or behind it to 8 bits in the"),
        (between_levels, r"Add .*: gives 263 levels, the limit is 256: 8 bits"),
        (
            no_level_of_new_channels,
            r"Pad .*: gives new channels of 0, which is none of the 256 levels of its",
        ),
        (projected, r"Conv .*: weights of output 0 are .* not quantised"),
    ],
)
def test_what_is_refused(change: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ImportFailedError, match=message):
        onnx.load(save(one_block(change), tmp_path), inputs="uint4")
