"""Devices whose windows of images have words of their own: what is refused, and what a network lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from xnorcore import zoo
from xnorcore.compiler.compile import compile_network
from xnorcore.compiler.obstacles import obstacles
from xnorcore.errors import CompileError
from xnorcore.isa.check import validate_descriptors, validate_program
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.layout import HEADER, WINDOW_HEADER, pack_descriptor
from xnorcore.isa.protocol import Space
from xnorcore.model.layers import Conv2d, Dense, InputSpec
from xnorcore.model.network import Network

CONFIG = DeviceConfig(Geometry(1, 8, 8), 16, 256, 64, 512, 128, line_bytes=64, whole_windows=1)
NETWORK = Network(
    "net",
    InputSpec((6, 5, 1), 2),
    [
        Conv2d(np.ones((4, 3, 3, 1), np.int8), np.zeros(4), padding=(1, 1, 1, 1)),
        Dense(np.ones((2, 120), np.int8)),
    ],
)


def test_what_is_wrong_in_a_header_is_named() -> None:
    words = compile_network(NETWORK, CONFIG).contents(Space.PROGRAM, 0)
    good = WINDOW_HEADER.unpack(words[: HEADER.words])
    assert validate_program(words, CONFIG)
    for change, message in (
        ({"row_values": 6}, "rows of 6 values, 0 of padding (at least 1) between two"),
        ({"run_last": 7, "row_step": 0xFFFF}, "do not hold windows of 8 across"),
        ({"kernel_last": 7, "row_step": 7}, "line buffer's used part needs 72 bytes (line_bytes)"),
        ({"across_last": 63}, "in_base0: an image words 0 to"),
    ):
        with pytest.raises(CompileError) as caught:
            validate_program([*WINDOW_HEADER.pack(good | change), *words[HEADER.words :]], CONFIG)
        assert message in str(caught.value)


@pytest.mark.parametrize("lanes", [0, 1, 6, 7, 8])
def test_only_the_last_lane_can_be_left_out(lanes: int) -> None:
    layer = {"run_last": 4, "out_base": 20, "end": 1, "lanes": lanes}
    words = [0] * HEADER.words + pack_descriptor(layer)
    if lanes in (0, 7):
        assert validate_descriptors(words, CONFIG, HEADER.words)
        return
    with pytest.raises(CompileError, match=f"uses {lanes} lanes, but with whole_windows only the last"):
        validate_descriptors(words, CONFIG, HEADER.words)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"line_bytes": 0}, ["line_bytes"]),
        ({"line_bytes": 0, "convolution": 0}, ["convolution", "line_bytes"]),
        ({"line_bytes": 0, "act_ports": 1}, ["line_bytes", "whole_windows"]),
        ({"geometry": Geometry(1, 24, 24)}, ["whole_windows"]),
        ({"geometry": Geometry(1, 24, 24), "line_bytes": 0}, ["line_bytes", "whole_windows"]),
        ({"whole_windows": 1, "line_bytes": 1}, ["line_bytes"]),
        ({"whole_windows": 1}, []),
    ],
)
def test_what_lacks_is_all_and_suffices(changes: dict, fields: list[str]) -> None:
    config = replace(CONFIG, **{"whole_windows": 0, **changes})
    lacking = obstacles(NETWORK, config)
    assert [lack.field for lack in lacking] == fields
    assert all(lack.reason for lack in lacking)
    enough = replace(config, **{lack.field: lack.needed for lack in lacking})
    assert compile_network(NETWORK, enough).config == enough


def test_a_dense_network_lacks_no_windows() -> None:
    dense = Network("dense", InputSpec((8,)), [Dense(np.ones((2, 8), np.int8))])
    for changes in ({"act_ports": 1}, {"geometry": Geometry(1, 24, 24)}, {"convolution": 0}):
        assert not obstacles(dense, replace(CONFIG, whole_windows=0, **{"line_bytes": 0, **changes}))


def test_what_a_device_with_aligned_columns_lacks() -> None:
    """It has no windows of their own, and needs none."""
    device = DeviceConfig(Geometry(1, 16, 64), act_depth=64, line_bytes=64, column_align=4)
    lacking = obstacles(zoo.load("fashion"), device)
    assert {one.field for one in lacking} == {"act_depth", "line_bytes"}
    assert compile_network(zoo.load("fashion"), replace(device, **{one.field: one.needed for one in lacking}))
