"""ONNX and QONNX import: a checked graph, small passes over it, exact folding, and a check at the end.

The passes, in order, are `PASSES`; each takes a `Graph` and returns one. What follows them cuts the chain
into stages (`stages.cut`), folds these into integer layers (`build.build`) and compares the result with an
independent execution of the source (`check.Check`). All decisions are made in rationals of the stored floats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...model.check import brief, is_int
from ..outcome import Imported
from .approximate import MOST_CHANGED, Source, compared_with, inputs_of, with_small_ratio
from .execute import Executor
from .fixed import CHANGE_BITS, Streams, macs_of, step_for, streams_of, with_values
from .loading import PASSES, load_source, passed, read_source
from .projections import WEIGHT_BITS
from .read import read_model, to_graph
from .signal import UnequalSteps

__all__ = ["PASSES", "load"]

_MOST_ROUNDED = 0.5
"""Largest share by which the ratio of two steps may be changed."""


def load(
    path: Path,
    *,
    name: str | None = None,
    inputs: str | None = None,
    host: bool = True,
    round_steps: float | None = None,
    fixed_point: int | None = None,
    images: NDArray[Any] | None = None,
) -> Imported:
    """Import an ONNX or QONNX file.

    Parameters
    ----------
    path : Path
        External data files are looked for in its folder, and only there.
    name : str, optional
        Name of the network; default: the file's.
    inputs : str, optional
        What the images hold, as `units.parse` takes it; default: from the input's type or its QONNX
        annotation, or pixels divided by 255 in front of a quantiser.
    host : bool
        Let the host compute a first or last product whose weights are real; else it is refused.
    round_steps : float, optional
        Where values are added whose steps are in no small ratio, change the steps so that they are, and the
        ratio by this share of it at most: then what is imported is not the source, but the source with other
        steps. The report says which, and how many classes that changes. Default: refuse.
    fixed_point : int, optional
        Where real numbers are added, as in shortcuts around layers of signs, quantise them: the sums to
        values of 8 bits, and what layers add to these to so many, 2 to 8, in one step that fits them. What is
        imported is the source so changed, likewise. Default: refuse.
    images : array of uint8, shape (n, height, width, channels) or (n, values), optional
        Pixels for that; default random ones.

    Returns
    -------
    Imported
        Class scores and one-bit outputs are in the source's order, those of a final convolution as
        (y, x, channel).

    Raises
    ------
    ImportFailedError
        Names the node and why it cannot run exactly.
    MissingDependencyError
        If the package ``onnx`` is missing.
    UsageError
        If `inputs` is unknown, or does not fit the graph; if `round_steps` or `fixed_point` is out of range,
        or `images` do not fit.
    """
    low, high = CHANGE_BITS
    if fixed_point is not None and not (is_int(fixed_point) and low <= fixed_point <= high):
        raise UsageError(f"fixed_point is {brief(fixed_point)}, but must be {low} to {high} bits of a change")
    if round_steps is not None and not 0 < round_steps <= _MOST_ROUNDED:
        raise UsageError(
            f"round_steps is {brief(round_steps)}, but must be above 0, and at most {_MOST_ROUNDED:g}"
        )
    with np.errstate(all="ignore"):  # what overflows is found by checks, and by name
        model = read_model(Path(path))
        asked = _Asked(Path(path), name, inputs, host, images)
        if round_steps is None and fixed_point is None:
            return asked.load(model)[0]
        return _approximated(model, asked, round_steps, fixed_point)


@dataclass(frozen=True)
class _Asked:
    """What `load` was asked for, but how the source may be changed."""

    path: Path
    name: str | None
    inputs: str | None
    host: bool
    images: Any

    def load(self, model: Any) -> tuple[Imported, Source]:
        return load_source(model, self.path, self.name, self.inputs, self.host)


def _approximated(model: Any, asked: _Asked, within: float | None, bits: int | None) -> Imported:
    """Import a model with quantisers where real numbers are added, or other steps; say what that does."""
    changed, notes, streams = model, list[str](), Streams()
    if bits is not None:
        changed, notes, streams = _fixed(model, asked, bits)
    while True:
        try:
            imported, source = asked.load(changed)
            break
        except UnequalSteps as error:
            if within is None or len(notes) >= MOST_CHANGED:
                raise
            changed, note = with_small_ratio(changed, error, within)
            notes.append(note)
    if not notes:
        return imported
    notes += compared_with(replace(source, model=model), changed, asked.images, streams)
    network = imported.network
    metadata = {**network.metadata, "imported": {**network.metadata["imported"], "rounded": notes}}
    report = replace(imported.report, rounded=tuple(notes))
    return Imported(replace(network, metadata=metadata), report)


def _fixed(model: Any, asked: _Asked, bits: int) -> tuple[Any, list[str], Streams]:
    """Return a model in fixed point, in words what that is, and which tensors were quantised."""
    _, graph = passed(to_graph(model))
    streams = streams_of(graph)
    if not streams.sums:
        return model, [], streams
    # How pixels become what it reads does not depend on the step.
    read = read_source(with_values(model, streams, 1.0, bits), asked.inputs, asked.host)
    source = Source(model, read.graph, read.unit, read.layout, macs_of(graph))
    x, _ = inputs_of(source, asked.images, 64)
    names = [*streams.values, *streams.changes]
    found = Executor(model).run({graph.input: x}, names, batch=graph.input_shape[0])
    step = step_for(found[: len(streams.values)], found[len(streams.values) :], bits)
    note = (
        f"in fixed point: what {streams.sums} additions give are values of 8 bits, and what layers add to "
        f"them changes of {bits}, in steps of {step:.9g}"
    )
    if count := len(streams.projections):
        have = "convolutions of shortcuts have" if count > 1 else "convolution of a shortcut has"
        note += f"; {count} {have} weights of {WEIGHT_BITS} bits"
    return with_values(model, streams, step, bits), [note], streams
