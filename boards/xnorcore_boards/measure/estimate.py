"""Logic cells that a configuration takes, from a linear model fitted to synthesized configurations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xnorcore.files.userfile import write_file
from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.stores import FLASHES

from .memories import HELD_COST, LUT_MEMORY_COST

FEATURES = (
    "constant", "convolution", "line_bytes", "counters", "array", "accumulators", "columns", "thresholds",
    "words", "cutters", "whole_windows", "one_port", "distributed", "weights", "store", "deep_weights",
    "deep_maps", "flash", "codes", "code_bits", "row_sums", "lanes", "values", "kept",
)  # fmt: skip
PRIOR = np.array((
    1500, 250, 600, 250, 2.0, 1.0, 15, 15, 3, 0.6, 100, 50, 1, 0.3, 300, 1, 0.5, 800, 140, 11, 270, 350, 250,
    550,
))  # fmt: skip
"""Weights of `features` where too few configurations are measured to tell."""
_HOLD = 0.02
_BLOCK_COST = 128
"""Of a block, as Yosys has it for ECP5 and Gowin."""
_ERROR = 1.1
"""Of the estimate; what may just fit is left to the tools."""

__all__ = ["AREA", "config_of", "estimate_area", "features", "may_fit", "write_area"]

AREA = Path(__file__).with_name("area.json")
"""Synthesized configurations and their logic cells by family; `xnorcore boards --fit` measures them."""


def features(config: DeviceConfig) -> NDArray[np.float64]:
    """Return what the logic cells of a configuration are linear in, in the order of `FEATURES`.

    A constant; convolution; the line buffer with its readers; counters; for the array its bits, its
    accumulators' bits, its columns, threshold memories, and the bits of its rows' words; rotators that let
    operands start at any bit; what makes whole windows instead; what arbitrates memories of one port;
    distributed memories of start values, as families with such make them; the bits of the columns' words; a
    store; these bits for each part of a buffer behind the first, which multiplexers choose from where the
    words are no power of two; the bits of the rows' words for each 512 words of a map behind the first; what
    a store in flash takes more than another; codes, and their bits in all elements; sums of rows; lanes of
    a results unit in all rows, and those with values in place; a flash beside the store.
    """
    g = config.geometry
    word_bits = g.rows * g.width
    return np.array(
        [
            1.0,
            config.convolution,
            1.0 if config.line_bytes else 0.0,
            config.counters,
            g.peak,
            g.rows * g.columns * config.acc_width,
            g.columns,
            g.columns / config.threshold_share,
            word_bits,
            word_bits * config.offset_bits,
            config.whole_windows,
            1.0 if config.act_ports == 1 else 0.0,
            _distributed(config),
            g.columns * g.width,
            1.0 if config.store_words else 0.0,
            g.columns * g.width * (_parts(config.weight_depth) - 1),
            word_bits * max(config.act_depth / 512 - 1, 0) if config.act_ports == 2 else 0.0,
            1.0 if config.store_kind in FLASHES else 0.0,
            1.0 if config.code_bits > 1 else 0.0,
            g.rows * g.columns * config.code_bits if config.code_bits > 1 else 0.0,
            g.rows * config.row_sums,
            g.rows * config.result_lanes,
            g.rows * config.result_lanes if config.value_depth else 0.0,
            1.0 if config.kept_words else 0.0,
        ]
    )


def _parts(words: int) -> int:
    """Return how many equal memories hold so many words, of 256 or twice as many and so on."""
    blocks = -(-words // 256)
    return blocks // (blocks & -blocks)


def _distributed(config: DeviceConfig) -> float:
    """Return the memory cells of 16 x 4 bits that start values take, if they are too few for a block."""
    words = config.threshold_depth * config.threshold_share
    bits = 8 * -(-config.acc_width // 8)
    cells = -(-words // 16) * bits // 4
    if LUT_MEMORY_COST * cells + HELD_COST * bits * config.convolution >= _BLOCK_COST:
        return 0.0
    return config.geometry.columns / config.threshold_share * cells


def config_of(value: dict[str, Any]) -> DeviceConfig:
    """Return the configuration that ``dataclasses.asdict`` has turned into a dict.

    Fields that there were not yet are what such a device has.
    """
    return DeviceConfig(**{**value, "geometry": Geometry(**value["geometry"])})


def write_area(family: str, points: Sequence[tuple[DeviceConfig, int]]) -> None:
    """Put a family's synthesized configurations into the file that the model is fitted to."""
    area = json.loads(AREA.read_text()) if AREA.exists() else {}
    area[family] = [{"logic_cells": cells, "config": asdict(config)} for config, cells in points]
    write_file(AREA, (json.dumps(dict(sorted(area.items())), indent=1) + "\n").encode())
    coefficients.cache_clear()


@lru_cache
def coefficients(family: str) -> tuple[float, ...]:
    """Return the weights of `features`: the least squares of relative errors, held to `PRIOR` a little."""
    points = json.loads(AREA.read_text()).get(family, [])
    rows = [features(config_of(point["config"])) / point["logic_cells"] for point in points]
    held = np.diag(_HOLD / PRIOR)
    matrix = np.concatenate([np.stack(rows), held]) if rows else held
    wanted = np.concatenate([np.ones(len(rows)), np.full(len(PRIOR), _HOLD)])
    return tuple(np.linalg.lstsq(matrix, wanted, rcond=None)[0])


def estimate_area(family: str, config: DeviceConfig) -> int:
    """Return the logic cells that a configuration takes in a family."""
    return max(0, round(float(features(config) @ np.array(coefficients(family)))))


def may_fit(family: str, config: DeviceConfig, available: int) -> bool:
    """Return whether a configuration may fit, by the estimate, into so many logic cells."""
    return estimate_area(family, config) <= _ERROR * available
