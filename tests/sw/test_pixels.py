"""How pixels become inputs, by a network's own rule and without one."""

from typing import Any

import numpy as np
import pytest

from xnorcore.errors import FileFormatError, InputError
from xnorcore.model import pixels
from xnorcore.model.network import Dense, InputSpec, Network


def network(bits: int, entry: Any = None) -> Network:
    metadata = {} if entry is None else {"pixels": entry}
    return Network("net", InputSpec((4,), bits), [Dense(np.ones((2, 4), int))], metadata=metadata)


def test_without_a_rule() -> None:
    values, words = pixels.rule(network(8))
    assert values.tolist() == list(range(256)) and words == "pixels as they are"
    assert pixels.rule(network(5), 16)[0][:32].tolist() == list(range(32))
    values, words = pixels.rule(network(1))
    assert values.tolist() == [0] * 128 + [1] * 128 and words == "pixel >= 128"
    assert pixels.rule(network(1), 16)[1] == "pixel >= 9"
    # Bits stay bits.
    assert pixels.rule(network(1), 1)[0][:2].tolist() == [0, 1]
    with pytest.raises(InputError, match="pixels reach 255, but network 'net' takes 5-bit values, 0 to 31"):
        pixels.rule(network(5))


def test_the_networks_own_rule() -> None:
    values, words = pixels.rule(network(1, pixels.threshold(100)), 255)
    assert values.sum() == 156 and values[100] and not values[99] and words == "pixel >= 100"
    table = np.arange(256) // 16
    assert pixels.rule(network(4, pixels.table(table)))[0].tolist() == table.tolist()


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
