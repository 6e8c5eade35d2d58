"""Results and classes in the page are those of the driver, for any map and any affine."""

from __future__ import annotations

import numpy as np
import pytest

from xnorcore.isa.device import DeviceConfig, Geometry
from xnorcore.isa.results import Values
from xnorcore.model.classes import argmax_affine, highest_bit
from xnorcore_hw.web.bundle import result_values

from .node import run

GEOMETRIES = [Geometry(1, 32, 32), Geometry(2, 8, 32), Geometry(1, 64, 16), Geometry(1, 12, 24)]


def maps(rng: np.random.Generator, config: DeviceConfig) -> list[Values]:
    """Scores, bits one behind the other, and bits in lanes of their own."""
    g, found = config.geometry, []
    for outputs in (1, 7, g.columns, 2 * g.columns + 3):
        tiles = -(-outputs // g.columns)
        offset = rng.integers(-900, 900, outputs)
        for height, width, slices in ((1, 1, 9), (2, 3, 5)):
            pitch = tiles * slices * g.words_per_tile
            found.append(Values(height, width, pitch, outputs, slices, 2, offset))
        words = -(-outputs // g.width)
        found.append(Values(1, 1, words, outputs, 0, 1, offset))
        if outputs < g.width:
            for side in (1, 2):
                lanes = np.sort(rng.choice(3 * g.width, outputs, replace=False)).astype(np.int64)
                found.append(Values(side, side, 3, outputs, 0, 1, offset, lanes))
    return found


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_results(geometry, tmp_path):
    rng, config = np.random.default_rng(3), DeviceConfig(geometry)
    cases, expected = [], []
    for values in maps(rng, config):
        raw = rng.integers(0, 256, values.words(config) * values.word_bytes(config), np.uint8).tobytes()
        cases.append({"values": result_values(values, config), "bytes": len(raw), "raw": list(raw)})
        expected.append(values.decode(raw, 1, config)[0].tolist())
    device = {"columns": geometry.columns, "width": geometry.width}
    script = """done(given.cases.map(({ values, bytes, raw }) =>
      network.decodeResult({ device: given.device, output: { values, bytes } }, Uint8Array.from(raw))));"""
    assert run(script, tmp_path, cases=cases, device=device) == expected


def test_classes(tmp_path):
    """Ties, values that float64 cannot tell apart, the smallest and the largest doubles."""
    rng = np.random.default_rng(4)
    one = np.nextafter(1.0, 2.0)
    affine = [
        (None, None),
        (np.array([1.0, one, 1.0]), np.zeros(3)),
        (np.array([0.1, 0.2, 0.3]), np.array([0.2, 0.1, 0.0])),
        (np.array([5e-324, 1e-323, 0.0]), np.array([0.0, 0.0, 5e-324])),
        (np.array([1e308, -1e308, 2.0]), np.array([-1e308, 1e308, 0.5])),
        (rng.normal(size=3), rng.normal(size=3)),
    ]
    scores = np.vstack([rng.integers(-4, 5, (60, 3)), [[1, 1, 1], [3, 3, -3], [2**24, 2**24, 2**24]]])
    bits = rng.integers(0, 2, (20, 3)) * (rng.random((20, 1)) < 0.8)
    cases = [
        {
            "kind": "scores",
            "scale": None if scale is None else scale.tolist(),
            "offset": None if offset is None else offset.tolist(),
        }
        for scale, offset in affine
    ]
    script = """
    const choose = (output, rows) => rows.map((row) =>
      network.classify({ output: { classes: ["a", "b", "c"], ...output } }, row));
    const scores = given.cases.map((output) => choose(output, given.scores));
    done([scores, choose({ kind: "bits" }, given.bits)]);"""
    found = run(script, tmp_path, cases=cases, scores=scores.tolist(), bits=bits.tolist())
    assert found[0] == [argmax_affine(scores, scale, offset).tolist() for scale, offset in affine]
    assert found[1] == highest_bit(bits).tolist()
