"""The estimate of logic cells: what was built is within 5 % of it, and it knows what a device leaves out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from xnorcore.boards import board_devices
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import FLASHES, StoreKind
from xnorcore_boards.board import find_board
from xnorcore_boards.measure.estimate import AREA, FEATURES, PRIOR, config_of, estimate_area, features
from xnorcore_boards.measure.inventory import config_blocks
from xnorcore_boards.measure.recorded import measured, read_records
from xnorcore_boards.measure.size import check_size
from xnorcore_boards.measure.sweep import FAMILIES, points

CONVOLUTION = DeviceConfig(
    Geometry(1, 8, 32), 12, 256, 64, 512, 128, 512,
    column_group=8, line_bytes=512, counters=0, threshold_share=4, program_halves=1,
)  # fmt: skip


@pytest.mark.parametrize("name", read_records())
def test_what_was_built_is_as_estimated(name: str):
    """Cells within 5 %, memory blocks exactly; and `plan` has all of it."""
    record, board = read_records()[name], find_board(name)
    family, config = board.part.family, config_of(record["config"])
    assert estimate_area(family.name, config) == pytest.approx(record["logic_cells"], rel=0.05)
    assert config_blocks(config, family) == record["bram"]
    if measured(name, board.config, board.true_hz):
        size = board_devices()[name].size
        assert size is not None and size.logic_cells == estimate_area(family.name, config)
        assert (size.logic_cells_built, size.fmax_mhz) == (record["logic_cells"], record["fmax_mhz"])
        assert (size.bram, size.bram_available) == (record["bram"], record["bram_available"])
        assert size.logic_cells_available == record["lut4_available"]


@pytest.mark.parametrize("family", json.loads(AREA.read_text()))
def test_what_was_synthesized_is_as_estimated(family: str):
    """Within 8.5 %, as docs/boards.md says; with a store in flash within 5 %."""
    for point in json.loads(AREA.read_text())[family]:
        config = config_of(point["config"])
        most = 0.05 if config.store_kind in FLASHES else 0.085
        assert estimate_area(family, config) == pytest.approx(point["logic_cells"], rel=most), config


def test_a_flash_beside_convolution_is_not_refused():
    """4,981 logic cells of 5,280 were packed."""
    board = find_board("icebreaker")
    array = replace(board.config, geometry=Geometry(1, 8, 32), weight_depth=256)
    check_size(board, replace(array, store_words=1 << 17, store_kind=StoreKind.FLASH))


@pytest.mark.parametrize("family", FAMILIES)
def test_whole_windows_are_smaller_than_windows_that_are_cut_out(family: str):
    wide = replace(CONVOLUTION, geometry=Geometry(2, 8, 32))
    for config in (CONVOLUTION, wide):
        assert estimate_area(family, replace(config, whole_windows=1)) < estimate_area(family, config)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_synthesized_tells_every_feature(family: str):
    """Each is there, and each missing, somewhere in the sweep, and the boards' own arrays are in it."""
    found = [features(config) for _, config in points(family)]
    for at, name in enumerate(FEATURES):
        values = {float(row[at]) for row in found}
        assert len(values) > 1 or name in (
            "constant",
            "one_port",
            "store",
            "flash",
            "deep_weights",
            "deep_maps",
            "kept",
        ), name
    ports = {config.act_ports for _, config in points(family)}
    assert ports == ({1, 2} if family == "ice40" else {2})
    assert len(FEATURES) == len(PRIOR) == len(found[0])
