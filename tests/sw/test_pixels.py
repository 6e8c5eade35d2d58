"""How pixels become inputs, by a network's own rule and without one."""

import base64
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xnorcore.errors import FileFormatError, InputError
from xnorcore.files import xnorfile
from xnorcore.model import pixels
from xnorcore.model.network import Dense, InputSpec, Network


def network(bits: int, entry: Any = None) -> Network:
    metadata = {} if entry is None else {"pixels": entry}
    return Network("net", InputSpec((4,), bits), [Dense(np.ones((2, 4), int))], metadata=metadata)


def test_without_a_rule() -> None:
    rule = pixels.rule(network(8))
    assert rule.tables.tolist() == [list(range(256))] and rule.text == "pixels as they are"
    assert pixels.rule(network(5), 16).tables[0, :32].tolist() == list(range(32))
    rule = pixels.rule(network(1))
    assert rule.tables.tolist() == [[0] * 128 + [1] * 128] and rule.text == "pixel >= 128"
    assert pixels.rule(network(1), 16).text == "pixel >= 9"
    # Bits stay bits.
    assert pixels.rule(network(1), 1).tables[0, :2].tolist() == [0, 1]
    with pytest.raises(InputError, match="pixels reach 255, but network 'net' takes 5-bit values, 0 to 31"):
        pixels.rule(network(5))


def test_the_networks_own_rule() -> None:
    rule = pixels.rule(network(1, pixels.threshold(100)), 255)
    (values,) = rule.tables
    assert values.sum() == 156 and values[100] and not values[99] and rule.text == "pixel >= 100"
    table = np.arange(256) // 16
    assert pixels.rule(network(4, pixels.table(table))).tables.tolist() == [table.tolist()]


def mapped(bits: int, entry: Any = None) -> Network:
    """A network of 2 x 3 images with 2 channels."""
    return Network(
        "net", InputSpec((2, 3, 2), bits), [Dense(np.ones((2, 12), int))], metadata={"pixels": entry}
    )


def random_tables(rng: np.random.Generator, count: int, maximum: int) -> NDArray[np.uint8]:
    return rng.integers(0, maximum + 1, (count, 256), np.uint8)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("of", ["image", "channel", "value"])
def test_rules_of_channels_and_places(bits: int, of: str) -> None:
    rng = np.random.default_rng(bits)
    images = rng.integers(0, 256, (5, 2, 3, 2), np.uint8)
    tables = random_tables(rng, {"image": 1, "channel": 2, "value": 12}[of], (1 << bits) - 1)
    every = np.resize(tables, (12, 256))
    entry = pixels.entry(every, InputSpec((2, 3, 2), bits))
    assert entry.get("of", "image") == of
    net = xnorfile.loads(xnorfile.dumps(mapped(bits, entry)))
    rule = pixels.rule(net)
    assert np.array_equal(rule.tables, tables)
    values = rule.values(images)
    for n, y, x, c in np.ndindex(images.shape):
        place = (y * 3 + x) * 2 + c
        assert values[n, place] == every[place, images[n, y, x, c]]


def test_entries_are_the_smallest() -> None:
    spec = InputSpec((4,), 1)
    rising = (np.arange(256) >= 7).astype(np.uint8)
    assert pixels.entry(np.tile(rising, (4, 1)), spec) == {"threshold": 7}
    assert pixels.entry(np.tile(1 - rising, (4, 1)), spec) == pixels.table(1 - rising)
    # What cannot be kept is said.
    size = 1000
    large = random_tables(np.random.default_rng(0), size, 255)
    entry = pixels.entry(large, InputSpec((size,), 8))
    net = Network("net", InputSpec((size,), 8), [Dense(np.ones((1, size), int))], metadata={"pixels": entry})
    with pytest.raises(InputError, match="no rule for pixels: a rule for each of 1000 values takes"):
        pixels.rule(net)


def test_a_network_that_refuses_pixels() -> None:
    with pytest.raises(InputError, match="'net' has no rule for pixels: they are words; make its input val"):
        pixels.rule(network(8, pixels.none("they are words")))
    assert len(pixels.none("x\n" * 400)["none"]) == pixels.MAX_REASON


def test_packed_tables_are_not_unpacked_beyond_their_size() -> None:
    bomb = base64.b64encode(zlib.compress(bytes(64 << 20), 9)).decode()
    assert len(bomb) < pixels.MAX_TEXT
    tracemalloc.start()
    try:
        with pytest.raises(FileFormatError, match="packed tables"):
            pixels.rule(mapped(8, {"of": "value", "tables": bomb}))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


GOOD = pixels.pack(np.tile(np.arange(256) >= 128, (2, 1)).astype(np.uint8))


@pytest.mark.parametrize(
    "entry",
    [
        {"of": "value", "tables": GOOD},
        {"of": "place", "tables": GOOD},
        {"of": ["channel"], "tables": GOOD},
        {"of": "channel", "tables": GOOD, "more": 1},
        {"of": "channel", "tables": GOOD[:-8]},
        {"of": "channel", "tables": GOOD + GOOD},
        {"of": "channel", "tables": GOOD.replace("A", "?")},
        {"of": "channel", "tables": "é" * 8},
        {"of": "channel", "tables": [1] * 512},
        {"of": "channel", "tables": pixels.pack(np.full((2, 256), 2, np.uint8))},
        {"of": "channel", "tables": "A" * (pixels.MAX_TEXT + 1)},
        {"of": "channel"},
        {"none": ""},
        {"none": 5},
        {"none": "two\nlines"},
        {"none": "x" * (pixels.MAX_REASON + 1)},
    ],
)
def test_damaged_rules_of_channels_are_refused(entry: Any) -> None:
    assert pixels.rule(mapped(1, {"of": "channel", "tables": GOOD})).tables.shape == (2, 256)
    with pytest.raises(FileFormatError, match="network 'net': metadata 'pixels' must be"):
        pixels.rule(mapped(1, entry))


@pytest.mark.parametrize(
    ("bits", "entry"),
    [
        (1, {"threshold": 0}),
        (1, {"threshold": 256}),
        (1, {"threshold": 1.5}),
        (1, {"threshold": True}),
        (1, {"threshold": 3, "more": 1}),
        (2, {"threshold": 3}),
        (1, {"table": [0, 1]}),
        (1, {"table": [2] * 256}),
        (8, {"table": [-1] * 256}),
        (8, {"table": "x" * 256}),
        (8, {}),
        (8, [1]),
        (8, "identity"),
    ],
)
def test_damaged_rules_are_refused(bits: int, entry: Any) -> None:
    with pytest.raises(FileFormatError, match="network 'net': metadata 'pixels' must be"):
        pixels.rule(network(bits, entry))
