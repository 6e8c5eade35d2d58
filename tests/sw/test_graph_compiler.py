"""Graphs on the interpreter; memory by liveness; what holds between the steps of compiling."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.campaigns import examples, some
from xnorcore import zoo
from xnorcore.compiler import compile as compiler
from xnorcore.compiler import layout, rows, spec
from xnorcore.compiler.allocate import Buffer, allocate, least
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.steps import plan_of
from xnorcore.compiler.stops import sums_network, sums_of
from xnorcore.errors import CompileError, InternalError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.listing import listing, listing_lines
from xnorcore.model.network import Concat, InputSpec, MaxPool2d, Network, Node
from xnorcore.reference import golden
from xnorcore.runtime.accelerator import Accelerator
from xnorcore.verify.ask import checks, machine_url, observe
from xnorcore.verify.random_networks import random_network

from .graphs import conv, dense, inception
from .test_graph import NETWORKS

GEOMETRIES = [Geometry(1, 8, 32), Geometry(3, 8, 8), Geometry(1, 32, 16), Geometry(2, 64, 32)]


def device(geometry: Geometry, **options: int) -> DeviceConfig:
    sizes = {"weight_depth": 4096, "threshold_depth": 4096, "act_depth": 8192, "line_bytes": 2048}
    return DeviceConfig(geometry, **{**sizes, "acc_width": 20, "program_depth": 1024, **options})


def differences(network: Network, config: DeviceConfig, at_once: int | None = None) -> list[str]:
    """What the interpreter says of every layer, its sums, and the whole once more, against golden."""
    images = np.random.default_rng(3).integers(0, network.input.maximum + 1, (4, *network.input.shape))
    images = images.astype(np.uint8)
    with Accelerator.open(machine_url(config)) as opened:
        seen = observe(opened, network, images, at_once=at_once, read_back=False)
    found = checks(network, "machine", seen, images, golden.layers(network, images))
    assert all(one.mismatches is not None for one in found), "every value of these graphs is in memory"
    return [str(one) for one in found if one.mismatches]


@pytest.mark.parametrize("geometry", some(GEOMETRIES, 2), ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_machine_computes_graphs(name: str, geometry: Geometry) -> None:
    assert differences(NETWORKS[name], device(geometry)) == []


def test_strips_and_passes() -> None:
    network = NETWORKS["densenet across words"]
    config = device(Geometry(3, 8, 8))
    assert compile_network(network, config, 1).spread
    assert differences(network, config, 1) == []
    small = device(Geometry(1, 8, 32), weight_depth=300)
    assert compile_network(network, small).passes > 1
    assert differences(network, small) == []


@pytest.mark.parametrize("pad_value", [-1, 0, 1])
@pytest.mark.parametrize("channels", [(5, 8), (8, 5), (3, 16), (3, 5), (8, 16), (7, 9, 8)])
def test_lanes_left_over_in_any_part(channels: tuple[int, ...], pad_value: int) -> None:
    """With padding, an odd lane must be a pixel's last one, whichever part it belongs to."""
    parts = [Node(conv(n, 2, f"c{i}"), "stem") for i, n in enumerate(channels)]
    join = Node(Concat("join"), [f"c{i}" for i in range(len(channels))])
    total = sum(channels)
    behind = [conv(3, total, "behind", pad_value=pad_value), MaxPool2d((2, 2), name="pool")]
    network = Network("n", InputSpec((4, 4, 1)), [conv(2, 1, "stem"), *parts, join, *behind])
    config = device(Geometry(1, 8, 8))
    images = np.random.default_rng(5).integers(0, 2, (4, 4, 4, 1)).astype(np.uint8)
    with Accelerator.open(machine_url(config)) as opened:
        seen = observe(opened, network, images, read_back=False)
    found = checks(network, "machine", seen, images, golden.layers(network, images))
    assert [str(one) for one in found if one.mismatches] == []


def test_joins_of_joins_take_no_copy_and_shared_values_take_one() -> None:
    inner = [conv(4, 2, "stem"), *(Node(conv(3, 4, name), "stem") for name in "abc")]
    nested = [*inner, Node(Concat("ab"), ("a", "b")), Node(Concat("abc"), ("ab", "c")), conv(2, 9, "end")]
    plan = plan_of(Network("n", InputSpec((4, 4, 2)), nested))
    assert [step.name for step in plan.steps] == ["stem", "a", "b", "c", "end"]
    assert [join.parts for join in plan.joins.values()] == [(2, 3, 4)]
    shared = [*inner, Node(Concat("ab"), ("a", "b", "b")), Node(Concat("abc"), ("ab", "c", "a")),
              conv(2, 15, "end")]  # fmt: skip
    network = Network("n", InputSpec((4, 4, 2)), shared)
    names = [step.name for step in plan_of(network).steps]
    assert names == ["stem", "a", "b", "c", "copy of a", "copy of b", "copy of b", "copy of a", "end"]
    assert differences(network, device(Geometry(1, 8, 32))) == []


def test_a_pooling_joins_its_convolution_only_if_nobody_else_reads_it() -> None:
    layers = [conv(4, 2, "a"), MaxPool2d((2, 2), name="pool"), Node(conv(3, 4, "b", stride=(2, 2)), "a"),
              Node(Concat("c"), ("pool", "b")), conv(2, 7, "end")]  # fmt: skip
    network = Network("n", InputSpec((4, 6, 2)), layers)
    plan = plan_of(network)
    assert [(step.name, step.pool) for step in plan.steps][:2] == [("a", None), ("pool", None)]
    assert network.layer_macs[0] == Network("n", InputSpec((4, 6, 2)), layers[:1]).macs
    assert differences(network, device(Geometry(1, 8, 32))) == []


def test_vectors_are_computed_again_even_without_convolution() -> None:
    layers: list[Any] = [
        dense(9, 12, "a"), Node(dense(7, 9, "b"), "a"), Node(Concat("ab"), ("a", "b")),
        dense(11, 16, "c"), Node(Concat("abc"), ("ab", "c", "b")), dense(3, 34, "end", scores=True),
    ]  # fmt: skip
    network = Network("n", InputSpec((12,), 1), layers)
    config = device(Geometry(2, 8, 32), convolution=0, line_bytes=0)
    names = [plan.name for plan in compile_network(network, config).layers]
    assert names == ["a", "b", "a again", "b again", "c", "a again", "b again", "b again", "end"]
    assert differences(network, config) == []
    assert differences(Network("n", InputSpec((12,), 3), layers), config) == []


def test_layers_that_share_the_image() -> None:
    both = [conv(3, 2, "a"), Node(conv(5, 2, "b"), "input"), Node(Concat("ab"), ("a", "b"))]
    network = Network("n", InputSpec((5, 6, 2), 4), [*both, conv(2, 8, "end")])
    for at_once in (None, 1):
        assert differences(network, device(Geometry(2, 8, 32)), at_once) == []
    vectors = [dense(3, 20, "a"), Node(dense(5, 20, "b"), "input"), Node(Concat("ab"), ("a", "b"))]
    network = Network("n", InputSpec((20,), 3), [*vectors, dense(2, 8, "end")])
    assert differences(network, device(Geometry(2, 8, 32))) == []


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [conv(3, 2, "a"), Node(conv(5, 2, "b", 1), "input"), Node(Concat(), ("a", "b"))],
            "layers 'a' and 'b' both read the image, but want it in different forms in memory; give both",
        ),
        (
            [
                conv(3, 2, "a"),
                dense(4, 90, "d"),
                Node(dense(5, 60, "b"), "input"),
                Node(Concat(), ("d", "b")),
            ],
            "layers 'a' and 'b' both read the image, but want",
        ),
        (
            [
                conv(3, 2, "a", pad_value=1),
                Node(conv(5, 2, "b", pad_value=-1), "input"),
                Node(Concat(), [*"ab"]),
            ],
            "layers 'a' and 'b' both read the image, but want",
        ),
        (
            [conv(3, 2, "a"), Node(Concat("join"), ("a", "input"))],
            "layer 'join' concatenates the image, which lies in memory in a form of its own; put a layer",
        ),
    ],
)
def test_what_a_device_cannot_do_with_the_image(layers: list[Any], message: str) -> None:
    network = Network("n", InputSpec((5, 6, 2)), layers)
    with pytest.raises(CompileError, match=message):
        compile_network(network, device(Geometry(1, 8, 32)))


def test_the_listing_names_what_lies_where() -> None:
    program = compile_network(inception(), device(Geometry(1, 8, 32)))
    text = "\n".join(listing_lines(listing(program)))
    assert all(
        f"  writes   {name}" in text for name in ("stem", "join", "join+1", "before", "mix", "results")
    )
    reserved = Network(
        "n", InputSpec((12,)), [dense(9, 12, "image"), dense(7, 9, "sums"), dense(3, 7, "results")]
    )
    program = compile_network(reserved, device(Geometry(1, 8, 32)))
    assert set(program.regions.bases) == {"image", "image'", "sums'", "results"}


def test_sums_never_lie_over_the_images() -> None:
    """Lanes that no byte reaches are 0 only once: in front of what a layer reads, sums begin behind them."""
    layers = [
        dense(200, 70, "a"),
        dense(200, 200, "b"),
        dense(12, 200, "c"),
        dense(3, 12, "end", scores=True),
    ]
    network = Network("n", InputSpec((70,), 4), layers)
    config = device(Geometry(1, 8, 8))
    config = dataclasses.replace(config, act_depth=compile_network(network, config).used["act_depth"])
    program = compile_network(network, config)
    sums = sums_of(program, 2).regions
    # Behind "b" there is less room than in front of it.
    assert program.regions.bases["b"] > 2 * sums.sizes["image"] == sums.bases["sums"]
    images = np.random.default_rng(3).integers(0, 16, (2, 70)).astype(np.uint8)
    with Accelerator.open(machine_url(config)) as opened:
        opened.load(network)
        opened.stop_after(2, sums=True)
        found = opened.infer(images)
        assert np.array_equal(found, golden.run(sums_network(network, 2), images))
        opened.stop_after(3)
        assert np.array_equal(opened.infer(images), golden.run(network, images))


# Memory by liveness.


def test_no_chain_needs_more_than_two_alternating_regions() -> None:
    networks = [zoo.load(name) for name in zoo.names()]
    networks += [random_network(np.random.default_rng([4, number])) for number in range(examples(200))]
    for number, network in enumerate(networks):
        if any(len(reads) > 1 for reads in network.reads):
            continue
        config = device(GEOMETRIES[number % 4], act_depth=1 << 15, weight_depth=1 << 15)
        try:
            program = compile_network(network, config)
        except CompileError:
            continue
        sizes = program.regions.sizes
        hidden = [words for name, words in sizes.items() if name not in ("image", "results")]
        turns = max(hidden[::2], default=0) + max(hidden[1::2], default=0)
        before = 2 * sizes["image"] + turns + 2 * sizes["results"]
        assert program.used["act_depth"] <= before
    sizes = [64, 8, 8, 64, 5]
    layers = [dense(8 * out, 8 * n, "") for n, out in zip([3, *sizes], sizes, strict=False)]
    deep = compile_network(Network("n", InputSpec((24,)), layers), device(Geometry(1, 8, 8)))
    assert deep.used["act_depth"] == 2 * 3 + (64 + 8) + 2 * 5  # and not 64 + 64


def test_allocation_is_what_liveness_allows() -> None:
    rng = np.random.default_rng(6)
    exact = 0
    for _ in range(300):
        buffers = []
        for number in range(int(rng.integers(0, 9))):
            first = int(rng.integers(0, 8))
            buffers.append(
                Buffer(str(number), int(rng.integers(1, 20)), first, first + int(rng.integers(0, 5)))
            )
        bases, words = allocate(buffers)
        assert allocate(buffers[::-1]) == (bases, words)
        for one, other in product(buffers, buffers):
            if one is not other and one.meets(other):
                first, second = bases[one.name], bases[other.name]
                assert first + one.words <= second or second + other.words <= first
        assert all(0 <= bases[one.name] <= words - one.words for one in buffers)
        assert words >= least(buffers)
        exact += words == least(buffers)
    assert exact > 270
    # A chain takes the most that two neighbours take.
    for _ in range(100):
        sizes = rng.integers(1, 50, int(rng.integers(1, 12))).tolist()
        chain = [Buffer(f"b{i}", words, i, i + 1) for i, words in enumerate(sizes)]
        assert allocate(chain)[1] == max(a + b for a, b in zip([*sizes, 0], [0, *sizes], strict=True))


# The spec between the steps.

Break = Callable[[pytest.MonkeyPatch], None]


def patched(module: Any, name: str, change: Callable[[Any], Any]) -> Break:
    def apply(monkeypatch: pytest.MonkeyPatch) -> None:
        right = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **kw: change(right(*args, **kw)))

    return apply


def moved(found: Any, **changes: Any) -> Any:
    return dataclasses.replace(found, **changes)


def with_step(number: int, **changes: Any) -> Callable[[Any], Any]:
    def change(plan: Any) -> Any:
        plan.steps[number] = dataclasses.replace(plan.steps[number], **changes)
        return plan

    return change


def with_regions(change: Callable[[dict[str, int]], Any]) -> Callable[[Any], Any]:
    def apply(found: layout.Layout) -> layout.Layout:
        bases = dict(found.regions.bases)
        change(bases)
        return moved(found, regions=moved(found.regions, bases=bases))

    return apply


def first_lanes(found: Any) -> Any:
    values = moved(found.values, lanes=np.zeros(found.values.outputs, np.int64))
    return moved(found, values=values)


def over_each_other(found: Any) -> Any:
    parts, region = found
    here = compiler.Place("")
    return {n: moved(one, descriptor=moved(one.descriptor, target=here)) for n, one in parts.items()}, region


PLANS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "read too early": (with_step(1, reads=7), "reads signal 7 before it is given"),
    "given twice": (with_step(2, gives=1), "gives signal 1 a second time"),
    "another result": (with_step(-1, gives=9), "the last step gives signal 9, and not"),
    "part that is read": (with_step(5, reads=2), "reads signal 2, a part of a join"),
    "step left out": (lambda plan: plan.steps.pop(2) and plan, "reads signal 6 before it is given"),
}
LAYOUTS: dict[str, tuple[Callable[[dict[str, int]], Any], str]] = {
    "overlap": (
        lambda bases: bases.update(stem=bases["join"]),
        "step 'three' reads signals .1., which are not in the memory any more",
    ),
    "over the image": (lambda bases: bases.update(mix=0), "'mix' lies over images or results"),
    "over the results": (lambda bases: bases.update(mix=bases["results"]), "'mix' lies over images or"),
}
BROKEN: dict[str, tuple[Break, str]] = {
    **{name: (patched(compiler, "plan_of", change), text) for name, (change, text) in PLANS.items()},
    **{
        name: (patched(compiler, "lay_out", with_regions(change)), text)
        for name, (change, text) in LAYOUTS.items()
    },
    "shape": (
        patched(rows, "lower_conv", lambda one: moved(one, values=moved(one.values, height=5))),
        "step 'one' gives .5, 7, 8., but its value is .6, 7, 8.",
    ),
    "lanes": (patched(rows, "lower_conv", first_lanes), "step 'one' puts two channels in one lane"),
    "weights": (
        patched(compiler, "lower_dense", lambda one: moved(one, weights=one.weights[:, 1:])),
        "step 'last' has weights",
    ),
    "start values": (
        patched(compiler, "lower_dense", lambda one: moved(one, starts=one.starts[:, :0])),
        "step 'last' has not 1 start values",
    ),
    "parts over each other": (
        patched(compiler, "joined", over_each_other), "step 'mix' reads signals .2, 3., which are not"
    ),
    "tiles left out": (
        patched(compiler, "cut", lambda passes: [[one for one in passes[0] if one.index != 2]]),
        "leave tiles out",
    ),
    "tiles twice": (
        patched(compiler, "cut", lambda passes: [[*passes[0][:3], *passes[0][2:]]]),
        "step 2 goes on at tile 0, not 1",
    ),
    "out of order": (patched(compiler, "cut", lambda passes: [passes[0][::-1]]), "cut out of order"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_compiler_says_where(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    apply, message = BROKEN[case]
    network, config = inception(), device(Geometry(1, 8, 32))
    compile_network(network, config)
    apply(monkeypatch)
    with pytest.raises(InternalError, match=f"contradicts itself: .*({message}).*; please report") as caught:
        compile_network(network, config)
    assert not isinstance(caught.value, CompileError)
    assert spec.__doc__
