"""Random device configurations, from rich ones to those of the smallest boards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..isa.device import DeviceConfig, Geometry
from ..isa.stores import FLASHES, StoreKind

__all__ = ["random_config", "random_configs"]

_WIDTHS = (8, 8, 16, 16, 24, 32, 32, 40, 64)
_STORES = (0, 0, 0, 1 << 12, 1 << 16)
_KINDS = tuple(StoreKind)
_KEPT = (0, 0, 1 << 12, 1 << 14)
"""Words of a flash beside the store; none, in half of the devices."""
_FACTORS = (0, 0, 64, 128, 256, 512)
_PEAK = 4096
"""Most multiply-accumulates per cycle: larger arrays take long to build."""


def random_config(rng: np.random.Generator, geometry: Geometry | None = None) -> DeviceConfig:
    """Return a legal configuration.

    Parameters
    ----------
    rng : Generator
    geometry : Geometry, optional
        The array, if only the memories are to be random.

    Returns
    -------
    DeviceConfig
        Small memories are more frequent than large ones.
    """
    g = geometry or _geometry(rng)
    power = not g.width & (g.width - 1)
    convolution = int(rng.random() < (0.85 if power else 0.5))
    share = 1
    group = int(rng.choice([4, 8, 12, 16, 32, g.columns]))
    if rng.random() < 0.4:
        most = min(g.width.bit_length() - 1, 8)
        shares = [n for n in (2, 4, 8) if n <= most and g.columns % n == 0 and group % n == 0]
        share = int(rng.choice(shares)) if shares else 1
    config = DeviceConfig(
        g,
        acc_width=int(rng.integers(14, 25)),
        weight_depth=int(rng.choice([64, 256, 1024, 4096])),
        threshold_depth=int(rng.choice([16, 64, 256])),
        act_depth=int(rng.choice([512, 1024, 3000, 4096])),
        program_depth=int(rng.choice([100, 128, 256])),
        fifo_bytes=int(rng.choice([512, 1024, 4096])),
        column_group=group,
        line_bytes=int(rng.choice([256, 1000, 4096])) if convolution else 0,
        counters=int(rng.random() < 0.6),
        convolution=convolution,
        threshold_share=share,
        program_halves=int(rng.random() < 0.4),
    )
    # Drawn last: devices without these are those that they always were.
    config = replace(config, **_layout(rng, config))
    words = _STORES[rng.integers(len(_STORES))]
    config = replace(config, store_words=words, store_kind=int(rng.choice(_KINDS)) if words else 0)
    config = _few_bits(rng, config)
    packs = convolution and not words and g.width % 32 == 0 and g.columns <= g.width
    config = replace(config, packed_rows=int(rng.random() < 0.8)) if packs else config
    kept = int(rng.choice(_KEPT))
    return config if config.store_kind in FLASHES else replace(config, kept_words=kept)


def _few_bits(rng: np.random.Generator, config: DeviceConfig) -> DeviceConfig:
    """Return a device with values of several bits, in most cases."""
    g, group, convolution = config.geometry, config.column_group, config.convolution
    bits = int(rng.choice([1, 1, 2, 3]))
    if config.threshold_share > 1:
        return config
    sums = bits > 1 and convolution and rng.random() < 0.5
    config = replace(config, code_bits=bits, row_sums=int(sums))
    lanes = [n for n in (1, 2, 4, 8, 16) if g.columns % n == 0 and group % n == 0]
    if bits == 1 or rng.random() < 0.3:
        return config
    config = replace(config, code_bits=int(rng.integers(2, 9)), result_lanes=int(rng.choice(lanes)))
    if not convolution:
        return config
    if rng.random() >= 0.2:
        config = replace(config, value_depth=1 << int(rng.integers(7, 13)))
    return replace(config, scale_depth=int(rng.choice(_FACTORS)))


def _layout(rng: np.random.Generator, config: DeviceConfig) -> dict[str, int]:
    """Return how images lie in memory, and its ports."""
    whole = bool(config.line_bytes and rng.random() < 0.4)
    aligned = config.offset_bits > 3 and not whole
    single = rng.random() < 0.5 and (whole or not config.line_bytes)
    return {
        "whole_windows": int(whole),
        "column_align": int(rng.choice([1, 1, 2, 4, 8])) if aligned else 1,
        "act_ports": 1 if single else 2,
    }


def random_configs(seed: int, count: int, geometry: Geometry | None = None) -> list[DeviceConfig]:
    """Return the devices of a run: the same for the same seed, count and geometry."""
    return [random_config(np.random.default_rng([seed, 2, index]), geometry) for index in range(count)]


def _geometry(rng: np.random.Generator) -> Geometry:
    while True:
        rows, width = int(rng.choice([1, 1, 2, 3, 4, 8])), int(rng.choice(_WIDTHS))
        columns = int(rng.choice([4, 8, 12, 16, 20, 24, 32, 40, 64]))
        if rows * columns * width <= _PEAK and (columns % width == 0 or width % columns == 0):
            return Geometry(rows, columns, width)
