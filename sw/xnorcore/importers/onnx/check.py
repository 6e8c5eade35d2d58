"""The check at the end of an import: the source, executed by something else, against the integer network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ImportFailedError
from ...model.check import brief
from ...model.layers import InputSpec, has_weights
from ...model.network import Network
from ...reference import fast, golden
from ..outcome import CheckReport
from .bitsums import codes_of
from .boundary import boundary_inputs
from .build import Built
from .execute import Executor
from .graph import Graph
from .image import Image
from .order import check_shape, to_source
from .rounding import bits_explained, explained, scores_explained
from .scoring import scores_differ
from .signal import Stage
from .stages import Cut

WORK = 1 << 25
"""Multiply-accumulates that each comparison may take; large networks get fewer inputs."""
STRAY = 1 / 16
"""How far, of its values, a sum that cancels may be from what is left."""
SWEPT = 1 << 22
"""Values that the comparison of all pixels at all places may take; large images get fewer pixels."""
Tensors = dict[str, NDArray[Any]]
Verdict = tuple[NDArray[np.bool_], str]
"""Which inputs are wrong, and where the first one is."""


@dataclass
class Check:
    """Everything that the check compares.

    Parameters
    ----------
    executor : Executor
    graph : Graph
        As it was read.
    image : Image
    cut : Cut
    built : Built
    """

    executor: Executor
    graph: Graph
    image: Image
    cut: Cut
    built: Built

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.rounded = 0
        self._far: dict[int, Stage] = {}
        self._types: dict[str, Any] = {}

    def run(self, images: int = 32, channels: int = 16) -> CheckReport:
        """Compare whole images, all layers, and each layer alone at its thresholds.

        Parameters
        ----------
        images : int
            Most images; fewer for large networks.
        channels : int
            Most channels of each layer whose thresholds are tried.

        Raises
        ------
        ImportFailedError
            For a difference that is not the source's rounding of a sum at its threshold, and where the source
            is not finite; names the layer, position and channel, or the node.
        """
        if self.image.layout.guessed:
            check_shape(self.graph.input_shape[1:], self.built.network.input.shape)
        self._pixels()
        total, boundary = self._images(images)
        for stage in range(len(self.built.stages)):
            boundary += self._layer(stage, channels)
        total += boundary
        detail = "all layers' bits and the scores are equal"
        if self.rounded:
            detail += (
                f"; for {self.rounded} of the inputs only in float64: in its own precision the source rounds "
                "sums across their thresholds there"
            )
        return CheckReport(self.executor.name, total, boundary, 0, detail, self.rounded)

    def _images(self, most: int) -> tuple[int, int]:
        network = self.built.network
        count = max(6, min(most, WORK // max(network.macs, 1)))
        x, u = self._inputs(count)
        expected = fast.layers(network, u)
        few = slice(0, 2 if network.macs < 1 << 24 else 1)
        for a, b in zip(golden.layers(network, u[few]), expected, strict=True):
            assert np.array_equal(a, b[few])
        probes = [stage.gives.tensor for stage in self.built.stages if stage.gives is not None]
        # What layers read is computed for its type alone: alone, they get values of the same.
        reads = [stage.reads.tensor for stage in self.built.stages if stage.reads.tensor != self.graph.input]
        outputs = list(dict.fromkeys([*probes, *reads, self.cut.scores, *self.graph.outputs]))

        def judge(tensors: Tensors, rows: NDArray[np.int64], double: bool) -> Verdict:
            if not double:
                self._types.update((name, found.dtype.type) for name, found in tensors.items())
            return self._compare(tensors, u[rows], [layer[rows] for layer in expected], double)

        self._settle(self.graph.input, x, outputs, judge)
        self._cancelling(x)
        if self._far:
            raise _unequal(self._far[min(self._far)])
        return len(x) - 2, 2

    def _pixels(self) -> None:
        """Compare every pixel at every place with what the source's own quantiser makes of it."""
        image, graph = self.image, self.graph
        if image.tables is None or image.unit is None or image.kind != "quantised":
            return
        size = len(image.tables)
        p = np.repeat(np.arange(256)[:: max(1, 256 * size // SWEPT)], size).reshape(-1, size)
        shape = image.layout.shape
        mapped = p.reshape(len(p), *shape) if len(shape) == 3 else p[:, :, np.newaxis]
        real = image.unit.real(mapped, graph.input_type).reshape(len(p), size)
        x = to_source(real, shape, graph.input_shape[1:], image.layout.channels_last)
        expected = image.tables[np.arange(size), p]

        def judge(tensors: Tensors, rows: NDArray[np.int64], double: bool) -> Verdict:
            wrong = image.levels.held(tensors[image.levels.tensor]) != expected[rows]
            bad = wrong.any(axis=1)
            row = int(np.argmax(bad))
            return bad, f"pixel {p[rows[row], 0]} at value {int(np.argmax(wrong[row]))} of the image"

        self._settle(graph.input, x, [image.levels.tensor], judge)

    def _settle(
        self, start: str, x: NDArray[Any], outputs: list[str], judge: Callable[..., Verdict], kind: Any = None
    ) -> NDArray[np.int64]:
        """Compare as stored, `x` as a `kind`; what differs, in float64; what still differs is an error.

        Returns the rows that only differ as stored.
        """

        def verdict(rows: NDArray[np.int64], double: bool) -> Verdict:
            batch = self.graph.input_shape[0]
            feed = x[rows] if double or kind is None else x[rows].astype(kind)
            found = self.executor.run({start: feed}, outputs, batch=batch, double=double)
            return judge(dict(zip(outputs, found, strict=True)), rows, double)

        bad, _ = verdict(np.arange(len(x)), False)
        rows = np.flatnonzero(bad)
        if len(rows):
            few = x[rows[:8]] if kind is None else x[rows[:8]].astype(kind)
            reason = self.executor.not_finite({start: few}, outputs, batch=self.graph.input_shape[0])
            if reason:
                raise ImportFailedError(reason)
            worse, first = verdict(rows, True)
            if worse.any():
                raise ImportFailedError(f"the check found a difference from {self.executor.name}: {first}")
            self.rounded += len(rows)
        return rows

    def _compare(
        self, tensors: Tensors, u: NDArray[np.uint8], expected: list[NDArray[Any]], double: bool
    ) -> Verdict:
        """Compare all bits and the scores; `_far` gets the nodes of what is no rounding, as stored."""
        bad, first = np.zeros(len(u), np.bool_), ""
        parts = zip(self.built.stages, self.built.masks, self.built.last, strict=True)
        for number, (stage, mask, last) in enumerate(parts):
            if stage.gives is None:
                continue
            true = stage.gives.held(tensors[stage.gives.tensor])
            wrong = true != self.built.held(number, expected[last])
            if wrong.any() and not first:
                _row, place = map(int, np.argwhere(wrong)[0])
                first = (
                    f"layer {self.built.network.layers[last].name!r} ({stage.node.label}), position "
                    f"{place // len(mask)}, channel {place % len(mask)}"
                )
            if not double:  # behind wrong bits others are wrong, and explain nothing
                rows = np.flatnonzero(wrong.any(axis=1) & ~bad)
                if not bits_explained(self.built, number, u[rows], wrong[rows]).all():
                    self._far[number] = stage
            bad |= wrong.any(axis=1)
        if self.built.stages[-1].gives is None:
            network = self.built.network
            wrong, error, value = scores_differ(network, self.cut, tensors, expected[-1], double)
            if wrong.any() and not first:
                first = f"scores of tensor {self.cut.scores!r}"
            if not double and not scores_explained(network, error, value, self._kind())[wrong & ~bad].all():
                self._far[len(self.built.stages)] = self.built.stages[-1]
            bad |= wrong
        return bad, first

    def _kind(self) -> Any:
        """The coarsest float format in the source."""
        kinds = [value.dtype for value in self.graph.constants.values() if value.dtype.kind == "f"]
        kinds.extend(np.dtype(kind) for kind in self._types.values() if np.dtype(kind).kind == "f")
        return min(kinds, key=lambda kind: kind.itemsize)

    def _cancelling(self, x: NDArray[Any]) -> None:
        """Refuse straight-through sums that, as stored, are not what is left of them."""
        for name, term in self.executor.exact.items():
            node = self.graph.producers.get(name)
            if not isinstance(term, str) or node is None:
                continue
            found = self.executor.run({self.graph.input: x}, [name, term], batch=self.graph.input_shape[0])
            summed, alone = (values.astype(np.float64) for values in found)
            error = float(np.abs(summed - alone).max())
            if error > STRAY * float(np.abs(alone).max()):
                raise node.fail(
                    f"is a straight-through sum that should give {brief(term, 60)}, but as stored, in "
                    f"{found[0].dtype.name}, it differs from that by up to {error:.3g}: the function that it "
                    "subtracts and adds is too large; scale it down, or export the graph without it"
                )

    def _inputs(self, count: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """Images of the framework and of the network: random ones, then all lowest and all highest.

        The framework's are put in its order by `order.to_source` alone, the network's are in their own.
        """
        graph, levels, image = self.graph, self.image.levels, self.image
        source, shape = graph.input_shape[1:], self.built.network.input.shape
        size = int(np.prod(shape))
        if image.tables is not None and image.unit is not None:
            spread = self.rng.integers(1, 129, (count, 1))
            p = (128 + self.rng.integers(-128, 128, (count, size)) * spread // 128).clip(0, 255)
            p = np.concatenate([p, np.zeros((1, size), int), np.full((1, size), 255)])
            mapped = p.reshape(len(p), *shape) if len(shape) == 3 else p[:, :, np.newaxis]
            real = image.unit.real(mapped, graph.input_type).reshape(len(p), size)
            x = to_source(real, shape, source, image.layout.channels_last)
            return x, image.tables[np.arange(size), p]
        if image.kind == "quantised":
            top = np.iinfo(np.int8).max
            v = self.rng.integers(-top - 1, top + 1, (count, size))
            v = np.concatenate([v, np.full((1, size), -top - 1), np.full((1, size), top)])
            x = to_source(v.astype(graph.input_type), shape, source, image.layout.channels_last)
            return x, image.values(x)
        u = self.rng.integers(0, 1 << levels.bits, (count, size))
        u = np.concatenate([u, np.zeros((1, size), int), np.full((1, size), (1 << levels.bits) - 1)])
        scale, offset = levels.origin
        numbers = (-1, 1) if levels.bits == 1 else range(1 << levels.bits)
        real = np.array([float(scale * n + offset) for n in numbers]).astype(graph.input_type)[u]
        return to_source(real, shape, source, image.layout.channels_last), u.astype(np.uint8)

    def _layer(self, number: int, channels: int) -> int:
        """Compare one layer at its thresholds; return the number of inputs."""
        stage, built = self.built.stages[number], self.built
        reads, gives = stage.reads, stage.gives
        turned = bool(stage.turned), bool(stage.restored)
        layer = built.network.layers[first := built.last[number] - sum((stage.pool is not None, *turned))]
        if gives is None or reads.sums or not has_weights(layer):
            return 0
        if number and built.emitted[number - 1] is not None:
            return 0  # it reads more values than the source has
        layers = built.network.layers[first : built.last[number] + 1]
        part = Network("part", InputSpec(reads.shape, reads.bits), layers)
        most = max(2, min(channels, WORK // max(part.macs, 1)))
        images = boundary_inputs(layer, reads.shape, (reads.least, reads.most), most, self.rng)
        if not len(images):
            return 0
        expected = built.held(number, fast.run(part, images))
        v = images.astype(np.int64)
        if reads.bits == 1:
            v = 2 * v - 1
            if number:
                v *= 1 - 2 * np.resize(built.masks[number - 1], v.shape[1]).astype(np.int64)
        if stage.summed is not None:
            v, reads = codes_of(stage, v), stage.summed
        # In float64 they are not rounded as they are stored: sums of rounded ones are not exactly 0.
        source, kind = reads.source(v, np.float64), self._types.get(reads.tensor, np.float32)
        if reads.tensor == self.graph.input:
            source, kind = source.astype(self.graph.input_type), None

        far = np.zeros(len(source), np.bool_)

        def judge(tensors: Tensors, rows: NDArray[np.int64], double: bool) -> Verdict:
            wrong = gives.held(tensors[gives.tensor]) != expected[rows]
            if not double:
                far[rows] = ~explained(part, images[rows], len(layers) - 1, wrong, 1, *turned)
            return wrong.any(axis=1), f"layer {layer.name!r} ({stage.node.label}) alone, at its thresholds"

        rows = self._settle(reads.tensor, source, [gives.tensor], judge, kind)
        if far[rows].any():
            raise _unequal(stage)
        return len(source)


def _unequal(stage: Stage) -> ImportFailedError:
    return stage.node.fail(
        "in the precision that it is stored in, the source cannot tell its sums apart: constants "
        "behind it are too large or too small for that; export it in float64, or scale them"
    )
