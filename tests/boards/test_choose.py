"""The search for a board's configuration: blocks are exact and used whole, rates are those of ``plan``."""

import json
from collections import Counter
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.campaigns import some
from tests.draws import RNG
from tests.lean import LEAN
from tests.sw.convnets import signs
from xnorcore import zoo
from xnorcore.boards import find_device
from xnorcore.cli.commands import build
from xnorcore.cli.console import Console
from xnorcore.cli.plan import plan
from xnorcore.errors import BuildError, UsageError
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.model.layers import Dense
from xnorcore.model.network import InputSpec, Network
from xnorcore_boards.board import all_boards, find_board
from xnorcore_boards.build.design import elaborate
from xnorcore_boards.cli.build import _config as build_config
from xnorcore_boards.cli.choose import for_network
from xnorcore_boards.measure import space
from xnorcore_boards.measure.choose import Choice, judge
from xnorcore_boards.measure.inventory import config_blocks, config_memories, deepest, filled
from xnorcore_boards.measure.memories import Memory, blocks, single_blocks, total_blocks
from xnorcore_boards.measure.needs import Need, alike, needs
from xnorcore_boards.measure.search import Search
from xnorcore_boards.measure.space import arrays, cells_limit, depths

from .test_commands import run

BOARD = "icebreaker"
pytestmark = pytest.mark.usefixtures("lean_board")
NETWORKS = ("digits", "mnist-tfc")
SMALL = DeviceConfig(
    Geometry(2, 8, 16), 18, 200, 30, 301, 100, 1024,
    column_group=4, line_bytes=700, threshold_share=2,
)  # fmt: skip


def networks(*names):
    return {name: zoo.load(name) for name in names}


@pytest.fixture(scope="module")
def search():
    found = Search(replace(find_board(BOARD), config=LEAN), networks(*NETWORKS))
    found.run()
    return found


@pytest.mark.parametrize(
    ("board", "config"),
    some(
        [
            (
                "ulx3s-25f",
                replace(SMALL, store_words=1024, store_kind=1, weight_depth=256, threshold_depth=64),
            ),
            ("ulx3s-25f", SMALL),
            (
                "ulx3s-25f",
                replace(
                    SMALL, threshold_share=1, code_bits=8, result_lanes=2, value_depth=64, scale_depth=128
                ),
            ),
            (
                "ice40-hx8k-b-evn",
                replace(SMALL, store_words=2048, store_kind=4, weight_depth=256, threshold_depth=64),
            ),
            ("ulx3s-25f", replace(SMALL, kept_words=2048)),
            ("tang-nano-9k", replace(SMALL, line_bytes=0, program_halves=1, geometry=Geometry(1, 8, 24))),
            (
                BOARD,
                replace(SMALL, line_bytes=0, convolution=0, threshold_share=1, geometry=Geometry(2, 4, 8)),
            ),
        ],
        1,
        many=True,
    ),
)
def test_memories_are_those_of_the_elaborated_design(board, config):
    def kinds(memories):
        return Counter((m.depth, m.width, m.granularity, m.clocked) for m in memories)

    assert kinds(config_memories(config)) == kinds(elaborate(find_board(board), config).memories)


def test_stores_are_looked_at_where_memory_does_not_hold_the_weights():
    lfc, board = zoo.load("mnist-lfc"), find_board(BOARD)
    kinds = {config.store_kind for config in arrays(board, [lfc], Geometry(1, 4, 16))}
    assert kinds == {0, 2, 5}
    assert {bool(c.store_words) for c in arrays(board, networks(*NETWORKS).values())} == {False}
    found = Search(board, {"mnist-lfc": lfc}, geometry=Geometry(1, 4, 16))
    found.run(any_=True)
    assert found.best and found.best.config.store_words and found.best.resident == 1
    judged = judge(board, found.best.config, {"mnist-lfc": lfc})
    assert judged.rates == found.best.rates


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("ulx3s-25f", {0, 1}), ("tang-nano-20k", {0, 3}), ("orangecrab-25f", {0, 4}), ("upduino-3.1", {0, 4})],
)
def test_a_flash_beside_an_sdram_is_not_looked_at(name, kinds):
    lfc = zoo.load("mnist-lfc")
    assert {c.store_kind for c in arrays(find_board(name), [lfc], Geometry(1, 4, 16))} == kinds


def test_networks_of_few_bits_are_given_codes():
    layers = [
        Dense(RNG.choice([-3, -1, 1, 3], (40, 64)), np.tile([-9, 0, 9], (40, 1))),
        Dense(signs(RNG, 3, 40)),
    ]
    network = Network("few", InputSpec((64,)), layers)
    found = Search(find_board("ulx3s-25f"), {"few": network}, geometry=Geometry(1, 8, 16))
    found.run(any_=True)
    assert found.best and found.best.config.code_bits == 2 and found.best.config.threshold_share == 1
    assert found.best.passes == {"few": 1}
    # What one with sums of rows reaches is not taken for what one without does.
    for choice in found.frontier:
        assert judge(found.board, choice.config, {"few": network}).rates == choice.rates
    summed = next(one for one in found._arrays if one.row_sums)
    plain = replace(summed, row_sums=0)
    assert alike(network, summed) != alike(network, plain)


@pytest.mark.campaign
def test_memories_of_one_port_are_those_of_the_elaborated_design():
    config = replace(
        SMALL, geometry=Geometry(1, 4, 16), act_depth=20000, line_bytes=0, convolution=0, act_ports=1
    )
    queued = replace(config, weight_depth=256, threshold_depth=64, store_words=2048, store_kind=5)
    for name, device, spram in ((BOARD, config, 2), ("ice40-hx8k-b-evn", config, 0), (BOARD, queued, 4)):
        board = find_board(name)
        family = board.part.family
        memories = elaborate(board, device).memories
        assert single_blocks(memories, family) == single_blocks(config_memories(device), family) == spram
        assert total_blocks(memories, family) == config_blocks(device, family)


FAMILIES = {board.part.family.name: board.part.family for board in all_boards().values()}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_depths_fill_their_blocks(family):
    def taken(depth):
        return blocks(replace(memory, depth=depth), family)

    for width, granularity in ((8, 8), (16, 8), (32, 8), (64, 8), (64, 4), (24, 24)):
        memory = Memory("m", 1, width, granularity)
        for count in range(1, 14):
            if depth := deepest(memory, count, family):
                assert taken(depth) <= count < taken(depth + 1)
        for depth in (64, 500, 1025, 3000):
            there = filled(replace(memory, depth=depth), family)
            # What is made of registers gets the fewest blocks that there are.
            assert there >= depth and (taken(there) == taken(depth) or not taken(depth))
            assert taken(there + 1) > taken(there) > 0


def candidates(board, chosen):
    """Return every configuration that a search looks at."""
    found = [
        config
        for array in arrays(board, chosen.values())
        for config in depths(board, array, needs(chosen, array))
    ]
    return [board.config, *(config for config in found if config != board.config)]


@pytest.fixture(scope="module")
def all_judged():
    """Return what all of them reach, each by itself."""
    board, chosen = replace(find_board(BOARD), config=LEAN), networks(*NETWORKS)
    return [judge(board, config, chosen) for config in candidates(board, chosen)]


@pytest.mark.campaign
def test_everything_found_fits_and_is_used_whole(search, all_judged):
    board = find_board(BOARD)
    family = board.part.family
    assert search.done == search.total > 50 and search.weighed == search.candidates == len(all_judged)
    for choice in all_judged:
        assert choice.blocks == config_blocks(choice.config, family) <= board.part.bram
        assert choice.cells <= cells_limit(board) <= board.part.lut4
        deeper = replace(choice.config, weight_depth=choice.config.weight_depth + 1)
        assert config_blocks(deeper, family) > choice.blocks


@pytest.mark.campaign
def test_the_proposal_is_the_best_by_the_rule(search, all_judged):
    best = search.best
    assert best.resident == len(NETWORKS) and best is search.frontier[0]
    # By hand: nothing else in one pass is faster by more than a step and what rounding makes of one.
    assert all(one.images_per_s <= best.images_per_s * 1.05**2 for one in all_judged if one.resident == 2)
    assert judge(find_board(BOARD), find_board(BOARD).config, search.networks).key < best.key
    device = replace(find_device(BOARD), config=best.config)
    for name in NETWORKS:
        said = plan(zoo.load(name), BOARD, device)
        assert said["runs"] == "resident" and said["images_per_s"] == best.rates[name].images_per_s
    for place, one in enumerate(search.frontier):
        for better in search.frontier[:place]:
            assert one.cells < 0.96 * better.cells or one.images_per_s > better.images_per_s


def frontier(judged):
    """Return the frontier of configurations each of which is known exactly."""
    kept = []
    for choice in sorted(judged, key=lambda choice: choice.key, reverse=True):
        if choice.rates and not any(one.beats(choice) for one in kept):
            kept.append(choice)
    return kept


@pytest.mark.campaign
def test_what_is_ruled_out_is_not_on_the_frontier(search, all_judged):
    """The search looks at a few exactly, and finds what looking at all of them exactly finds."""
    assert [one.key for one in search.frontier] == [one.key for one in frontier(all_judged)]
    assert len(search.frontier) <= search.judged < len(all_judged) / 5


@pytest.fixture
def tiny_space(monkeypatch):
    """Leave four arrays to the search: with and without passes, and one too large for the part."""
    few = [Geometry(1, 4, 16), Geometry(2, 4, 16), Geometry(2, 8, 32), Geometry(8, 64, 64)]
    monkeypatch.setattr(space, "_geometries", lambda: few)
    monkeypatch.setattr(space, "_SHARES", (4,))


@pytest.mark.parametrize("images", some([20, 1000], 0))
def test_bounds_are_bounds(images, tiny_space, monkeypatch):
    """In one pass, in passes, not at all; of a tiny space, each configuration judged by itself."""
    board = replace(find_board(BOARD), config=LEAN)
    chosen = networks("mnist-tfc", "mnist-sfc", "fashion")
    search = Search(board, chosen, images)
    seen = dict[DeviceConfig, list[Choice]]()
    add = search._add

    def noted(choice, *more):
        seen.setdefault(choice.config, []).append(choice)
        add(choice, *more)

    monkeypatch.setattr(search, "_add", noted)
    search.run()
    judged = [judge(board, config, chosen, images) for config in candidates(board, chosen)]
    counts = {count for one in judged for count in one.passes.values()}
    assert len(judged) == len(seen) > 8 and counts > {0, 1}
    for exact in judged:
        steps = [*seen[exact.config], exact]
        for before, after in pairwise(steps):
            assert before.key >= after.key
            for name in chosen:
                assert bool(before.passes[name]) >= bool(after.passes[name])
                if rate := after.rates.get(name):
                    assert before.rates[name].images_per_s >= rate.images_per_s
                    assert before.rates[name].device_images_per_s >= rate.device_images_per_s * (1 - 1e-9)
    assert [one.key for one in search.frontier] == [one.key for one in frontier(judged)]


@pytest.mark.campaign
def test_memories_of_one_port_leave_block_ram_to_weights(all_judged):
    """Where the part has blocks of one port: they are counted, and no more of them taken than there are."""
    board = find_board(BOARD)
    found = [choice for choice in all_judged if choice.config.act_ports == 1]
    assert found and all(0 < choice.single_blocks <= board.part.spram for choice in found)
    assert not any(choice.single_blocks for choice in all_judged if choice.config.act_ports == 2)
    for choice in found:
        own = replace(choice.config, act_ports=2, act_depth=256)
        assert choice.blocks < config_blocks(own, board.part.family)


@pytest.mark.parametrize("name", zoo.names())
def test_what_networks_need_depends_on_what_is_said(name):
    """Arrays that are alike for a network need the same, so that one of them is compiled for."""
    network, found = zoo.load(name), dict[Any, set[Need]]()
    for array in arrays(find_board("ulx3s-25f"), [zoo.load("fashion")])[::40]:
        for need in needs({name: network}, array).values():
            found.setdefault(alike(network, array), set()).add(need)
    assert found and all(len(alternatives) == 1 for alternatives in found.values())


def test_whole_windows_are_among_the_candidates():
    for name in (BOARD, "tang-nano-9k"):
        board = find_board(name)
        found = arrays(board, [zoo.load("fashion")])
        kinds = {(config.convolution, config.whole_windows, config.act_ports) for config in found}
        with_lines = {(1, 0, 2), (1, 1, 2)} | ({(1, 1, 1)} if board.part.spram else set())
        assert with_lines <= kinds and (1, 0, 1) not in kinds
        assert all(config.line_bytes for config in found if config.convolution)
        # Where the network with a line buffer is left out, dense ones go on without.
        dense = networks("mnist-tfc")
        (array, *_) = (config for config in found if config.whole_windows)
        for config in depths(board, array, needs(dense, array)):
            assert config.line_bytes == config.whole_windows == 0


def test_images_of_a_call_share_the_weights():
    board, chosen = find_board("tang-nano-9k"), networks("mnist-sfc")
    config = replace(board.config, store_words=0, store_kind=0)
    few, many = (judge(board, config, chosen, images) for images in (4, 1000))
    assert few.passes["mnist-sfc"] == many.passes["mnist-sfc"] > 1
    assert many.images_per_s > 4 * few.images_per_s
    device = replace(find_device("tang-nano-9k"), config=config)
    said = plan(chosen["mnist-sfc"], "tang-nano-9k", device, 4)
    assert few.images_per_s == pytest.approx(said["images_per_s"])


@pytest.mark.campaign
def test_blocks_of_the_proposal_are_those_of_its_design(search):
    assert elaborate(find_board(BOARD), search.best.config).bram == search.best.blocks


def test_the_command(capsys, tiny_space):
    code, out, err = run(capsys, "boards", "--choose", BOARD, "--networks", "digits", "--json")
    value = json.loads(out)
    assert code == 0 and value["networks"] == ["digits"] and value["call_images"] == 1000
    assert all(": arrays: " in line or ": configurations: " in line for line in err.splitlines())
    assert value["proposed"] == value["frontier"][0] and value["now"]["resident"] == 0
    assert value["proposed"]["networks"]["digits"]["passes"] == 1
    code, out, _ = run(capsys, "boards", "--choose", BOARD, "--networks", "digits")
    command = next(line for line in out.splitlines() if line.startswith("proposed: "))
    arguments = build().parse_args(command.split()[2:])
    found = build_config(find_board(BOARD).config, arguments)
    assert asdict(found) == value["proposed"]["config"]
    assert "digits: does not run -> " in out and "rule: most networks" in out
    for wrong, said in (
        (["--choose", "icebraeker"], 'did you mean "icebreaker"'),
        (["--choose", BOARD, "--networks", "digit"], 'did you mean "digits"'),
        (["--choose", BOARD, "--networks", ","], "names none"),
        (["--networks", "digits"], "--choose"),
        (["--images", "3"], "--choose"),
    ):
        code, out, err = run(capsys, "boards", *wrong)
        assert (code, out) == (2, "") and said in err


def test_a_search_without_result_says_why(capsys):
    code, out, _ = run(capsys, "boards", "--choose", "icestick", "--networks", "digits")
    assert code == 1 and "none of them runs digits" in out
    assert "logic cells of 1,280" in out and "memory blocks of 16" in out
    code, out, _ = run(capsys, "boards", "--choose", "icestick", "--networks", "digits", "--json")
    assert code == 1 and json.loads(out)["proposed"] is None


def test_ctrl_c_prints_what_is_found(capsys, monkeypatch):
    def interrupted(self, *progress, any_=False):
        start(self, any_=True)
        raise KeyboardInterrupt

    start = Search.run
    monkeypatch.setattr(Search, "run", interrupted)
    code, out, err = run(capsys, "boards", "--choose", BOARD, "--networks", "mnist-tfc", "--json")
    value = json.loads(out)
    assert code == 130 and "interrupted" in err
    assert value["proposed"] and value["arrays"]["searched"] < value["arrays"]["all"]


def test_build_for_a_network_is_said_before_synthesis(capsys):
    config = for_network(find_board(BOARD), "digits", Console())
    assert judge(find_board(BOARD), config, networks("digits")).resident == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line.startswith(f"icebreaker, for digits: {config.geometry}, weight_depth={config.weight_depth}")
    assert "one pass" in line and "memory blocks" in line
    other = Geometry(1, 4, 16)
    small = for_network(find_board(BOARD), "digits", Console(), other)
    assert small.geometry == other != config.geometry
    assert judge(find_board(BOARD), small, networks("digits")).resident == 1
    with pytest.raises(UsageError, match="with an array of 8x64x128 runs digits"):
        for_network(find_board(BOARD), "digits", Console(), Geometry(8, 64, 128))


@pytest.mark.parametrize(
    ("board", "most"),
    some(
        [("icebreaker", 6.52), ("ice40-hx8k-b-evn", 4.85), ("tang-nano-9k", 6.16), ("tang-nano-20k", 5.36)],
        0,
        many=True,
    ),
)
def test_one_network_takes_no_wider_sums_and_the_largest_array(board, most):
    """Logic cells per multiply-accumulate, as estimated: of the dense arrays before there was convolution."""
    found = Search(find_board(board), networks("mnist-tfc"))
    found.run()
    assert found.best is not None
    assert found.best.config.acc_width == 10
    assert found.best.cells / found.best.config.geometry.peak <= most


def test_build_for_a_network_that_no_configuration_runs(monkeypatch):
    chosen = {name: find_board(name) for name in ("icestick", "tang-nano-9k")}
    monkeypatch.setattr("xnorcore_boards.board.all_boards", lambda: chosen)
    said = r"no configuration of icestick runs digits: the least .*; boards that could: tang-nano-9k$"
    with pytest.raises(BuildError, match=said):
        for_network(chosen["icestick"], "digits", Console())


def test_for_takes_no_sizes(capsys):
    code, _, err = run(capsys, "build", BOARD, "--for", "digits", "--set", "act_depth=512")
    assert code == 2 and "--for chooses the memories; leave --set out" in err
    code, _, err = run(capsys, "build", "sim", "--for", "digits")
    assert code == 2 and "--for" in err
