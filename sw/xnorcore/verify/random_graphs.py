"""Makes branches, concatenations and additions of a random chain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import NetworkError
from ..model.layers import Add, Concat, Conv2d, Layer, MaxPool2d, Weighted, has_weights
from ..model.network import Network
from ..model.values import Shape

__all__ = ["added", "branched"]

MOST = 3
"""Most branches that are added."""
TIMES = (1, 1, 1, 2, 3, 5)
"""How many times a value may count in a sum."""
_SATURATE = 0.3


def branched(rng: np.random.Generator, network: Network) -> Network:
    """Return a network with layers beside those of `network`, and concatenations of what they give.

    Weights that then read other channels are drawn again. Of a network that cannot branch, itself.

    Parameters
    ----------
    rng : Generator
    network : Network
    """
    for _ in range(int(rng.integers(1, MOST + 1))):
        graph = _Growing(rng, network)
        (graph.beside if rng.random() < 0.6 else graph.earlier)()
        try:
            network = graph.network()
        except NetworkError:
            continue
    return network


def added(rng: np.random.Generator, network: Network) -> Network:
    """Return a network that adds codes of one shape, or some to themselves; if it has none, itself.

    Parameters
    ----------
    rng : Generator
    network : Network
    """
    graph = _Growing(rng, network)
    codes = [n for n, value in enumerate(network.values) if n and value.coding == "unsigned"]
    pairs = [(v, u) for v in codes for u in codes if u <= v and network.shapes[u] == network.shapes[v]]
    pairs = [(v, u) for v, u in pairs if u != v] or pairs
    if not pairs:
        return network
    pair, times = pairs[int(rng.integers(len(pairs)))], int(rng.choice(TIMES))
    sums = Add()
    if rng.random() < _SATURATE:
        # As many planes as what is added has may be joined with these once more.
        half = 1 << network.values[pair[0]].bits - 1
        sums = Add(offset=int(rng.integers(0, 4)), most=int(rng.integers(half // 2, 2 * half) or 1))
    graph.join(*pair, sums, times)
    try:
        return graph.network()
    except NetworkError:
        return network


class _Growing:
    """The layers of a network while some are added."""

    def __init__(self, rng: np.random.Generator, old: Network) -> None:
        self.rng, self.old = rng, old
        self.layers: list[Layer] = list(old.layers)
        self.reads = [list(numbers) for numbers in old.reads]

    def beside(self) -> None:
        """Add a layer that reads what another one reads, and put what both give together."""
        old, rng = self.old, self.rng
        layers = [i for i, layer in enumerate(old.layers[:-1]) if has_weights(layer) and self._signs(i + 1)]
        if not layers:
            return
        index = int(rng.choice(layers))
        layer, pool = old.layers[index], old.pooled_by(index)
        assert has_weights(layer)
        twin = self._insert(index + 1, self._twin(layer, index), self.reads[index])
        value = index + 1
        if pool is not None and rng.random() < 0.5:
            # Both are pooled, and then put together.
            place = old.readers[value][0] + 1
            twin = self._insert(place + 1, MaxPool2d(pool.window, pool.stride, "", pool.padding), [twin])
            value = place + 1
        self.join(value, twin, Concat())

    def earlier(self) -> None:
        """Put what a layer gives together with what one before it gave, or once more with itself."""
        values = [n for n in range(1, len(self.old.values)) if self._signs(n)]
        pairs = [(v, u) for v in values for u in values if u <= v and self._alike(v, u)]
        if pairs:
            self.join(*pairs[int(self.rng.integers(len(pairs)))], Concat())

    def network(self) -> Network:
        """Return the network, with weights that fit.

        Raises
        ------
        NetworkError
            If it is not legal.
        """
        shapes: list[Shape] = [self.old.input.shape]
        layers: list[Layer] = []
        for layer, numbers in zip(self.layers, self.reads, strict=True):
            mine = [shapes[number] for number in numbers]
            if has_weights(layer):
                layer = self._fitted(layer, mine[0])
            layers.append(layer)
            shapes.append(layer.output_shape(*mine))
        classes = None if self.old.class_count == self.old.outputs else self.old.class_count
        return replace(self.old, layers=layers, reads=self.reads, classes=classes)

    def _signs(self, number: int) -> bool:
        return self.old.values[number].coding == "sign"

    def _alike(self, one: int, other: int) -> bool:
        first, second = self.old.shapes[one], self.old.shapes[other]
        return len(first) == len(second) and first[:-1] == second[:-1]

    def _twin(self, layer: Weighted, index: int) -> Weighted:
        """Return a layer that gives as many rows and columns as another one."""
        rng = self.rng
        count = int(rng.integers(1, 2 * min(layer.outputs, 16) + 1))
        wide = layer.outputs if rng.random() < 0.3 else count
        weights = rng.choice(np.array([-1, 1], np.int8), (wide, *layer.weights.shape[1:]))
        assert layer.thresholds is not None  # it gives bits
        limits = rng.choice(layer.thresholds, wide)
        twin = layer.with_arrays(weights, limits)
        reads, gives = self.old.inputs(index)[0].shape, self.old.shapes[index + 1]
        if (
            self.old.reads[index] != (0,)
            and len(gives) == 3
            and gives[:2] == reads[:2]
            and rng.random() < 0.5
        ):
            # Of a map, any kernel that keeps its size; of the image, all want the same.
            side = int(rng.choice([1, 3, 5]))
            weights = rng.choice(np.array([-1, 1], np.int8), (wide, side, side, reads[2]))
            half = side // 2
            padding = (half, half, half, half)
            twin = Conv2d(weights, limits, padding=padding, pad_value=int(rng.integers(-1, 2)))
        return twin

    def _fitted(self, layer: Weighted, shape: Shape) -> Weighted:
        """Return a layer with random weights for all values of a shape, if it has others."""
        maps = len(layer.weights.shape) == 4
        size = (*layer.weights.shape[1:3], shape[2]) if maps else (int(np.prod(shape)),)
        if layer.weights.shape[1:] == size:
            return layer
        weights = self.rng.choice(np.array([-1, 1], np.int8), (layer.outputs, *size))
        return layer.with_arrays(weights)

    def join(self, value: int, other: int, layer: Concat | Add, times: int = 1) -> None:
        """Concatenate or add two values; some of those that read the first one, or all, read the result.

        The first one comes so many times.
        """
        rng = self.rng
        numbers = [*[value] * times, other][:: 1 if rng.random() < 0.5 else -1]
        readers = [i for i, reads in enumerate(self.reads) if value in reads and i >= max(value, other)]
        kinds = Concat if isinstance(layer, Concat) else Concat | MaxPool2d
        readers = [i for i in readers if not isinstance(self.layers[i], kinds)]
        kept = [i for i in readers if rng.random() < 0.25][: max(len(readers) - 1, 0)]
        joined = self._insert(max(value, other), layer, numbers)
        for index in readers:
            if index not in kept:
                # The concatenation has moved everything behind it.
                reads = self.reads[index + 1]
                self.reads[index + 1] = [joined if number == value else number for number in reads]

    def _insert(self, index: int, layer: Layer, reads: Sequence[int]) -> int:
        """Put a layer in front of layer `index`; return the number of its value."""
        reads = list(reads)
        self.reads = [[n + (n > index) for n in numbers] for numbers in self.reads]
        self.layers.insert(index, layer)
        self.reads.insert(index, reads)
        return index + 1
