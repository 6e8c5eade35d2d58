"""Compares what engines say about every layer, and names the first place where they differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..compiler.pooling import joins
from ..model.layers import Conv2d
from ..model.network import Network
from ..model.values import Shape
from ..reference import fast

__all__ = ["LayerCheck", "Place", "compare", "compare_fast", "layer_name"]

MOST_CHANNELS = 8
"""Most differing channels that are listed."""
_FEW = 5
"""Images that the fast model takes for few."""


@dataclass(frozen=True)
class Place:
    """One value that differs.

    Attributes
    ----------
    image : int
    y, x : int or None
        Position in the layer's map; None for a vector.
    channel : int
        Channel of the map, or element of the vector.
    found, expected : int
        What the engine and the golden model say; bits are 0 and 1.
    """

    image: int
    y: int | None
    x: int | None
    channel: int
    found: int
    expected: int

    def __str__(self) -> str:
        position = "" if self.y is None else f"position (y {self.y}, x {self.x}), "
        return f"image {self.image}, {position}channel {self.channel}: {self.found}, golden {self.expected}"


@dataclass(frozen=True)
class LayerCheck:
    """One layer of one engine against the golden model.

    Attributes
    ----------
    engine : str
    index : int
        Layer of the network.
    name, kind : str
    shape : tuple of int
        Of the layer's result.
    values : int
        Values compared.
    mismatches : int or None
        Values that differ; None if the engine does not show this layer.
    first : Place or None
    channels : tuple of int
        The first `MOST_CHANNELS` channels in which a value differs.
    note : str
        Why the engine does not show this layer, or what the differences have in common.
    """

    engine: str
    index: int
    name: str
    kind: str
    shape: Shape
    values: int
    mismatches: int | None
    first: Place | None = None
    channels: tuple[int, ...] = ()
    note: str = ""

    @property
    def verdict(self) -> str:
        """``equal``, ``DIFFERS`` or ``-``."""
        if self.mismatches is None:
            return "-"
        return "DIFFERS" if self.mismatches else "equal"

    def as_dict(self) -> dict[str, Any]:
        """Return everything in the form of ``--json``."""
        return {**asdict(self), "shape": list(self.shape), "channels": list(self.channels)}

    def __str__(self) -> str:
        label = f"layer {self.index} {self.name!r} ({self.kind})"
        if self.first is None:
            return f"{self.engine}, {label}: {self.verdict}"
        note = f"; {self.note}" if self.note else ""
        return f"{self.engine}, {label}: {self.first}; {self.mismatches:,} of {self.values:,} values{note}"


def layer_name(network: Network, index: int) -> str:
    """Return a layer's own name, or ``layerN``."""
    return network.layers[index].name or f"layer{index}"


def compare(
    network: Network,
    engine: str,
    found: Mapping[int, NDArray[Any] | str],
    golden: Mapping[int, NDArray[Any]],
    *,
    columns: int = 0,
) -> list[LayerCheck]:
    """Compare an engine's layers with those of the golden model.

    Parameters
    ----------
    network : Network
    engine : str
        Name for the report.
    found : mapping of int to array, shape (n, values)
        By layer. Those that the engine does not show are absent, or say why.
    golden : mapping of int to array, shape (n, values)
        By layer, those that are to be compared: flattened (y, x, channel), as `golden.layers` gives them.
    columns : int
        Columns of the array that computed the layers, if one did: to say that one of them is at fault.

    Returns
    -------
    list of LayerCheck
        One for every layer of `golden`, in order.
    """
    checks = []
    for index, expected in golden.items():
        shape = network.shapes[index + 1]
        kind = type(network.layers[index]).__name__.lower()
        head = engine, index, layer_name(network, index), kind, shape
        values = found.get(index)
        if values is None or isinstance(values, str):
            checks.append(LayerCheck(*head, 0, None, note=values or _hidden(network, index)))
            continue
        # An engine that gives another number of values is wrong in all of them.
        if values.shape != expected.shape:
            note = f"gives values of shape {values.shape}, not {expected.shape}"
            checks.append(
                LayerCheck(*head, expected.size, expected.size, Place(0, None, None, 0, 0, 0), note=note)
            )
            continue
        wrong = values != expected
        count = int(np.count_nonzero(wrong))
        if not count:
            checks.append(LayerCheck(*head, values.size, 0))
            continue
        image, place = (int(number) for number in np.argwhere(wrong)[0])
        channel = place % shape[-1]
        y, x = divmod(place // shape[-1], shape[1]) if len(shape) == 3 else (None, None)
        first = Place(image, y, x, channel, int(values[image, place]), int(expected[image, place]))
        channels = np.unique(np.argwhere(wrong)[:, 1] % shape[-1])
        note = _common(channels, columns, shape[-1])
        listed = tuple(channels[:MOST_CHANNELS].tolist())
        checks.append(LayerCheck(*head, values.size, count, first, listed, note))
    return checks


def compare_fast(
    network: Network, images: NDArray[Any], expected: Sequence[NDArray[Any]]
) -> list[LayerCheck]:
    """Compare every layer of the fast model with `expected`, and what it gives for a few images alone.

    Few images have loops of their own, which keep no hidden layer.
    """
    found = dict(enumerate(fast.layers(network, images)))
    alone = [fast.run(network, some) for some in (images[:_FEW], images[_FEW:])]
    found[len(expected) - 1] = np.concatenate(alone)
    return compare(network, "fast", found, dict(enumerate(expected)))


def _common(channels: NDArray[Any], columns: int, outputs: int) -> str:
    if columns:
        at = np.unique(channels % columns)
        if len(at) == 1 and outputs > columns and len(channels) > 1:
            return f"all in array column {at[0]}"
    return f"all in channel {channels[0]}" if len(channels) == 1 and outputs > 1 else ""


def _hidden(network: Network, index: int) -> str:
    layer, pool = network.layers[index], network.pooled_by(index)
    if pool is not None and isinstance(layer, Conv2d) and joins(pool, layer):
        return "pooled on its way to memory: see the next layer"
    if network.values[index + 1].coding == "total":
        return "added up inside the next layer"
    return "not shown"
